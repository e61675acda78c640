//! Many names in little memory.

use std::borrow::Cow;
use std::ffi::OsStr;

/// Numbered names, one behind the other: a name costs its bytes and 8 more.
#[derive(Default)]
pub(crate) struct Names {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<u64>,
}

impl Names {
    /// Names that were stored as their [parts](Self::parts). None where the ends do not rise to the end of the bytes.
    pub(crate) fn from_parts(bytes: Vec<u8>, ends: Vec<u64>) -> Option<Self> {
        let rises = ends.is_sorted() && ends.last().copied().unwrap_or(0) == bytes.len() as u64;
        rises.then_some(Self { bytes, ends })
    }

    /// The bytes of all names, and where each ends.
    pub(crate) fn parts(&self) -> (&[u8], &[u64]) {
        (&self.bytes, &self.ends)
    }

    pub(crate) fn push(&mut self, name: &[u8]) {
        self.bytes.extend_from_slice(name);
        self.ends.push(self.bytes.len() as u64);
    }

    /// Adds the names of others behind these.
    pub(crate) fn extend(&mut self, others: &Self) {
        let start = self.bytes.len() as u64;
        self.bytes.extend_from_slice(&others.bytes);
        self.ends.extend(others.ends.iter().map(|end| start + end));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Name `index`, below [`len`](Self::len).
    pub(crate) fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start as usize..self.ends[index] as usize]
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Gives back what was reserved for more names.
    pub(crate) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    /// Bytes in use.
    pub(crate) fn memory(&self) -> usize {
        self.bytes.capacity() + size_of::<u64>() * self.ends.capacity()
    }
}

/// The name of a file that was stored as its bytes.
#[cfg(unix)]
pub(crate) fn os_name(bytes: &[u8]) -> Cow<'_, OsStr> {
    use std::os::unix::ffi::OsStrExt;
    OsStr::from_bytes(bytes).into()
}

/// The name of a file that was stored as its bytes. One that is no Unicode names no file.
#[cfg(not(unix))]
pub(crate) fn os_name(bytes: &[u8]) -> Cow<'_, OsStr> {
    match String::from_utf8_lossy(bytes) {
        Cow::Borrowed(name) => OsStr::new(name).into(),
        Cow::Owned(name) => std::ffi::OsString::from(name).into(),
    }
}
