//! An index as a file: magic, kind, version, contents, checksum.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use flate2::Crc;

use super::{Reader, Writer};
use crate::files::read_regular;

const MAGIC: [u8; 8] = *b"BEITIDX\n";
/// Raised whenever the contents of any kind change.
const VERSION: u32 = 1;
/// Longest file that is taken for an index: a hundred million names.
const MAX_BYTES: u64 = 1 << 33;
/// Bytes of the checksum at the end.
const CHECKSUM: usize = 4;

/// What is indexed.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Shard = 1,
    Folder = 2,
}

/// What there is at the place of an index.
pub(crate) enum Stored {
    /// Nothing.
    None,
    /// Something that cannot be used, and why.
    Unusable(String),
    /// The contents.
    Contents(Vec<u8>),
}

/// Reads an index. Its checksum is right where there are contents.
pub(crate) fn read(path: &Path, kind: Kind) -> Stored {
    let mut bytes = match read_regular(path, MAX_BYTES) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Stored::None,
        Err(error) => return Stored::Unusable(error.to_string()),
    };
    match check(&bytes, kind) {
        Err(problem) => Stored::Unusable(problem.to_owned()),
        Ok(head) => {
            bytes.truncate(bytes.len() - CHECKSUM);
            bytes.drain(..head);
            Stored::Contents(bytes)
        }
    }
}

/// How long the head is.
fn check(bytes: &[u8], kind: Kind) -> Result<usize, &'static str> {
    let Some((all, checksum)) = bytes.split_last_chunk::<CHECKSUM>() else { return Err("it is cut short") };
    let Some(rest) = all.strip_prefix(&MAGIC) else { return Err("it is no index") };
    let mut reader = Reader(rest);
    match (reader.u32(), reader.u32()) {
        (Some(VERSION), Some(found)) if found == kind as u32 => {}
        (Some(VERSION), _) => return Err("it is an index of something else"),
        _ => return Err("another version of this program wrote it"),
    }
    if u32::from_le_bytes(*checksum) != sum(all) {
        return Err("its checksum is wrong");
    }
    Ok(bytes.len() - CHECKSUM - reader.0.len())
}

/// Puts an index in its place, whole: it is written beside it, synced and renamed. Folders above are made.
pub(crate) fn write(path: &Path, kind: Kind, contents: &Writer) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut head = Writer(MAGIC.to_vec());
    head.u32(VERSION);
    head.u32(kind as u32);
    head.0.extend_from_slice(&contents.0);
    let checksum = sum(&head.0);
    head.u32(checksum);
    let mut file = temporary().tempfile_in(folder)?;
    file.write_all(&head.0)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// A file that others may read once it is in its place.
fn temporary() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".beit-index-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder
}

fn sum(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}
