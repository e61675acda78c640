use std::fs::{File, Metadata};
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Reader, Writer};
use crate::error::{Error, Result};
use crate::files::open_regular;

/// How long a file is and when it was last changed: what tells whether it is still the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) length: u64,
    pub(crate) modified: SystemTime,
}

impl Stamp {
    pub(crate) fn of(data: &Metadata) -> io::Result<Self> {
        Ok(Self { length: data.len(), modified: data.modified()? })
    }

    /// Whether an open file is still what this was taken of. One that has become shorter was cut: what is read from it is bad. One that is
    /// otherwise not as it was is another.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] of a file that was cut, and [`Error::ShardChanged`].
    pub(crate) fn check(&self, path: &Path, file: &File) -> Result<()> {
        let read = |source| Error::Read { path: path.to_owned(), source };
        let found = Self::of(&file.metadata().map_err(read)?).map_err(read)?;
        if found == *self {
            Ok(())
        } else if found.length < self.length {
            let cut = format!(
                "it was cut short: it has {} bytes and had {} when it was indexed",
                found.length, self.length
            );
            Err(read(io::Error::new(io::ErrorKind::UnexpectedEof, cut)))
        } else {
            Err(Error::ShardChanged { path: path.to_owned() })
        }
    }

    pub(crate) fn write(&self, to: &mut Writer) {
        to.u64(self.length);
        // Before 1970 there are no files worth an index; such a time only never equals what is stored.
        let since = self.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        to.i64(since.as_secs() as i64);
        to.u32(since.subsec_nanos());
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let (length, seconds, nanos) = (from.u64()?, from.i64()?, from.u32()?);
        let since = Duration::from_secs(u64::try_from(seconds).ok()?)
            .checked_add(Duration::from_nanos(nanos.into()))?;
        Some(Self { length, modified: UNIX_EPOCH.checked_add(since)? })
    }
}

/// Opens a file that was there when its set was indexed.
///
/// # Errors
///
/// [`Error::ShardGone`], [`Error::TooManyOpen`], and [`Error::Read`] where only this file cannot be read.
pub(crate) fn open_indexed(path: &Path) -> Result<File> {
    open_regular(path, u64::MAX).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::ShardGone { path: path.to_owned() },
        _ => Error::opening(path, source),
    })
}
