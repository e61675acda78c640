//! A pool of buffers: a dropped tensor leaves its buffer to a later tensor of about the same size.
//!
//! A training step asks for the same buffers again and again. If each came from the system, it would be cleared and mapped page
//! by page, which takes a third of a step at small sizes. Buffers from the pool hold whatever numbers were left in them.
//!
//! Idle memory is bounded. Idle and used buffers together exceed the largest amount ever used at once by at most one part in
//! [`SLACK`]. Beyond that, the buffers that have been idle longest are freed.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Smaller buffers are not pooled: the system's allocator is as good for them.
const SMALLEST: usize = 1024;
/// A buffer is never lent for less than one part in this many of its size.
const LOOSEST: usize = 3;
/// Sizes are rounded up by at most one part in this many, so that batches of slightly different size share buffers.
const STEPS: usize = 16;
/// Idle and used buffers together exceed the peak of used ones by at most `1 / SLACK` of it.
const SLACK: usize = 14;

/// The pool of one element type.
#[derive(Debug)]
pub struct Buffers<F>(Mutex<Idle<F>>);

/// The idle buffers, and how much is idle and used. All amounts are numbers of elements.
#[derive(Debug)]
struct Idle<F> {
    /// The buffers of each size with the time at which each was returned, oldest first.
    by_size: BTreeMap<usize, VecDeque<(u64, Vec<F>)>>,
    /// The number of buffers returned so far.
    time: u64,
    idle: usize,
    used: usize,
    /// The largest `used` so far.
    peak: usize,
}

impl<F: Copy> Buffers<F> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Idle { by_size: BTreeMap::new(), time: 0, idle: 0, used: 0, peak: 0 }))
    }

    /// A buffer of at least `len` arbitrary elements. The caller must write each element before reading it.
    pub(crate) fn take(&self, len: usize, zero: F) -> Vec<F> {
        let size = size_for(len);
        self.idle_buffer(size).unwrap_or_else(|| alloc::vec![zero; size])
    }

    /// A buffer whose first `len` elements are zero.
    pub(crate) fn take_zeroed(&self, len: usize, zero: F) -> Vec<F> {
        let size = size_for(len);
        let Some(mut buffer) = self.idle_buffer(size) else { return alloc::vec![zero; size] };
        buffer[..len].fill(zero);
        buffer
    }

    /// Counts a buffer that the caller allocated as if it had been taken from the pool.
    pub(crate) fn adopt(&self, buffer: &[F]) {
        if buffer.len() >= SMALLEST {
            self.lock().uses(buffer.len());
        }
    }

    /// Returns a buffer to the pool.
    pub(crate) fn give(&self, buffer: Vec<F>) {
        if buffer.len() < SMALLEST {
            return;
        }
        // Freed after the lock is released, because freeing may be slow.
        let freed = self.lock().give(buffer);
        drop(freed);
    }

    /// The numbers of used and of idle elements.
    #[cfg(test)]
    fn account(&self) -> [usize; 2] {
        let idle = self.lock();
        [idle.used, idle.idle]
    }

    fn idle_buffer(&self, size: usize) -> Option<Vec<F>> {
        if size < SMALLEST {
            return None;
        }
        let mut idle = self.lock();
        let found = idle.find(size);
        idle.uses(found.as_ref().map_or(size, Vec::len));
        let freed = idle.trim();
        drop(idle);
        drop(freed);
        found
    }

    /// A poisoned lock is harmless: no method leaves the counts half changed.
    fn lock(&self) -> MutexGuard<'_, Idle<F>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The size of the buffer that is taken for `len` elements.
fn size_for(len: usize) -> usize {
    if len < SMALLEST { len } else { len.next_multiple_of((1 << len.ilog2()) / STEPS) }
}

impl<F> Idle<F> {
    /// Takes the smallest idle buffer that is large enough and not too large.
    fn find(&mut self, size: usize) -> Option<Vec<F>> {
        let (_, buffers) =
            self.by_size.range_mut(size..=size * LOOSEST).find(|(_, buffers)| !buffers.is_empty())?;
        // The one returned last is the likeliest to be in the cache.
        let (_, buffer) = buffers.pop_back()?;
        self.idle -= buffer.len();
        Some(buffer)
    }

    fn uses(&mut self, len: usize) {
        self.used += len;
        self.peak = self.peak.max(self.used);
    }

    fn give(&mut self, buffer: Vec<F>) -> Vec<Vec<F>> {
        let len = buffer.len();
        self.time += 1;
        self.used = self.used.saturating_sub(len);
        self.idle += len;
        self.by_size.entry(len).or_default().push_back((self.time, buffer));
        self.trim()
    }

    /// Removes the buffers that have been idle longest until the bound holds.
    fn trim(&mut self) -> Vec<Vec<F>> {
        let mut freed = Vec::new();
        while self.used + self.idle > self.peak + self.peak / SLACK {
            let Some(oldest) = self.remove_oldest() else { break };
            self.idle -= oldest.len();
            freed.push(oldest);
        }
        freed
    }

    fn remove_oldest(&mut self) -> Option<Vec<F>> {
        let sizes = self.by_size.iter().filter_map(|(&len, buffers)| Some((buffers.front()?.0, len)));
        let (_, len) = sizes.min()?;
        let (_, buffer) = self.by_size.get_mut(&len)?.pop_front()?;
        Some(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_returned_buffer_is_taken_again() {
        let buffers = Buffers::<f32>::new();
        let mut first = buffers.take(5120, 0.0);
        first[7] = 3.0;
        let address = first.as_ptr();
        buffers.give(first);
        let again = buffers.take(5120, 0.0);
        assert!(again.as_ptr() == address && again[7] == 3.0);
        buffers.give(again);
        let zeroed = buffers.take_zeroed(5120, 0.0);
        assert!(zeroed.as_ptr() == address && zeroed.iter().all(|&v| v == 0.0));
        assert_eq!(buffers.account(), [5120, 0]);
        buffers.give(zeroed);
        let smaller = buffers.take(4990, 0.0);
        assert!(smaller.as_ptr() == address, "slightly smaller sizes share a buffer");
    }

    #[test]
    fn sizes_are_rounded_by_a_sixteenth_at_most() {
        for len in (0..5000).chain(1_000_000..1_000_500) {
            let size = size_for(len);
            assert!(size >= len && size <= len + len / STEPS + 1, "{len} gets {size}");
            assert_eq!(size_for(size), size);
        }
    }

    #[test]
    fn idle_memory_is_bounded_by_the_peak() {
        let buffers = Buffers::<f32>::new();
        for size in (1..100).map(|k| 1024 * k) {
            buffers.give(buffers.take(size, 0.0));
            let [used, idle] = buffers.account();
            assert!(used == 0 && idle <= size + size / SLACK, "{idle} idle after {size}");
        }
    }

    #[test]
    fn the_oldest_goes_first() {
        let buffers = Buffers::<f32>::new();
        let (a, b, c) = (buffers.take(2048, 0.0), buffers.take(3072, 0.0), buffers.take(9216, 0.0));
        buffers.give(a);
        buffers.give(b);
        // The peak is 14336, and 1024 more are allowed. Using 4608 more therefore frees the two idle buffers.
        let d = buffers.take(4608, 0.0);
        assert_eq!(buffers.account(), [13824, 0]);
        buffers.give(c);
        assert_eq!(buffers.account(), [4608, 9216]);
        drop(d);
    }
}
