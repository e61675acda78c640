//! Buffers that begin on a line of the cache.

use crate::host::product::micro::Packed;
use core::ops::{Deref, DerefMut};

/// Bytes of a line of the cache.
const LINE: usize = 64;

/// Packed elements from the beginning of a line of the cache on. Otherwise every other load of an AVX-512 kernel, whose registers
/// are as long as a line, would touch two lines.
pub(in crate::host::product) struct AlignedBuffer<P: Packed> {
    buffer: alloc::vec::Vec<P>,
    begin: usize,
    len: usize,
}

impl<P: Packed> AlignedBuffer<P> {
    /// `len` arbitrary elements from the pool. The caller must write each of them before reading it.
    pub(in crate::host::product) fn take(len: usize) -> Self {
        Self::align(P::buffers().take(len + LINE / size_of::<P>(), P::default()), len)
    }

    /// A copy in memory of exactly its size, where a buffer of the pool may be larger.
    pub(super) fn shrunk(&self) -> Self {
        let buffer = alloc::vec![P::default(); self.len + LINE / size_of::<P>()];
        P::buffers().adopt(&buffer);
        let mut copy = Self::align(buffer, self.len);
        copy.copy_from_slice(self);
        copy
    }

    fn align(buffer: alloc::vec::Vec<P>, len: usize) -> Self {
        let begin = buffer.as_ptr().align_offset(LINE);
        Self { buffer, begin, len }
    }
}

impl<P: Packed> Deref for AlignedBuffer<P> {
    type Target = [P];
    fn deref(&self) -> &[P] {
        &self.buffer[self.begin..][..self.len]
    }
}

impl<P: Packed> DerefMut for AlignedBuffer<P> {
    fn deref_mut(&mut self) -> &mut [P] {
        &mut self.buffer[self.begin..][..self.len]
    }
}

impl<P: Packed> Drop for AlignedBuffer<P> {
    fn drop(&mut self) {
        P::buffers().give(core::mem::take(&mut self.buffer));
    }
}
