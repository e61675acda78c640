//! Work done ahead by threads and handed out in order.

use std::any::Any;
use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

/// What a job returned, or what its panic said.
pub(crate) type Outcome<T> = std::result::Result<T, String>;

/// The results of `job(i)` for each i of a range, in order. At most `window` of them are begun and not handed out. Dropping
/// it waits for the jobs in progress and no others.
pub(crate) struct Ordered<T> {
    shared: Arc<Shared<T>>,
    workers: Vec<JoinHandle<()>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    window: usize,
    /// There is room for another job, or none will be needed.
    room: Condvar,
    /// The next result is there.
    ready: Condvar,
}

struct State<T> {
    /// Jobs that no worker has taken.
    left: Range<u64>,
    /// Jobs begun and not handed out, oldest first.
    begun: VecDeque<Option<Outcome<T>>>,
    closed: bool,
}

impl<T: Send + 'static> Ordered<T> {
    /// Starts `workers` threads, at least one.
    pub(crate) fn start(
        range: Range<u64>,
        workers: usize,
        window: usize,
        job: impl Fn(u64) -> T + Send + Sync + 'static,
    ) -> std::io::Result<Self> {
        let state = Mutex::new(State { left: range, begun: VecDeque::new(), closed: false });
        let shared = Shared { state, window: window.max(1), room: Condvar::new(), ready: Condvar::new() };
        let mut this = Self { shared: Arc::new(shared), workers: Vec::new() };
        let job = Arc::new(job);
        for number in 0..workers.max(1) {
            let (shared, job) = (Arc::clone(&this.shared), Arc::clone(&job));
            let thread = Builder::new().name(format!("beit-data-{number}"));
            this.workers.push(thread.spawn(move || shared.work(&*job))?);
        }
        Ok(this)
    }
}

impl<T> Ordered<T> {
    /// How many results may be asked for without waiting.
    pub(crate) fn ready(&self) -> usize {
        self.shared.lock().begun.iter().take_while(|outcome| outcome.is_some()).count()
    }
}

impl<T> Iterator for Ordered<T> {
    type Item = Outcome<T>;

    fn next(&mut self) -> Option<Outcome<T>> {
        let mut state = self.shared.lock();
        loop {
            if state.begun.front().is_some_and(Option::is_some) {
                self.shared.room.notify_one();
                return state.begun.pop_front().flatten();
            }
            if state.begun.is_empty() && state.left.is_empty() {
                return None;
            }
            state = self.shared.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Jobs run outside the lock, so a panic cannot leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, job: &(impl Fn(u64) -> T + ?Sized)) {
        while let Some(number) = self.take() {
            let outcome = catch_unwind(AssertUnwindSafe(|| job(number))).map_err(|panic| message(&*panic));
            self.put(number, outcome);
        }
    }

    /// The next job, once there is room for it.
    fn take(&self) -> Option<u64> {
        let mut state = self.lock();
        while !state.closed && !state.left.is_empty() && state.begun.len() >= self.window {
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let number = if state.closed { None } else { state.left.next() };
        match number {
            Some(_) => state.begun.push_back(None),
            None => self.room.notify_all(),
        }
        number
    }

    fn put(&self, number: u64, outcome: Outcome<T>) {
        let mut state = self.lock();
        let oldest = state.left.start - state.begun.len() as u64;
        state.begun[(number - oldest) as usize] = Some(outcome);
        self.ready.notify_one();
    }
}

impl<T> Drop for Ordered<T> {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.room.notify_all();
        for worker in self.workers.drain(..) {
            // A worker catches the panics of its jobs.
            let _ = worker.join();
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn results_come_in_order_whichever_worker_is_slow() {
        for (workers, window) in [(1, 1), (3, 1), (3, 2), (4, 16)] {
            let job = |number: u64| {
                std::thread::sleep(Duration::from_micros(number * 7919 % 300));
                number * number
            };
            let results: Vec<u64> =
                Ordered::start(5..100, workers, window, job).unwrap().map(Outcome::unwrap).collect();
            assert_eq!(
                results,
                (5..100).map(|n| n * n).collect::<Vec<_>>(),
                "{workers} workers, window {window}"
            );
        }
    }

    #[test]
    fn work_ahead_is_bounded_and_dropping_ends_it() {
        let begun = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&begun);
        let mut results =
            Ordered::start(0..1_000_000, 3, 5, move |_| counter.fetch_add(1, Ordering::SeqCst)).unwrap();
        assert!(results.next().is_some());
        std::thread::sleep(Duration::from_millis(50));
        drop(results);
        assert!(begun.load(Ordering::SeqCst) <= 6);
    }

    #[test]
    fn what_is_done_is_ready() {
        let mut results = Ordered::start(0..9, 2, 3, |number| number).unwrap();
        while results.ready() < 3 {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!((results.ready(), results.next()), (3, Some(Ok(0))));
        assert_eq!((results.by_ref().count(), results.ready()), (8, 0));
    }

    #[test]
    fn a_panic_is_the_result_of_its_job() {
        let job = |number| {
            assert_ne!(number, 2, "two is bad");
            number
        };
        let results: Vec<_> = Ordered::start(0..4, 2, 4, job).unwrap().collect();
        assert!(results[2].as_ref().unwrap_err().contains("two is bad"));
        assert_eq!(results[3], Ok(3));
    }
}
