//! A communicator in a thread of its own, so that sums go on while the rank computes.

use super::{BackgroundSums, Communicator, Failure, sum_over_ranks};
use crate::error::{Error, Result};
use beit_data::Shard;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A communicator whose thread does one thing after another. It is made in that thread and dropped there, as some need.
pub struct Background {
    shard: Shard,
    /// None when it ends.
    commands: Option<Sender<Command>>,
    answers: Receiver<Answer>,
    /// Sums that were begun and not waited for.
    begun: usize,
    thread: Option<JoinHandle<()>>,
}

enum Command {
    /// To whom, what, and how many numbers come back.
    Exchange(usize, Vec<f32>, usize),
    Gather(Vec<u8>),
    Sum(Vec<f32>),
    Fail(Failure),
}

enum Answer {
    Exchanged(Result<Vec<f32>>),
    Gathered(Result<Vec<Vec<u8>>>),
    Summed(Result<(Vec<f32>, Duration)>),
    Failed,
}

impl Background {
    /// Makes a communicator in its thread.
    ///
    /// # Errors
    ///
    /// That of `make`, or a system that starts no thread.
    pub fn start<C: Communicator>(make: impl FnOnce() -> Result<C> + Send + 'static) -> Result<Self> {
        let (commands, to_do) = channel();
        let (answer, answers) = channel();
        let (made, is_made) = channel();
        let work = move || match make() {
            Ok(mut ranks) => {
                // Whoever asked waits for it.
                let _ = made.send(Ok(ranks.shard()));
                let mut failed = false;
                for command in to_do {
                    let answered = done(&mut ranks, command, failed);
                    failed |= answered.is_failed();
                    let _ = answer.send(answered);
                }
            }
            Err(error) => drop(made.send(Err(error))),
        };
        let thread = std::thread::Builder::new().name("ranks".to_owned()).spawn(work);
        let thread = thread.map_err(|error| Error::Meeting(format!("no thread to talk by: {error}")))?;
        let shard = is_made.recv().unwrap_or_else(|_| Err(ended()))?;
        Ok(Self { shard, commands: Some(commands), answers, begun: 0, thread: Some(thread) })
    }

    fn ask(&self, command: Command) {
        // That nobody listens any more is said where the answer is waited for.
        if let Some(commands) = &self.commands {
            let _ = commands.send(command);
        }
    }

    /// The answer to what was asked last. Sums that nobody waited for come first.
    fn answer(&mut self) -> Result<Answer> {
        for _ in 0..std::mem::take(&mut self.begun) {
            let _ = self.answers.recv();
        }
        self.answers.recv().map_err(|_| ended())
    }
}

impl Answer {
    fn is_failed(&self) -> bool {
        match self {
            Self::Exchanged(done) => done.is_err(),
            Self::Gathered(done) => done.is_err(),
            Self::Summed(done) => done.is_err(),
            Self::Failed => true,
        }
    }
}

/// Does one thing. Where something has `failed` before, the others are not waited for again: they are told.
fn done(ranks: &mut impl Communicator, command: Command, failed: bool) -> Answer {
    match command {
        Command::Exchange(..) if failed => Answer::Exchanged(Err(ended())),
        Command::Gather(_) if failed => Answer::Gathered(Err(ended())),
        Command::Sum(_) if failed => Answer::Summed(Err(ended())),
        Command::Exchange(with, send, receive) => {
            let mut received = vec![0.0; receive];
            Answer::Exchanged(ranks.exchange(with, &send, &mut received).map(|()| received))
        }
        Command::Gather(record) => Answer::Gathered(ranks.gather(&record)),
        Command::Sum(mut values) => {
            let begun = Instant::now();
            let summed = sum_over_ranks(ranks, &mut values);
            Answer::Summed(summed.map(|()| (values, begun.elapsed())))
        }
        Command::Fail(failure) => {
            ranks.fail(&failure);
            Answer::Failed
        }
    }
}

fn ended() -> Error {
    Error::Meeting("what this rank said or heard before has failed".to_owned())
}

impl Communicator for Background {
    fn shard(&self) -> Shard {
        self.shard
    }

    fn exchange(&mut self, with: usize, send: &[f32], receive: &mut [f32]) -> Result<()> {
        self.ask(Command::Exchange(with, send.to_vec(), receive.len()));
        match self.answer()? {
            Answer::Exchanged(received) => received.map(|received| receive.copy_from_slice(&received)),
            _ => Err(ended()),
        }
    }

    fn gather(&mut self, record: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.ask(Command::Gather(record.to_vec()));
        match self.answer()? {
            Answer::Gathered(records) => records,
            _ => Err(ended()),
        }
    }

    fn fail(&mut self, failure: &Failure) {
        self.ask(Command::Fail(failure.clone()));
        let _ = self.answer();
    }

    fn background(&mut self) -> Option<&mut dyn BackgroundSums> {
        Some(self)
    }
}

impl BackgroundSums for Background {
    fn begin(&mut self, values: Vec<f32>) {
        self.begun += 1;
        self.ask(Command::Sum(values));
    }

    fn end(&mut self) -> Result<(Vec<f32>, Duration)> {
        self.begun = self.begun.saturating_sub(1);
        match self.answers.recv() {
            Ok(Answer::Summed(sum)) => sum,
            _ => Err(ended()),
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Threads;
    use super::*;

    #[test]
    fn sums_go_on_in_their_order() {
        let mut ranks = Threads::new(2);
        let other = ranks.pop().expect("two");
        let own = ranks.pop().expect("two");
        let other = std::thread::spawn(move || {
            let mut ranks = Background::start(move || Ok(other)).expect("a thread");
            let sums = ranks.background().expect("it is one");
            sums.begin(vec![10.0, 20.0]);
            sums.begin(vec![30.0]);
            let sums = [sums.end(), sums.end()].map(|sum| sum.expect("both are there").0);
            (sums, ranks.gather(&[1]).expect("both are there"))
        });
        let mut ranks = Background::start(move || Ok(own)).expect("a thread");
        assert_eq!(ranks.shard(), Shard { rank: 0, of: 2 });
        ranks.begin(vec![1.0, 2.0]);
        ranks.begin(vec![3.0]);
        // Sums that nobody waits for do not take the place of another answer.
        let records = ranks.gather(&[0]).expect("both are there");
        assert_eq!(records, [[0], [1]]);
        assert_eq!(other.join().expect("no panic"), ([vec![11.0, 22.0], vec![33.0]], records));
    }

    #[test]
    fn what_fails_is_passed_on() {
        let failed = Background::start(|| Err::<Threads, _>(Error::Meeting("nobody is there".to_owned())));
        let error = failed.err().expect("it failed").to_string();
        assert!(error.ends_with("nobody is there"), "{error}");
    }
}
