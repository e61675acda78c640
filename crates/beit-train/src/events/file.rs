//! An event file: records of TensorFlow (`tensorflow/core/lib/io/record_writer.h`), each an [`Event`].

use super::message::{Event, VERSION, What};
use crate::error::{Error, Result};
use prost::Message;
use std::fs::{DirEntry, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// What the names of event files begin with; a time follows.
const PREFIX: &str = "events.out.tfevents.";

/// Whether a name is that of an event file.
#[must_use]
pub fn is_event_file(name: &str) -> bool {
    time_of(name).is_some()
}

/// The time in the name of an event file, in seconds.
fn time_of(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.strip_suffix(".beit")?.parse().ok()
}

pub(super) struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Makes a file in a folder, whose name comes after those of the files there: in this order they are read. Also whether there are
    /// others.
    pub(super) fn create(folder: &Path) -> Result<(Self, bool)> {
        let write = |path: &Path, source| Error::Write { path: path.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(|source| write(folder, source))?;
        let entries = std::fs::read_dir(folder).map_err(|source| write(folder, source))?;
        let time = |entry: DirEntry| time_of(entry.file_name().to_str()?);
        let newest = entries.filter_map(|entry| time(entry.ok()?)).max();
        let time = newest.map_or(0, |newest| newest.saturating_add(1)).max(now() as u64);
        let path = folder.join(format!("{PREFIX}{time:010}.beit"));
        let file = OpenOptions::new().create_new(true).write(true).open(&path);
        let mut new = Self { file: file.map_err(|source| write(&path, source))?, path };
        new.append(0, What::FileVersion(VERSION.to_owned()))?;
        Ok((new, newest.is_some()))
    }

    /// Appends an entry in one write.
    pub(super) fn append(&mut self, step: u64, what: What) -> Result<()> {
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        let event = Event { wall_time: now(), step, what: Some(what) };
        let written = self.file.write_all(&framed(&event.encode_to_vec()));
        written.map_err(|source| Error::Write { path: self.path.clone(), source })
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// A record: its length in eight bytes, their checksum, the bytes, their checksum.
fn framed(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    [&length[..], &masked(&length), bytes, &masked(bytes)].concat()
}

/// A CRC-32C, turned and moved, so that a checksum of bytes that hold checksums is no weaker.
fn masked(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_the_order_of_the_files() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // As where the clock was put back.
        let later = format!("{PREFIX}9999999998.beit");
        std::fs::write(folder.path().join(&later), "").expect("a file");
        let (new, others) = EventFile::create(folder.path()).expect("the disk has room");
        assert!(others && new.path.ends_with(format!("{PREFIX}9999999999.beit")), "{}", new.path.display());
        assert!(is_event_file(&later));
        for other in ["events.out.tfevents.1.host", "events.out.tfevents.x.beit", "notes"] {
            assert!(!is_event_file(other), "{other}");
        }
        let (_, others) = EventFile::create(&folder.path().join("new")).expect("the disk has room");
        assert!(!others);
    }

    /// The example of RFC 3720 B.4, 32 bytes of zero, whose CRC-32C is 0x8a9136aa.
    #[test]
    fn checksum() {
        // Its bits turned by 15 to the right, and 0xa282ead8 more.
        assert_eq!(masked(&[0; 32]), 0x0fd7_fffa_u32.to_le_bytes());
    }
}
