//! Ranks that are threads of one process.

use super::{Communicator, Failure, PATIENCE, disagrees, silent};
use crate::error::{Error, Result};
use beit_data::Shard;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// A rank that is a thread of this process: the communicator that needs nothing installed, and the one that others are tested by.
pub struct Threads {
    shard: Shard,
    /// To each rank.
    senders: Vec<Sender<Message>>,
    /// From each rank.
    receivers: Vec<Receiver<Message>>,
    patience: Duration,
}

enum Message {
    Numbers(Vec<f32>),
    Record(Vec<u8>),
    Failure(Vec<u8>),
}

impl Threads {
    /// So many ranks, in order.
    #[must_use]
    pub fn new(of: usize) -> Vec<Self> {
        let mut receivers: Vec<Vec<Receiver<Message>>> = (0..of).map(|_| Vec::new()).collect();
        let mut senders = Vec::new();
        for _from in 0..of {
            let (to, own): (Vec<_>, Vec<_>) = (0..of).map(|_| channel()).unzip();
            receivers.iter_mut().zip(own).for_each(|(all, one)| all.push(one));
            senders.push(to);
        }
        let rank = |(rank, (senders, receivers))| Self {
            shard: Shard { rank, of },
            senders,
            receivers,
            patience: PATIENCE,
        };
        senders.into_iter().zip(receivers).enumerate().map(rank).collect()
    }

    /// The same, for which a rank that says nothing for so long has failed.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Runs one function as each of so many ranks; returns what they return, by rank.
    ///
    /// # Panics
    ///
    /// Where one of them does.
    pub fn run<T: Send>(of: usize, work: impl Fn(&mut Self) -> T + Sync) -> Vec<T> {
        let work = &work;
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                Self::new(of).into_iter().map(|mut rank| scope.spawn(move || work(&mut rank))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        })
    }

    fn send(&self, to: usize, message: Message) -> Result<()> {
        self.senders[to].send(message).map_err(|_| self.gone(to))
    }

    fn receive(&self, from: usize) -> Result<Message> {
        match self.receivers[from].recv_timeout(self.patience) {
            Ok(Message::Failure(failure)) => Err(Failure::heard(self.shard, from, &failure)),
            Ok(message) => Ok(message),
            Err(RecvTimeoutError::Disconnected) => Err(self.gone(from)),
            Err(RecvTimeoutError::Timeout) => Err(silent(self.shard, from, self.patience)),
        }
    }

    fn gone(&self, other: usize) -> Error {
        disagrees(self.shard, other, "has ended")
    }
}

impl Communicator for Threads {
    fn shard(&self) -> Shard {
        self.shard
    }

    fn exchange(&mut self, with: usize, send: &[f32], receive: &mut [f32]) -> Result<()> {
        if !send.is_empty() {
            self.send(with, Message::Numbers(send.to_vec()))?;
        }
        if receive.is_empty() {
            return Ok(());
        }
        match self.receive(with)? {
            Message::Numbers(numbers) if numbers.len() == receive.len() => {
                receive.copy_from_slice(&numbers);
                Ok(())
            }
            Message::Numbers(numbers) => {
                let problem = format!("sent {} numbers, expected {}", numbers.len(), receive.len());
                Err(disagrees(self.shard, with, &problem))
            }
            _ => Err(disagrees(self.shard, with, "sent a record, expected numbers")),
        }
    }

    fn gather(&mut self, record: &[u8]) -> Result<Vec<Vec<u8>>> {
        for to in 0..self.shard.of {
            self.send(to, Message::Record(record.to_vec()))?;
        }
        let from = |rank| match self.receive(rank)? {
            Message::Record(record) => Ok(record),
            _ => Err(disagrees(self.shard, rank, "sent numbers, expected a record")),
        };
        (0..self.shard.of).map(from).collect()
    }

    fn fail(&mut self, failure: &Failure) {
        for to in (0..self.shard.of).filter(|&to| to != self.shard.rank) {
            let _ = self.send(to, Message::Failure(failure.to_bytes()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_by_rank() {
        for found in Threads::run(3, |rank| {
            let record = vec![5; rank.shard().rank];
            rank.gather(&record)
        }) {
            assert_eq!(found.expect("all ranks live"), [vec![], vec![5], vec![5; 2]]);
        }
    }

    #[test]
    fn a_rank_that_ended_or_sleeps_is_named() {
        let said = |patience: Duration, work: &(dyn Fn() + Sync)| {
            let found = Threads::run(2, |rank| {
                if rank.shard().rank == 1 {
                    work();
                    return Ok(());
                }
                rank.patience = patience;
                rank.exchange(1, &[1.0], &mut [0.0])
            });
            found.into_iter().next().and_then(Result::err).expect("nobody answers").to_string()
        };
        let ended = said(PATIENCE, &|| ());
        assert_eq!(ended, "rank 0 of this run cannot go on: rank 1 has ended");
        let asleep = said(Duration::from_millis(20), &|| std::thread::sleep(Duration::from_millis(200)));
        assert_eq!(asleep, "rank 0 of this run cannot go on: rank 1 has said nothing for 0.02 seconds");
    }

    #[test]
    fn ranks_that_differ_are_found() {
        let found = Threads::run(2, |rank| match rank.shard().rank {
            0 => rank.exchange(1, &[], &mut [0.0; 3]),
            _ => rank.exchange(0, &[1.0; 2], &mut []),
        });
        assert!(found[0].as_ref().unwrap_err().to_string().ends_with("rank 1 sent 2 numbers, expected 3"));
        let found = Threads::run(2, |rank| match rank.shard().rank {
            0 => rank.exchange(1, &[1.0], &mut [0.0]),
            _ => rank.gather(&[]).map(drop),
        });
        assert!(
            found[0].as_ref().unwrap_err().to_string().ends_with("rank 1 sent a record, expected numbers")
        );
    }
}
