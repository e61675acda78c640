//! What torch.save packs a pickle and its numbers into.

mod legacy;
mod zip;

use super::fault::{Found, unreadable};
use super::names;
use super::pickle::Pickle;
use super::tensor::Tensor;
use safetensors::Dtype;
use std::collections::{HashMap, HashSet};
use std::io::{Read, Seek, SeekFrom};

pub(super) use zip::ARCHIVE;

/// Bytes that are enough to tell the kinds apart.
pub(super) const PREFIX: usize = 512;

/// What a file is by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// torch 1.6 and later.
    Zip,
    /// torch 0.1.10 to 1.5.
    Legacy,
    /// Before.
    Tar,
    /// Without a container, so without tensors.
    Pickle,
}

/// `0x1950a86a20f9469cfc6c`, the number that the legacy format begins with.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// The magic number lies behind the pickle's protocol and a frame.
const MAGIC_WITHIN: usize = 32;

impl Kind {
    /// The kind, or `None` if it is nothing of PyTorch.
    pub(super) fn of(first_bytes: &[u8]) -> Option<Self> {
        let start = &first_bytes[..first_bytes.len().min(MAGIC_WITHIN)];
        // The length of a safetensors header may look like an opcode.
        let header = first_bytes.get(8) == Some(&b'{') && first_bytes.get(6..8) == Some(&[0, 0]);
        match first_bytes {
            [b'P', b'K', 3 | 5, 4 | 6, ..] => Some(Self::Zip),
            _ if first_bytes.get(257..262) == Some(b"ustar") => Some(Self::Tar),
            _ if start.windows(MAGIC.len()).any(|window| window == MAGIC) => Some(Self::Legacy),
            [0x80, 0..=5, ..] | [b'(' | b'c' | b'}' | b']', ..] if !header => Some(Self::Pickle),
            _ => None,
        }
    }
}

/// Where a storage lies in the file.
#[derive(Clone, Copy, Debug)]
struct Extent {
    start: u64,
    bytes: u64,
    /// Of its bytes, where the container has one.
    crc32: Option<u32>,
}

/// Storages by key.
type Storages = HashMap<String, Extent>;

/// A tensor whose place in the file is known, and is within the file.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Steps in elements.
    pub(super) stride: Vec<usize>,
    /// From the first to the last element.
    start: u64,
    bytes: u64,
    crc32: Option<u32>,
}

/// The tensors of a file by name, in its order.
pub(super) fn tensors<R: Read + Seek>(file: &mut R) -> Found<Vec<(String, Placed)>> {
    let mut first = Vec::new();
    file.take(PREFIX as u64).read_to_end(&mut first)?;
    let length = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    match Kind::of(&first) {
        Some(Kind::Zip) => zip::tensors(file, length),
        Some(Kind::Legacy) => legacy::tensors(file, length),
        Some(Kind::Tar) => unreadable("it was saved before torch 0.1.10; load and save it with a later one"),
        Some(Kind::Pickle) => bare(file),
        None => unreadable("it begins neither like a zip nor like a pickle"),
    }
}

/// A pickle alone is read for what it wants to call, which is the better reason to refuse it.
fn bare(file: &mut impl Read) -> Found<Vec<(String, Placed)>> {
    Pickle::read(&beginning(file)?)?;
    unreadable("it is a pickle without tensors, expected what torch.save writes")
}

/// As much of a file as a pickle may take.
fn beginning(file: &mut impl Read) -> Found<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(super::pickle::MAX_PICKLE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Finds the place of each tensor of a pickle, given those of the storages.
fn place(pickle: &Pickle<'_>, storages: &Storages, file_length: u64) -> Found<Vec<(String, Placed)>> {
    let mut names = HashSet::new();
    let mut tensors = Vec::new();
    for (name, tensor) in names::tensors(pickle)? {
        if !names.insert(name.clone()) {
            return unreadable(format_args!("two tensors are called `{name}`"));
        }
        let placed = placed(&name, tensor, storages, file_length)?;
        tensors.push((name, placed));
    }
    Ok(tensors)
}

fn placed(name: &str, tensor: &Tensor<'_>, storages: &Storages, file_length: u64) -> Found<Placed> {
    let storage = tensor.storage;
    let Some(extent) = storages.get(storage.key) else {
        return unreadable(format_args!("tensor `{name}` is in storage {}, which is missing", storage.key));
    };
    if storage.bytes() > extent.bytes {
        return unreadable(format_args!(
            "tensor `{name}` needs a storage of {} bytes, found {}",
            storage.bytes(),
            extent.bytes
        ));
    }
    let (shape, stride) = (tensor.shape.clone(), tensor.stride.clone());
    let Some(window) = tensor.window() else {
        return unreadable(format_args!(
            "tensor `{name}` {shape:?} with strides {stride:?} reaches beyond its storage of {} bytes",
            storage.bytes()
        ));
    };
    if tensor.bytes().is_none_or(|bytes| bytes as u64 > file_length.max(MAX_SPREAD)) {
        return unreadable(format_args!("tensor `{name}` {shape:?} would be larger than the file"));
    }
    let bytes = window.end - window.start;
    let crc32 = extent.crc32.filter(|_| bytes == extent.bytes);
    Ok(Placed { dtype: tensor.dtype, shape, stride, start: extent.start + window.start, bytes, crc32 })
}

/// Bytes that a tensor may have although its file has fewer: strides of 0 repeat elements.
const MAX_SPREAD: u64 = 1 << 26;

impl Placed {
    /// The bytes from the first to the last element.
    pub(super) fn read(&self, file: &mut (impl Read + Seek)) -> Found<Vec<u8>> {
        file.seek(SeekFrom::Start(self.start))?;
        // The file had so many bytes when it was opened.
        let mut bytes = vec![0; self.bytes as usize];
        file.read_exact(&mut bytes)?;
        match self.crc32 {
            Some(expected) if crc32fast::hash(&bytes) != expected => {
                unreadable("the checksum of a tensor is wrong: its bytes have changed")
            }
            _ => Ok(bytes),
        }
    }
}
