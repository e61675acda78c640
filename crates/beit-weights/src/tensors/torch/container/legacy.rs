//! The stream of torch 0.1.10 to 1.5, which later ones still write when asked to.
//!
//! ```text
//! pickle of the magic number, of the version 1001, of the machine's byte order, of the saved value,
//! of the list of storage keys; then for each key an i64, the number of elements, and these
//! ```

use super::super::fault::{Fault, Found, unreadable};
use super::super::pickle::{Pickle, Value};
use super::super::tensor::Storage;
use super::Contents;
use super::beginning::beginning;
use super::place::{Extent, Storages};
use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};

const VERSION: i64 = 1001;

/// Bytes of the number in front of each storage.
const COUNT: u64 = size_of::<i64>() as u64;

/// What a stream has.
pub(super) fn contents<R: Read + Seek>(file: &mut R, length: u64) -> Found<Contents> {
    let bytes = beginning(file)?;
    let mut rest = bytes.as_slice();
    let _magic = next(&mut rest)?;
    let version = next(&mut rest)?.root;
    if version != Value::Int(VERSION) {
        return unreadable(format_args!("its version is {version:?}, expected {VERSION}"));
    }
    let machine = next(&mut rest)?;
    match machine.heap.entry(machine.root, "little_endian") {
        Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => return unreadable("its bytes are in big order, expected little"),
        _ => return unreadable("it does not say its byte order"),
    }
    let saved = next(&mut rest)?;
    let keys = next(&mut rest)?;
    let begin = (bytes.len() - rest.len()) as u64;
    let storages = storages(file, length, begin, &saved, &keys)?;
    Contents::of(&saved, &storages, length)
}

/// Reads a pickle and goes behind it.
fn next<'a>(rest: &mut &'a [u8]) -> Found<Pickle<'a>> {
    let pickle = Pickle::read(rest)?;
    *rest = &rest[pickle.length..];
    Ok(pickle)
}

/// Goes along the storages: each begins where the one before ends.
fn storages(
    file: &mut (impl Read + Seek),
    length: u64,
    begin: u64,
    saved: &Pickle<'_>,
    keys: &Pickle<'_>,
) -> Found<Storages> {
    let declared = declared(saved)?;
    let (mut storages, mut start) = (Storages::new(), begin);
    for key in keys.heap.sequence(keys.root).unwrap_or_default() {
        let Value::Text(key) = *key else { return unreadable("it lists a storage without a name") };
        let Some(storage) = declared.get(key) else {
            return unreadable(format_args!("it lists storage {key}, which no tensor uses"));
        };
        let elements = count(file, start)?;
        if elements != storage.elements() as i64 {
            return unreadable(format_args!(
                "its storage {key} has {elements} elements, expected {}",
                storage.elements()
            ));
        }
        let extent = Extent { start: start + COUNT, bytes: storage.bytes(), crc32: None };
        start = extent.start.saturating_add(extent.bytes);
        if start > length {
            return unreadable(format_args!("it is cut short: it ends within storage {key}"));
        }
        if storages.insert(key.to_owned(), extent).is_some() {
            return unreadable(format_args!("it lists storage {key} twice"));
        }
    }
    Ok(storages)
}

/// The storages that the pickle mentions: only it knows their types.
fn declared<'a>(saved: &Pickle<'a>) -> Found<HashMap<&'a str, Storage<'a>>> {
    let mut declared: HashMap<&str, Storage<'_>> = HashMap::new();
    for storage in saved.heap.storages() {
        let known = declared.entry(storage.key).or_insert(storage);
        if (known.bytes(), known.width()) != (storage.bytes(), storage.width()) {
            return unreadable(format_args!("its storage {} has two sizes", storage.key));
        }
    }
    Ok(declared)
}

fn count(file: &mut (impl Read + Seek), start: u64) -> Found<i64> {
    let mut bytes = [0; COUNT as usize];
    file.seek(SeekFrom::Start(start))?;
    file.read_exact(&mut bytes).map_err(Fault::from)?;
    Ok(i64::from_le_bytes(bytes))
}
