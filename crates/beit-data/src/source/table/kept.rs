//! Blocks of pictures that stay in memory for a while.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Files of pictures, one after the other, as they stand in a table.
#[derive(Default)]
pub(super) struct Block {
    bytes: Vec<u8>,
    /// Where each picture ends; none where there is no picture.
    ends: Vec<Option<usize>>,
}

impl Block {
    pub(super) fn push(&mut self, picture: Option<&[u8]>) {
        self.bytes.extend_from_slice(picture.unwrap_or_default());
        self.ends.push(picture.map(|_| self.bytes.len()));
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes in memory.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + self.ends.len() * size_of::<Option<usize>>()
    }

    /// The picture of a row below [`len`](Self::len).
    pub(super) fn get(&self, row: usize) -> Option<&[u8]> {
        let end = self.ends[row]?;
        let start = self.ends[..row].iter().rev().flatten().next().copied().unwrap_or(0);
        Some(&self.bytes[start..end])
    }
}

/// The number of a file and of a block in it.
type Key = (usize, usize);
/// A block that one thread reads while others wait for it.
type Slot = Arc<Mutex<Option<Arc<Block>>>>;

/// The blocks that were used last, up to a number of bytes; threads share them. The one that was asked for last always stays.
pub(super) struct Kept {
    state: Mutex<State>,
    limit: usize,
    /// Whether neighbours are of no use.
    scattered: AtomicBool,
}

#[derive(Default)]
struct State {
    slots: HashMap<Key, Used>,
    /// Counts the uses.
    clock: u64,
    /// Of all blocks.
    bytes: usize,
}

struct Used {
    slot: Slot,
    last: u64,
    bytes: usize,
}

impl Kept {
    pub(super) fn new(limit: usize) -> Self {
        Self { state: Mutex::default(), limit, scattered: AtomicBool::new(false) }
    }

    /// Says that neighbours are of no use from now on.
    pub(super) fn scatter(&self) {
        self.scattered.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_scattered(&self) -> bool {
        self.scattered.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).slots.is_empty()
    }

    /// A block, read where it is not there. Threads that ask for one at once read it once.
    pub(super) fn get(&self, key: Key, read: impl FnOnce() -> Block) -> Arc<Block> {
        let slot = self.slot(key);
        let mut inside = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = &*inside {
            return Arc::clone(block);
        }
        let block = Arc::new(read());
        *inside = Some(Arc::clone(&block));
        self.count(key, block.size());
        block
    }

    fn slot(&self, key: Key) -> Slot {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.clock += 1;
        let last = state.clock;
        let used = state.slots.entry(key).or_insert_with(|| Used { slot: Slot::default(), last, bytes: 0 });
        used.last = last;
        Arc::clone(&used.slot)
    }

    /// Notes how large a block is, and lets those go that were not used for longest.
    fn count(&self, key: Key, bytes: usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(used) = state.slots.get_mut(&key) else { return };
        used.bytes = bytes;
        state.bytes += bytes;
        while state.bytes > self.limit {
            let others = state.slots.iter().filter(|(other, used)| **other != key && used.bytes > 0);
            let Some(oldest) = others.min_by_key(|(_, used)| used.last).map(|(&oldest, _)| oldest) else {
                break;
            };
            state.bytes -= state.slots.remove(&oldest).map_or(0, |used| used.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    fn block(bytes: usize) -> Block {
        let mut block = Block::default();
        block.push(Some(&vec![1; bytes]));
        block
    }

    #[test]
    fn pictures_keep_their_places() {
        let mut block = Block::default();
        for picture in [None, Some(&b"ab"[..]), Some(b""), None, Some(b"c")] {
            block.push(picture);
        }
        let all: Vec<_> = (0..block.len()).map(|row| block.get(row)).collect();
        assert_eq!(all, [None, Some(&b"ab"[..]), Some(b""), None, Some(b"c")]);
    }

    #[test]
    fn the_oldest_goes_first() {
        let size = block(1000).size();
        let kept = Kept::new(2 * size);
        let reads = AtomicUsize::new(0);
        let get = |number: usize| {
            let read = || {
                reads.fetch_add(1, Ordering::Relaxed);
                block(1000)
            };
            kept.get((0, number), read);
            reads.swap(0, Ordering::Relaxed)
        };
        assert_eq!([0, 1, 0, 2, 0, 1].map(get), [1, 1, 0, 1, 0, 1]);
        assert!(kept.state.lock().unwrap().bytes <= 2 * size);
        // One that is larger than all there may be is kept alone.
        kept.get((1, 0), || block(5 * size));
        assert_eq!(kept.state.lock().unwrap().slots.len(), 1);
    }

    #[test]
    fn threads_read_a_block_once() {
        let (kept, reads) = (Kept::new(1 << 20), AtomicUsize::new(0));
        let read = || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            reads.fetch_add(1, Ordering::Relaxed);
            block(10)
        };
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(|| kept.get((0, 0), read)))));
        assert_eq!(reads.into_inner(), 1);
    }
}
