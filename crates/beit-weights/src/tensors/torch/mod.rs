//! Files of torch.save: `.pth`, `.pt`, `.bin`, `.pkl`.
//!
//! They are Python programs by design. This reader knows the few calls that make tensors, takes instances of unknown classes for
//! their attributes, refuses everything else by name, and runs nothing.

mod container;
mod fault;
mod gather;
mod names;
mod pickle;
mod tensor;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use names::CLASS_NAMES;
pub(crate) use writer::{Wrapper, write_torch};

use crate::error::{Error, Problem, Result};
use beit_data::open_regular;
use container::{Contents, Kind, Placed};
use safetensors::Dtype;
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Whether a file that begins so is for [`TorchFile`]; 512 bytes are enough, 16 are enough for what torch writes today.
pub(crate) fn is_torch(first_bytes: &[u8]) -> bool {
    Kind::of_first_bytes(first_bytes).is_some()
}

/// A file of torch.save.
///
/// Opening it reads names and extents and checks them against the file's length; the numbers are read when they are asked for.
#[derive(Debug)]
pub(crate) struct TorchFile {
    path: PathBuf,
    /// Held open, so that what is read later is the file that was checked.
    file: Mutex<File>,
    entries: Vec<Entry>,
    class_names: Option<Vec<String>>,
    tensors: HashMap<String, Placed>,
}

/// What is known of a tensor without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The keys on the way to it, joined by dots: `model.blocks.0.gamma_1`.
    pub(crate) name: String,
    /// The type of its elements.
    pub(crate) dtype: Dtype,
    /// Its extents.
    pub(crate) shape: Vec<usize>,
}

impl TorchFile {
    /// Reads what is in a file: the tensors in a state dict, in dicts and lists around it, or in a whole module.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is damaged, or wants to call what weights do not need.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut file = open_regular(path, u64::MAX).map_err(Error::read(path))?;
        let Contents { tensors, class_names } =
            container::contents(&mut file).map_err(|fault| fault.in_file(path))?;
        let entry = |(name, placed): &(String, Placed)| {
            let (name, shape) = (name.clone(), placed.shape.clone());
            Entry { name, dtype: placed.dtype, shape }
        };
        let entries = tensors.iter().map(entry).collect();
        let (path, file, tensors) = (path.to_owned(), Mutex::new(file), tensors.into_iter().collect());
        Ok(Self { path, file, entries, class_names, tensors })
    }

    /// All tensors, in the order of the file.
    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The names of a classifier's classes, where the file has them.
    pub(crate) fn class_names(&self) -> Option<&[String]> {
        self.class_names.as_deref()
    }

    /// The elements of a tensor, row-major and little-endian.
    ///
    /// # Errors
    ///
    /// When there is none of this name, or the disk fails.
    pub(crate) fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        let Some(placed) = self.tensors.get(name) else {
            let problem = Problem::Missing { name: name.to_owned(), expected: None };
            return Err(Error::Tensor { path: self.path.clone(), problem });
        };
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let window = placed.read(&mut *file).map_err(|fault| fault.in_file(&self.path))?;
        drop(file);
        Ok(gather::row_major(placed, window))
    }
}
