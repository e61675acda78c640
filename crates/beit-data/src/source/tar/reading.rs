//! Reading from shards at any place, by many threads.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};
use crate::files::open_regular;
use crate::source::index::Stamp;

/// Shards that are kept open. Those beyond are opened for each picture: a system lets a process have a thousand files or so.
const MOST_OPEN: usize = 256;

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
                let file = open_regular(&self.path, u64::MAX).map_err(|error| gone(&self.path, error))?;
                if open.fetch_add(1, Ordering::Relaxed) < MOST_OPEN {
                    self.open.get_or_init(|| file)
                } else {
                    open.fetch_sub(1, Ordering::Relaxed);
                    own = file;
                    &own
                }
            }
        };
        self.check(file)?;
        // The index says no more than what lies in the shard, and at most the limit of a picture.
        let mut bytes = vec![0; size];
        read_exact_at(file, &mut bytes, offset)
            .map_err(|source| Error::Read { path: self.path.clone(), source })?;
        Ok(bytes)
    }

    /// A shard that has become shorter was cut: its pictures are bad. One that is otherwise not as it was is another.
    fn check(&self, file: &File) -> Result<()> {
        let read = |source| Error::Read { path: self.path.clone(), source };
        let found = Stamp::of(&file.metadata().map_err(read)?).map_err(read)?;
        let expected = self.stamp.length;
        if found == self.stamp {
            Ok(())
        } else if found.length < expected {
            let cut = format!(
                "the shard was cut short: it has {} bytes and had {expected} when it was indexed",
                found.length
            );
            Err(read(io::Error::new(io::ErrorKind::UnexpectedEof, cut)))
        } else {
            Err(Error::ShardChanged { path: self.path.clone() })
        }
    }
}

fn gone(path: &Path, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::NotFound => Error::ShardGone { path: path.to_owned() },
        _ => Error::Read { path: path.to_owned(), source },
    }
}

/// Reads at a place, whatever else reads the file.
#[cfg(unix)]
pub(super) fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

/// Reads at a place, whatever else reads the file.
#[cfg(windows)]
pub(super) fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
    use std::os::windows::fs::FileExt;
    while !bytes.is_empty() {
        match file.seek_read(bytes, offset)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                bytes = &mut bytes[read..];
                offset += read as u64;
            }
        }
    }
    Ok(())
}
