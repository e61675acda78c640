//! Reading.

use super::numbers::{self, FLOATS, INTEGERS};
use super::safetensors::SafetensorsFile;
use super::sharded::{Shards, is_index};
use super::torch::{self, CLASS_NAMES, TorchFile, is_torch};
use crate::error::{Error, Problem, Result};
use beit_data::open_regular;
use safetensors::Dtype;
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Named tensors in one file, or in several that an index lists.
///
/// Opening checks that headers and lengths agree, so a damaged file is an error here and nothing later panics. The numbers stay in the
/// file until they are asked for.
pub struct TensorFile {
    path: PathBuf,
    parts: Vec<Part>,
    /// In the order of the files and of the tensors in them.
    names: Vec<String>,
    entries: HashMap<String, Entry>,
}

/// One file.
enum Part {
    Safetensors(SafetensorsFile),
    Torch(TorchFile),
}

/// One tensor.
struct Entry {
    part: usize,
    dtype: Dtype,
    shape: Vec<usize>,
}

impl TensorFile {
    /// Opens a file: safetensors, PyTorch's `.pth`, `.bin` or `.pkl`, or `.index.json` of several. What it is, its first bytes tell, not
    /// its name.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is cut short or damaged, or has another format.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let mut file =
            Self { path: path.to_owned(), parts: Vec::new(), names: Vec::new(), entries: HashMap::new() };
        if is_index(path) {
            file.add_shards(Shards::read(path)?)?;
        } else {
            file.add(path)?;
        }
        Ok(file)
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names, in the order of the tensors in the file.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The extents of a tensor, if the file has it.
    #[must_use]
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        Some(&self.entries.get(name)?.shape)
    }

    /// The type of a tensor's elements, if the file has it.
    #[must_use]
    pub fn dtype(&self, name: &str) -> Option<Dtype> {
        Some(self.entries.get(name)?.dtype)
    }

    /// A remark from the file's header.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.parts.iter().find_map(|part| match part {
            Part::Safetensors(file) => file.metadata(key),
            Part::Torch(_) => None,
        })
    }

    /// The names of a classifier's classes, where the file has them beside the tensors.
    #[must_use]
    pub fn class_names(&self) -> Option<Vec<String>> {
        self.parts.iter().find_map(|part| match part {
            Part::Safetensors(file) => serde_json::from_str(file.metadata(CLASS_NAMES)?).ok(),
            Part::Torch(file) => file.class_names().map(<[String]>::to_vec),
        })
    }

    /// The elements of a tensor as they are stored: row-major, little-endian.
    ///
    /// # Errors
    ///
    /// When there is none of this name, or the file cannot be read.
    pub fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>> {
        let entry = self.entry(name)?;
        match &self.parts[entry.part] {
            Part::Safetensors(file) => {
                Ok(Cow::Borrowed(file.bytes(name).expect("an entry is made of the file's header")))
            }
            Part::Torch(file) => Ok(Cow::Owned(file.bytes(name)?)),
        }
    }

    /// Says that a tensor will not be read again soon: its pages need not stay in memory.
    pub fn release(&self, name: &str) {
        if let Some(entry) = self.entries.get(name) {
            match &self.parts[entry.part] {
                Part::Safetensors(file) => file.release(name),
                // Nothing of it stays in memory.
                Part::Torch(_) => {}
            }
        }
    }

    /// A tensor of real numbers: F32, F16, BF16 or F64.
    ///
    /// # Errors
    ///
    /// When there is none of this name and kind.
    pub fn floats(&self, name: &str) -> Result<Vec<f32>> {
        self.elements(name, FLOATS, numbers::floats)
    }

    /// [`floats`](Self::floats) that have exactly this shape.
    ///
    /// # Errors
    ///
    /// When there is none of this name, kind and shape.
    pub fn floats_of(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.check_shape(name, shape)?;
        self.floats(name)
    }

    /// [`floats`](Self::floats) that are all finite.
    ///
    /// # Errors
    ///
    /// When there is none of this name and kind, or an element is NaN or infinite.
    pub fn finite_floats(&self, name: &str) -> Result<Vec<f32>> {
        let (values, finite) = self.elements(name, FLOATS, numbers::checked_floats)?;
        if finite { Ok(values) } else { Err(self.error(Problem::not_finite(name, &values))) }
    }

    /// [`floats_of`](Self::floats_of) that are all finite.
    ///
    /// # Errors
    ///
    /// When there is none of this name, kind and shape, or an element is NaN or infinite.
    pub fn finite_floats_of(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.check_shape(name, shape)?;
        self.finite_floats(name)
    }

    /// A tensor of whole numbers: BOOL, U8, I32 or I64.
    ///
    /// # Errors
    ///
    /// When there is none of this name and kind.
    pub fn integers(&self, name: &str) -> Result<Vec<i64>> {
        self.elements(name, INTEGERS, numbers::integers)
    }

    /// A tensor of truth values: whole or real numbers, true where they are not 0.
    ///
    /// # Errors
    ///
    /// When there is none of this name and kind.
    pub fn mask(&self, name: &str) -> Result<Vec<bool>> {
        self.elements(name, "whole or real numbers", numbers::truths)
    }

    /// Why [`floats`](Self::floats) would fail on a tensor that is there.
    pub(crate) fn check_type(&self, name: &str) -> Option<Problem> {
        let dtype = self.dtype(name)?;
        (!numbers::is_float(dtype)).then(|| wrong_type(name, dtype, FLOATS))
    }

    fn elements<T>(
        &self,
        name: &str,
        expected: &'static str,
        read: impl Fn(Dtype, &[u8]) -> Option<T>,
    ) -> Result<T> {
        let dtype = self.entry(name)?.dtype;
        let elements = read(dtype, &self.bytes(name)?);
        self.release(name);
        elements.ok_or_else(|| self.error(wrong_type(name, dtype, expected)))
    }

    /// An error where there is a tensor of this name, but of another shape.
    fn check_shape(&self, name: &str, shape: &[usize]) -> Result<()> {
        match self.shape(name) {
            Some(found) if found != shape => {
                let (found, expected) = (found.to_vec(), shape.to_vec());
                Err(self.error(Problem::Shape { name: name.to_owned(), found, expected }))
            }
            _ => Ok(()),
        }
    }

    fn entry(&self, name: &str) -> Result<&Entry> {
        let missing = || self.error(Problem::Missing { name: name.to_owned(), expected: None });
        self.entries.get(name).ok_or_else(missing)
    }

    fn error(&self, problem: Problem) -> Error {
        Error::Tensor { path: self.path.clone(), problem }
    }

    /// Adds the files of an index, which must say of every tensor where it is.
    fn add_shards(&mut self, shards: Shards) -> Result<()> {
        shards.files.iter().try_for_each(|file| self.add(file))?;
        let missing = |(name, file): (&String, &String)| {
            let entry = self.entries.get(name).filter(|entry| {
                shards.files[entry.part].file_name().is_some_and(|found| found == file.as_str())
            });
            entry.is_none().then(|| format!("tensor `{name}` is not in {file}, where the index has it"))
        };
        let unlisted = self.names.iter().find(|name| !shards.weight_map.contains_key(*name));
        let unlisted = || unlisted.map(|name| format!("tensor `{name}` is not in the index"));
        match shards.weight_map.iter().find_map(missing).or_else(unlisted) {
            Some(problem) => Err(Error::malformed(&self.path, problem)),
            None => Ok(()),
        }
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let number = self.parts.len();
        let (part, tensors): (_, Vec<_>) = if is_torch(&beginning(path)?) {
            let file = TorchFile::open(path)?;
            let tensor = |entry: &torch::Entry| (entry.name.clone(), entry.dtype, entry.shape.clone());
            let tensors = file.entries().iter().map(tensor).collect();
            (Part::Torch(file), tensors)
        } else {
            let file = SafetensorsFile::open(path)?;
            let info = |name: String| {
                let info = file.info(&name).expect("a name from the header");
                (name, info.dtype, info.shape.clone())
            };
            let tensors = file.names().into_iter().map(info).collect();
            (Part::Safetensors(file), tensors)
        };
        for (name, dtype, shape) in tensors {
            if self.entries.insert(name.clone(), Entry { part: number, dtype, shape }).is_some() {
                return Err(Error::malformed(path, format_args!("there is another tensor called `{name}`")));
            }
            self.names.push(name);
        }
        self.parts.push(part);
        Ok(())
    }
}

/// Bytes that tell what a file is.
const BEGINNING: u64 = 512;

fn beginning(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = open_regular(path, u64::MAX).map_err(Error::read(path))?;
    file.take(BEGINNING).read_to_end(&mut bytes).map_err(Error::read(path))?;
    Ok(bytes)
}

fn wrong_type(name: &str, dtype: Dtype, expected: &'static str) -> Problem {
    Problem::Type { name: name.to_owned(), found: format!("{dtype:?}"), expected }
}
