//! The bytes of a pickle, read from front to back.

use super::super::fault::{Found, unreadable};

/// What is left of a pickle. Whatever it hands out points into the bytes: lengths that a file claims allocate nothing.
pub(super) struct Stream<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Stream<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Bytes that were read.
    pub(super) fn consumed(&self) -> usize {
        self.at
    }

    /// The next `length` bytes.
    pub(super) fn take(&mut self, length: u64) -> Found<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        match usize::try_from(length).ok().and_then(|length| rest.get(..length)) {
            Some(taken) => {
                self.at += taken.len();
                Ok(taken)
            }
            None => unreadable(format_args!(
                "its pickle ends after {} bytes, where {length} more are expected",
                self.bytes.len()
            )),
        }
    }

    /// The next `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Found<[u8; N]> {
        Ok(*self.take(N as u64)?.first_chunk().expect("N bytes were taken"))
    }

    pub(super) fn byte(&mut self) -> Found<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// Bytes behind their own length, a number of `N` bytes.
    pub(super) fn counted<const N: usize>(&mut self) -> Found<&'a [u8]> {
        let mut length = [0; 8];
        length[..N].copy_from_slice(&self.array::<N>()?);
        self.take(u64::from_le_bytes(length))
    }

    /// Up to the end of the line, which is not part of it.
    pub(super) fn line(&mut self) -> Found<&'a str> {
        let rest = &self.bytes[self.at..];
        let Some(length) = rest.iter().position(|&byte| byte == b'\n') else {
            return unreadable("its pickle ends within a line");
        };
        self.at += length + 1;
        match std::str::from_utf8(&rest[..length]) {
            Ok(line) => Ok(line.trim_end_matches('\r')),
            Err(_) => unreadable("its pickle has a line that is no UTF-8"),
        }
    }
}
