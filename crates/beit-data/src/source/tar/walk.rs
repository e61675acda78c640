//! The files of a tar archive, one after the other, without their contents.

use std::fs::File;
use std::io;

use tar::{EntryType, Header, PaxExtensions};

use super::reading::read_exact_at;

/// Everything in an archive begins at a multiple of this, in bytes.
pub(super) const BLOCK: u64 = 512;
/// Longest name, and longest set of pax's records, in bytes.
const MAX_NAME: u64 = 1 << 16;
const MAX_RECORDS: u64 = 1 << 20;

/// A file in an archive. All of it lies in the archive.
pub(super) struct Entry {
    pub(super) name: String,
    /// Where its contents begin.
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// Why a walk ends early.
pub(super) enum Problem {
    /// The archive ends within an entry: why, and which file it is where that is known.
    Cut(String, Option<String>),
    /// What should be a header is none.
    Damaged(String),
    Read(io::Error),
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// Where a walk stands.
pub(super) struct Walk<'a> {
    file: &'a File,
    length: u64,
    at: u64,
    /// What the entries before a file say of it.
    name: Option<Vec<u8>>,
    size: Option<u64>,
    /// Whether the mark of the end was met behind the last file.
    pub(super) ended: bool,
    /// Files that have their contents elsewhere: links, and sparse ones.
    pub(super) elsewhere: usize,
}

impl<'a> Walk<'a> {
    pub(super) fn new(file: &'a File, length: u64) -> Self {
        Self { file, length, at: 0, name: None, size: None, ended: false, elsewhere: 0 }
    }

    /// Whether there was anything.
    pub(super) fn is_begun(&self) -> bool {
        self.at > 0
    }

    /// The next regular file. After empty blocks, which end an archive, another may follow: so `cat` joins them.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, Problem> {
        while self.at < self.length {
            let mut block = [0; BLOCK as usize];
            if self.length - self.at < BLOCK {
                if self.ended {
                    return Ok(None);
                }
                return Err(Problem::Cut(format!("it ends within a header at byte {}", self.at), None));
            }
            read_exact_at(self.file, &mut block, self.at)?;
            let header = self.at;
            self.at += BLOCK;
            if block == [0; BLOCK as usize] {
                self.ended = true;
                continue;
            }
            if let Some(entry) = self.entry(Header::from_byte_slice(&block), header)? {
                self.ended = false;
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// What a header says. None where it is not that of a regular file.
    fn entry(&mut self, header: &Header, at: u64) -> Result<Option<Entry>, Problem> {
        check(header, at)?;
        let kind = header.entry_type();
        let said = header
            .entry_size()
            .map_err(|error| Problem::Damaged(format!("the header at byte {at}: {error}")))?;
        match kind {
            EntryType::GNULongName => {
                let name = self.contents(said, MAX_NAME, "a name")?;
                self.name = Some(name.split(|&byte| byte == 0).next().unwrap_or_default().to_vec());
            }
            EntryType::XHeader => {
                let records = self.contents(said, MAX_RECORDS, "records")?;
                self.records(&records);
            }
            EntryType::Regular | EntryType::Continuous => return self.regular(header, said),
            // These have no contents, whatever their size says.
            EntryType::Link | EntryType::Symlink => {
                (self.elsewhere, self.name, self.size) = (self.elsewhere + 1, None, None)
            }
            EntryType::Directory | EntryType::Char | EntryType::Block | EntryType::Fifo => {
                (self.name, self.size) = (None, None)
            }
            EntryType::GNULongLink | EntryType::XGlobalHeader => drop(self.pass(said)?),
            _ => {
                self.elsewhere += usize::from(kind.is_gnu_sparse());
                let size = self.size.take().unwrap_or(said);
                self.name = None;
                self.pass(size)?;
            }
        }
        Ok(None)
    }

    fn regular(&mut self, header: &Header, said: u64) -> Result<Option<Entry>, Problem> {
        let name = self.name.take().unwrap_or_else(|| header.path_bytes().into_owned());
        let size = self.size.take().unwrap_or(said);
        let name = String::from_utf8_lossy(&name).into_owned();
        let offset = self.at;
        self.pass(size).map_err(|problem| match problem {
            Problem::Cut(..) => {
                let end = self.length;
                let why = format!(
                    "its file `{name}` of {size} bytes begins at byte {offset} and ends behind the end of the shard, at {end}"
                );
                Problem::Cut(why, Some(name.clone()))
            }
            other => other,
        })?;
        // The oldest archives mark a folder by a slash alone.
        Ok((!name.ends_with('/')).then_some(Entry { name, offset, size }))
    }

    /// Reads the contents of an entry that says something of the next.
    fn contents(&mut self, size: u64, most: u64, what: &str) -> Result<Vec<u8>, Problem> {
        if size > most {
            return Err(Problem::Damaged(format!(
                "{what} of {size} bytes at byte {}, expected at most {most}",
                self.at
            )));
        }
        let start = self.pass(size)?;
        let mut bytes = vec![0; size as usize];
        read_exact_at(self.file, &mut bytes, start)?;
        Ok(bytes)
    }

    /// Goes behind the contents of an entry; where they began. What fills up the last block may be missing at the end of an archive.
    fn pass(&mut self, size: u64) -> Result<u64, Problem> {
        let start = self.at;
        if size > self.length - start {
            let why = format!("it ends within an entry of {size} bytes at byte {start}");
            return Err(Problem::Cut(why, None));
        }
        self.at = (start + size).next_multiple_of(BLOCK);
        Ok(start)
    }

    /// Of pax's records of the next file, its name and its size. One that is damaged leaves what the header says.
    fn records(&mut self, records: &[u8]) {
        for record in PaxExtensions::new(records).flatten() {
            match record.key_bytes() {
                b"path" => self.name = Some(record.value_bytes().to_vec()),
                b"size" => self.size = record.value().ok().and_then(|size| size.parse().ok()),
                _ => {}
            }
        }
    }
}

/// Checks the checksum of a header: the sum of its bytes, with spaces for the checksum itself.
fn check(header: &Header, at: u64) -> Result<(), Problem> {
    const PLACE: std::ops::Range<usize> = 148..156;
    let bytes = header.as_bytes();
    let of = |(i, &byte): (usize, &u8)| if PLACE.contains(&i) { u32::from(b' ') } else { u32::from(byte) };
    let sum: u32 = bytes.iter().enumerate().map(of).sum();
    match header.cksum() {
        Ok(said) if said == sum => Ok(()),
        Ok(said) => {
            Err(Problem::Damaged(format!("the header at byte {at} has the checksum {sum}, and says {said}")))
        }
        Err(_) => Err(Problem::Damaged(format!("there is no header at byte {at}"))),
    }
}
