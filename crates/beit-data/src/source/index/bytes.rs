//! Numbers and texts of an index, one behind the other, in little endian.

use crate::source::names::Names;

/// Writes the contents of an index.
#[derive(Default)]
pub(crate) struct Writer(pub(crate) Vec<u8>);

impl Writer {
    pub(crate) fn u32(&mut self, value: u32) {
        self.0.extend(value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.0.extend(value.to_le_bytes());
    }

    /// Their number, and the bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.u64(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    /// How many there are, and the numbers.
    pub(crate) fn u32s(&mut self, values: &[u32]) {
        self.u64(values.len() as u64);
        self.0.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    /// How many there are, and the numbers.
    pub(crate) fn u64s(&mut self, values: &[u64]) {
        self.u64(values.len() as u64);
        self.0.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }

    /// Their bytes, and where each ends.
    pub(crate) fn names(&mut self, names: &Names) {
        let (bytes, ends) = names.parts();
        self.bytes(bytes);
        self.u64s(ends);
    }

    /// How many there are, and the texts.
    pub(crate) fn texts(&mut self, texts: &[String]) {
        self.u64(texts.len() as u64);
        texts.iter().for_each(|text| self.bytes(text.as_bytes()));
    }
}

/// Reads what a [`Writer`] wrote. Everything is `None` where there is less than was said; nothing is allocated before.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N as u64)?.try_into().ok()
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = self.u64()?;
        self.take(count)
    }

    pub(crate) fn u32s(&mut self) -> Option<Vec<u32>> {
        let count = self.u64()?;
        let bytes = self.take(count.checked_mul(4)?)?;
        Some(bytes.as_chunks().0.iter().map(|value| u32::from_le_bytes(*value)).collect())
    }

    pub(crate) fn u64s(&mut self) -> Option<Vec<u64>> {
        let count = self.u64()?;
        let bytes = self.take(count.checked_mul(8)?)?;
        Some(bytes.as_chunks().0.iter().map(|value| u64::from_le_bytes(*value)).collect())
    }

    pub(crate) fn names(&mut self) -> Option<Names> {
        let bytes = self.bytes()?.to_vec();
        Names::from_parts(bytes, self.u64s()?)
    }

    pub(crate) fn text(&mut self) -> Option<String> {
        Some(std::str::from_utf8(self.bytes()?).ok()?.to_owned())
    }

    pub(crate) fn texts(&mut self) -> Option<Vec<String>> {
        let count = self.u64()?;
        // No capacity: each text takes eight bytes at least, which a false count does not have.
        (0..count).map(|_| self.text()).collect()
    }
}
