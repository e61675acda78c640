//! Reading from shards at any place, by many threads.

use std::fs::File;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};
use crate::files::read_exact_at;
use crate::source::index::{Stamp, open_indexed};

/// Shards that each set keeps open. Those beyond are opened for each picture: some systems let a process have 256 files, and there are
/// several sets in it.
const MOST_OPEN: usize = 64;

/// A shard that was indexed.
pub(super) struct ShardFile {
    pub(super) path: PathBuf,
    /// What it was when it was indexed.
    pub(super) stamp: Stamp,
    open: OnceLock<File>,
}

impl ShardFile {
    pub(super) fn new(path: PathBuf, stamp: Stamp) -> Self {
        Self { path, stamp, open: OnceLock::new() }
    }

    /// Reads `size` bytes at `offset`, where the shard is still what was indexed. `open` counts the shards that are kept open.
    pub(super) fn read(&self, offset: u64, size: usize, open: &AtomicUsize) -> Result<Vec<u8>> {
        let own;
        let file = match self.open.get() {
            Some(file) => file,
            None => {
                own = self.keep(open_indexed(&self.path)?, open);
                own.as_ref().or_else(|| self.open.get()).expect("a file is kept or given back")
            }
        };
        self.stamp.check(&self.path, file)?;
        // The index says no more than what lies in the shard, and at most the limit of a picture.
        let mut bytes = vec![0; size];
        read_exact_at(file, &mut bytes, offset)
            .map_err(|source| Error::Read { path: self.path.clone(), source })?;
        Ok(bytes)
    }

    /// Keeps a file open where few are; else, and where another thread has kept one before, gives it back.
    fn keep(&self, file: File, open: &AtomicUsize) -> Option<File> {
        let kept = match open.fetch_add(1, Ordering::Relaxed) < MOST_OPEN {
            true => self.open.set(file),
            false => Err(file),
        };
        let given_back = kept.err();
        if given_back.is_some() {
            open.fetch_sub(1, Ordering::Relaxed);
        }
        given_back
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_counted_once_and_few_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.tar");
        std::fs::write(&path, "12345").unwrap();
        let stamp = Stamp::of(&path.metadata().unwrap()).unwrap();
        let open = AtomicUsize::new(0);
        let count = || open.load(Ordering::Relaxed);
        let shards: Vec<_> = (0..MOST_OPEN + 2).map(|_| ShardFile::new(path.clone(), stamp)).collect();
        for round in 0..2 {
            for (number, shard) in shards.iter().enumerate() {
                assert_eq!(shard.read(1, 3, &open).unwrap(), b"234");
                assert_eq!(shard.open.get().is_some(), number < MOST_OPEN, "{round} {number}");
            }
            assert_eq!(count(), MOST_OPEN);
        }
        // The second of two threads that opened the same shard.
        open.store(1, Ordering::Relaxed);
        assert!(shards[0].keep(File::open(&path).unwrap(), &open).is_some());
        assert_eq!(count(), 1);
    }
}
