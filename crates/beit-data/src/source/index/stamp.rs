use std::fs::Metadata;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Reader, Writer};

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
