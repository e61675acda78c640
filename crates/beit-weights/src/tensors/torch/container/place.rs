//! Where the tensors of a pickle lie in the file.

use super::super::fault::{Found, unreadable};
use super::super::names;
use super::super::pickle::Pickle;
use super::super::tensor::Tensor;
use safetensors::Dtype;
use std::collections::{HashMap, HashSet};
use std::io::{Read, Seek, SeekFrom};

/// Where a storage lies in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) start: u64,
    pub(super) bytes: u64,
    /// Of its bytes, where the container has one.
    pub(super) crc32: Option<u32>,
}

/// Storages by key.
pub(super) type Storages = HashMap<String, Extent>;

/// A tensor whose place in the file is known, and is within the file.
#[derive(Debug)]
pub(in super::super) struct Placed {
    pub(in super::super) dtype: Dtype,
    pub(in super::super) shape: Vec<usize>,
    /// Steps in elements.
    pub(in super::super) stride: Vec<usize>,
    /// From the first to the last element.
    start: u64,
    bytes: u64,
    crc32: Option<u32>,
}

/// What a file holds.
#[derive(Debug, Default)]
pub(in super::super) struct Contents {
    /// In the order of the file.
    pub(in super::super) tensors: Vec<(String, Placed)>,
    /// Short texts beside them, by their keys.
    pub(in super::super) texts: HashMap<String, String>,
}

/// Bytes of the longest text that is kept; the names of 21,841 classes are half a megabyte.
const LONGEST_TEXT: usize = 1 << 22;

/// Finds the place of each tensor of a pickle, given those of the storages.
pub(super) fn place(pickle: &Pickle<'_>, storages: &Storages, file_length: u64) -> Found<Contents> {
    let mut names = HashSet::new();
    let mut tensors = Vec::new();
    for (name, tensor) in names::tensors(pickle)? {
        if !names.insert(name.clone()) {
            return unreadable(format_args!("two tensors are called `{name}`"));
        }
        let placed = placed(&name, tensor, storages, file_length)?;
        tensors.push((name, placed));
    }
    Ok(Contents { tensors, texts: names::texts(pickle, LONGEST_TEXT) })
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
    pub(in super::super) fn read(&self, file: &mut (impl Read + Seek)) -> Found<Vec<u8>> {
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
