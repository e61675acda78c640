//! Writing.

use crate::error::{Error, Result};
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::{fs, io};

/// Tensors on their way into a safetensors file. Names are unique: a second tensor of a name replaces the first.
pub struct TensorWriter {
    tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
    metadata: HashMap<String, String>,
}

impl Default for TensorWriter {
    /// Empty, with the remark that transformers insists on: `format` is `pt`.
    fn default() -> Self {
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        Self { tensors: BTreeMap::new(), metadata }
    }
}

impl TensorWriter {
    /// Empty.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an F32 tensor.
    ///
    /// # Panics
    ///
    /// If the shape does not have as many elements as there are values; so do the other kinds.
    pub fn floats(&mut self, name: impl Into<String>, shape: &[usize], values: &[f32]) -> &mut Self {
        self.add(name.into(), Dtype::F32, shape, values.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    /// Adds an I64 tensor.
    pub fn integers(&mut self, name: impl Into<String>, shape: &[usize], values: &[i64]) -> &mut Self {
        self.add(name.into(), Dtype::I64, shape, values.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    /// Adds a U8 tensor.
    pub fn bytes(&mut self, name: impl Into<String>, shape: &[usize], values: &[u8]) -> &mut Self {
        self.add(name.into(), Dtype::U8, shape, values.to_vec())
    }

    /// Adds a remark to the header.
    pub fn metadata(&mut self, key: impl Into<String>, value: impl Into<String>) -> &mut Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Writes the file.
    ///
    /// # Errors
    ///
    /// When the disk does not take it.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let views = self.tensors.iter().map(|(name, (dtype, shape, bytes))| {
            (name, TensorView::new(*dtype, shape.clone(), bytes).expect("add has compared the lengths"))
        });
        let written = safetensors::serialize(views, Some(self.metadata.clone()))
            .map_err(io::Error::other)
            .and_then(|bytes| write_whole(path, &bytes));
        written.map_err(Error::write(path))
    }

    fn add(&mut self, name: String, dtype: Dtype, shape: &[usize], bytes: Vec<u8>) -> &mut Self {
        let elements: usize = shape.iter().product();
        assert_eq!(elements * dtype.bitsize() / 8, bytes.len(), "bytes of `{name}` {shape:?}");
        self.tensors.insert(name, (dtype, shape.to_vec(), bytes));
        self
    }
}

/// Writes a hidden sibling, then gives it the name: a reader finds the whole file or none. (`serialize_to_file` does so too, but
/// leaves a file that only its owner can read.)
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no file name"))?;
    let new = path.with_file_name(format!(".{}.new-{}", name.to_string_lossy(), std::process::id()));
    let written = fs::write(&new, bytes).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // The failure itself is what the caller hears of.
        let _ = fs::remove_file(&new);
    }
    written
}
