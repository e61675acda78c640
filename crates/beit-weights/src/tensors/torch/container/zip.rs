//! The zip archive of torch 1.6 and later.
//!
//! ```text
//! NAME/data.pkl    the pickle
//! NAME/data/KEY    the storages, uncompressed
//! NAME/byteorder   little or big, since torch 2.1
//! ```

use super::super::fault::{Fault, Found, unreadable};
use super::super::pickle::{MAX_PICKLE, Pickle};
use super::Contents;
use super::place::{Extent, Storages};
use std::collections::HashMap;
use std::io::{BufReader, Read, Seek, SeekFrom};
use zip::{CompressionMethod, ZipArchive};

/// What the folder within an archive is called when nobody has given it a name.
pub(in super::super) const ARCHIVE: &str = "archive";

const PICKLE: &str = "data.pkl";

/// What an archive has.
pub(super) fn contents<R: Read + Seek>(file: &mut R, length: u64) -> Found<Contents> {
    let entries = entries(file, length)?;
    let folder = folder(&entries)?;
    let find = |name: &str| entries.get(&format!("{folder}{name}")).copied();
    match find("byteorder").map(|extent| read(&mut *file, extent)).transpose()?.as_deref() {
        None | Some(b"little") => {}
        Some(order) => {
            let order = String::from_utf8_lossy(order);
            return unreadable(format_args!(
                "its bytes are in {} order, expected little",
                order.escape_debug()
            ));
        }
    }
    let pickle = find(PICKLE).map(|extent| read(file, extent)).transpose()?.unwrap_or_default();
    let data = format!("{folder}data/");
    let of_data = |(name, &extent): (&String, &Extent)| Some((name.strip_prefix(&data)?.to_owned(), extent));
    let storages: Storages = entries.iter().filter_map(of_data).collect();
    Contents::of(&Pickle::read(&pickle)?, &storages, length)
}

/// Where each entry's bytes are.
fn entries(file: &mut (impl Read + Seek), length: u64) -> Found<HashMap<String, Extent>> {
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(damaged)?;
    if archive.has_duplicate_names() {
        return unreadable("two entries of the zip have the same name");
    }
    if archive.file_names_raw().any(|name| name.ends_with(b"/constants.pkl")) {
        return unreadable(
            "it is a TorchScript program, expected a state dict or module saved by torch.save",
        );
    }
    let mut entries = HashMap::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(damaged)?;
        let name = entry.name().map_err(damaged)?.into_owned();
        if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
            return unreadable(format_args!(
                "entry `{}` of the zip is compressed or encrypted, which torch.save never does",
                name.escape_debug()
            ));
        }
        let (start, bytes) = (entry.data_start().unwrap_or(u64::MAX), entry.size());
        if bytes != entry.compressed_size() || start.checked_add(bytes).is_none_or(|end| end > length) {
            return unreadable(format_args!(
                "entry `{}` of the zip is {bytes} bytes at {start}, beyond the file's {length} bytes",
                name.escape_debug()
            ));
        }
        // torch writes 0 when it is told to compute none.
        let crc32 = Some(entry.crc32()).filter(|&crc32| crc32 != 0);
        entries.insert(name, Extent { start, bytes, crc32 });
    }
    Ok(entries)
}

/// The folder with the pickle, with its slash.
fn folder(entries: &HashMap<String, Extent>) -> Found<String> {
    let mut folders = entries.keys().filter_map(|name| {
        let folder = name.strip_suffix(PICKLE)?;
        (folder.ends_with('/') && folder.matches('/').count() == 1).then_some(folder)
    });
    match (folders.next(), folders.next()) {
        (Some(folder), None) => Ok(folder.to_owned()),
        (None, _) => unreadable("it is a zip without data.pkl, expected what torch.save writes"),
        (Some(_), Some(_)) => unreadable("it is a zip with more than one data.pkl"),
    }
}

/// An entry that is read into memory: the pickle or a word.
fn read(file: &mut (impl Read + Seek), extent: Extent) -> Found<Vec<u8>> {
    if extent.bytes > MAX_PICKLE {
        return unreadable(format_args!(
            "its pickle has {} bytes, expected at most {MAX_PICKLE}",
            extent.bytes
        ));
    }
    file.seek(SeekFrom::Start(extent.start))?;
    let mut bytes = vec![0; extent.bytes as usize];
    file.read_exact(&mut bytes)?;
    match extent.crc32 {
        Some(expected) if crc32fast::hash(&bytes) != expected => {
            unreadable("the checksum of its pickle is wrong: it has changed")
        }
        _ => Ok(bytes),
    }
}

fn damaged(error: zip::result::ZipError) -> Fault {
    match error {
        zip::result::ZipError::Io(error) => error.into(),
        error => Fault::Unreadable(format!("as a zip it is damaged: {error}")),
    }
}
