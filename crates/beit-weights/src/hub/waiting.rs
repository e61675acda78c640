//! Waiting for others: not without a word, and not for ever.

use super::failure::Failure;
use super::problem::HubProblem;
use super::progress::Progress;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How long to wait for others, and when to say so.
///
/// ```
/// use beit_weights::{Hub, Waits};
/// let hub = Hub::from_env().with_waits(Waits { end: std::time::Duration::from_secs(20), ..Waits::default() });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// When nothing has come for so long, [`Progress::wait`] says what is waited for.
    pub word: Duration,
    /// A connection on which nothing comes for so long is given up.
    pub silence: Duration,
    /// A hub that gives nothing for so long is given up, in however many connections; so is a lock of another process that does
    /// not get on.
    pub end: Duration,
    /// The longest pause that a hub may ask for, by `Retry-After`.
    pub asked: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        let [word, silence, end, asked] = [5, 60, 120, 300].map(Duration::from_secs);
        Self { word, silence, end, asked }
    }
}

impl Waits {
    /// What comes, after a word where it takes long. `None` where the other end is gone.
    pub(super) fn receive<T>(
        &self,
        from: &Receiver<T>,
        what: impl FnOnce() -> String,
        progress: &mut dyn Progress,
    ) -> Option<T> {
        match from.recv_timeout(self.word) {
            Ok(got) => Some(got),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                let (word, silence) = (self.word.as_secs_f32(), self.silence.as_secs_f32());
                progress.wait(&format!("{}: nothing for {word} s; given up after {silence} s", what()));
                from.recv().ok()
            }
        }
    }

    /// Asks again and again whether a lock is free, as long as whoever has it gets on: `got` is how far it is.
    pub(super) fn lock(
        &self,
        name: &str,
        progress: &mut dyn Progress,
        mut is_free: impl FnMut() -> bool,
        got: impl Fn() -> u64,
    ) -> Result<(), Failure> {
        /// Between two questions.
        const STEP: Duration = Duration::from_millis(50);
        let (begun, mut said) = (Instant::now(), false);
        let (mut last, mut since) = (got(), begun);
        while !is_free() {
            let now = got();
            if now != last {
                (last, since) = (now, Instant::now());
            }
            if since.elapsed() >= self.end {
                let (lock, seconds) = (name.to_owned(), self.end.as_secs());
                return Err(HubProblem::Locked { lock, seconds }.into());
            }
            if !said && begun.elapsed() >= self.word {
                said = true;
                let end = self.end.as_secs_f32();
                progress.wait(&format!(
                    "another process is fetching the same file and holds {name}; waiting for it, given up when nothing comes for {end} s"
                ));
            }
            std::thread::sleep(STEP);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[derive(Default)]
    struct Words(Vec<String>);

    impl Progress for Words {
        fn begin(&mut self, _: &str, _: u64) {}
        fn advance(&mut self, _: u64) {}
        fn end(&mut self) {}
        fn wait(&mut self, what: &str) {
            self.0.push(what.to_owned());
        }
    }

    fn short() -> Waits {
        let [word, end] = [60, 250].map(Duration::from_millis);
        Waits { word, end, ..Waits::default() }
    }

    #[test]
    fn a_lock_that_becomes_free() {
        let (mut words, asked) = (Words::default(), Cell::new(0));
        let free = || asked.replace(asked.get() + 1) > 3;
        short().lock("x.lock", &mut words, free, || 0).expect("it becomes free");
        assert!(words.0.len() == 1 && words.0[0].contains("holds x.lock"), "{:?}", words.0);
    }

    #[test]
    fn a_lock_is_given_up_unless_its_holder_gets_on() {
        let mut words = Words::default();
        let failure = short().lock("x.lock", &mut words, || false, || 7).expect_err("it stays");
        assert!(matches!(failure, Failure::Hub(HubProblem::Locked { .. })), "{failure:?}");
        let (begun, got) = (Instant::now(), Cell::new(0));
        let grows = || got.replace(got.get() + 1);
        short().lock("x.lock", &mut words, || begun.elapsed() > 2 * short().end, grows).expect("it gets on");
    }
}
