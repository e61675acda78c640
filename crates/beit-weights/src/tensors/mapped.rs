//! A file seen as memory: the only place of this crate with `unsafe`.
#![allow(unsafe_code)]

use beit_data::open_regular;
use memmap2::Mmap;
use std::io;
use std::ops::Range;
use std::path::Path;

/// The bytes of a file, read from the disk when they are looked at.
pub(super) struct Mapped(Mmap);

impl Mapped {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        // Of a device or a pipe there is nothing to map, and opening a pipe would wait for a writer.
        let file = open_regular(path, u64::MAX)?;
        // SAFETY: the mapping is private and read-only, and lives as long as its slice is lent. What the language cannot rule out is
        // another process that shortens or rewrites the file meanwhile; checkpoints are replaced by renaming, here and in the tools
        // that write them, which leaves a mapped file as it is.
        unsafe { Mmap::map(&file) }.map(Self)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Tells the system that these bytes are not needed any more, so that a file that was read once does not count as memory in
    /// use. Looking at them again reads them again.
    pub(super) fn release(&self, range: Range<usize>) {
        #[cfg(unix)]
        {
            use memmap2::UncheckedAdvice;
            // SAFETY: the mapping is of a file and read-only, so that there is nothing to lose: dropped pages come back from it.
            // That the advice is not taken is no failure.
            let _ =
                unsafe { self.0.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len()) };
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}
