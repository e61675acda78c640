//! One safetensors file.

use super::mapped::Mapped;
use crate::error::{Error, Result};
use safetensors::SafeTensors;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::path::Path;

/// A file whose header and length agree, mapped into memory.
pub(super) struct SafetensorsFile {
    map: Mapped,
    /// Where the tensors begin.
    start: usize,
    header: Metadata,
}

/// Bytes of the number in front of the header.
const LENGTH: usize = size_of::<u64>();

impl SafetensorsFile {
    /// Maps a file. The header is checked before anything else is believed: every tensor has the bytes that its shape asks for, they
    /// follow each other without a gap or an overlap up to the end of the file, and no name is there twice.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let map = Mapped::open(path).map_err(Error::read(path))?;
        let damaged = |source| Error::Damaged { path: path.to_owned(), source };
        let (length, header) = SafeTensors::read_metadata(map.bytes()).map_err(damaged)?;
        if let Some(name) = duplicate(&map.bytes()[LENGTH..][..length]) {
            return Err(Error::malformed(path, format_args!("two tensors are called `{name}`")));
        }
        Ok(Self { start: LENGTH + length, header, map })
    }

    /// The names, in the order of the tensors in the file.
    pub(super) fn names(&self) -> Vec<String> {
        self.header.offset_keys()
    }

    pub(super) fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.header.info(name)
    }

    pub(super) fn metadata(&self, key: &str) -> Option<&str> {
        self.header.metadata().as_ref()?.get(key).map(String::as_str)
    }

    pub(super) fn bytes(&self, name: &str) -> Option<&[u8]> {
        Some(&self.map.bytes()[self.range(name)?])
    }

    /// Says that a tensor was read and will not be needed again soon.
    pub(super) fn release(&self, name: &str) {
        if let Some(range) = self.range(name) {
            self.map.release(range);
        }
    }

    fn range(&self, name: &str) -> Option<Range<usize>> {
        let (begin, end) = self.header.info(name)?.data_offsets;
        Some(self.start + begin..self.start + end)
    }
}

/// A name that the header has twice. JSON readers, the library's among them, silently take the last.
fn duplicate(header: &[u8]) -> Option<String> {
    struct Names(HashSet<String>);
    impl<'de> Visitor<'de> for Names {
        type Value = Option<String>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }
        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                if !self.0.insert(name.clone()) {
                    found = Some(name);
                }
            }
            Ok(found)
        }
    }
    serde_json::Deserializer::from_slice(header).deserialize_map(Names(HashSet::new())).ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_there_twice() {
        assert_eq!(duplicate(br#"{"a":{"x":1,"x":2},"b":[]}"#), None);
        assert_eq!(duplicate(br#"{"a":{},"b":{},"a":{}}"#).as_deref(), Some("a"));
    }
}
