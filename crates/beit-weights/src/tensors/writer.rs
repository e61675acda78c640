//! Writing.

use crate::error::{Error, Problem, Result};
use crate::file::write_file_with;
use beit_ops::host::all_finite;
use safetensors::Dtype;
use safetensors::tensor::View;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

/// Tensors on their way into a safetensors file. Names are unique: a second tensor of a name replaces the first.
pub struct TensorWriter<'a> {
    tensors: BTreeMap<String, Tensor<'a>>,
    metadata: HashMap<String, String>,
}

/// A tensor, or where it will come from.
struct Tensor<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    data: Data<'a>,
}

enum Data<'a> {
    Bytes(Vec<u8>),
    Later(Box<dyn Fn() -> Result<Vec<u8>> + 'a>),
}

impl Default for TensorWriter<'_> {
    /// Empty, with the remark that transformers insists on: `format` is `pt`.
    fn default() -> Self {
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        Self { tensors: BTreeMap::new(), metadata }
    }
}

/// The bytes of numbers, one after another.
fn little_endian<T: Copy, const N: usize>(values: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().map(|&value| bytes(value)).collect::<Vec<_>>().into_flattened()
}

impl<'a> TensorWriter<'a> {
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
        self.add(name.into(), Dtype::F32, shape, little_endian(values, f32::to_le_bytes))
    }

    /// Adds an F32 tensor of finite numbers.
    ///
    /// # Errors
    ///
    /// [`Error::NotSaved`] where an element is NaN or infinite.
    pub fn finite_floats(
        &mut self,
        name: impl Into<String>,
        shape: &[usize],
        values: &[f32],
    ) -> Result<&mut Self> {
        let name = name.into();
        if !all_finite(values) {
            return Err(Error::NotSaved { file: None, problem: Problem::not_finite(&name, values) });
        }
        Ok(self.floats(name, shape, values))
    }

    /// Adds an I64 tensor.
    pub fn integers(&mut self, name: impl Into<String>, shape: &[usize], values: &[i64]) -> &mut Self {
        self.add(name.into(), Dtype::I64, shape, little_endian(values, i64::to_le_bytes))
    }

    /// Adds a U8 tensor.
    pub fn bytes(&mut self, name: impl Into<String>, shape: &[usize], values: &[u8]) -> &mut Self {
        self.add(name.into(), Dtype::U8, shape, values.to_vec())
    }

    /// Adds a tensor that is read when the file is written, one after the other, so that never more than one is in memory. `read` gives
    /// as many bytes as shape and type ask for.
    pub(crate) fn later(
        &mut self,
        name: impl Into<String>,
        dtype: Dtype,
        shape: Vec<usize>,
        read: impl Fn() -> Result<Vec<u8>> + 'a,
    ) {
        self.tensors.insert(name.into(), Tensor { dtype, shape, data: Data::Later(Box::new(read)) });
    }

    /// Adds a remark to the header.
    pub fn metadata(&mut self, key: impl Into<String>, value: impl Into<String>) -> &mut Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Writes the file as [`write_file`](crate::write_file) does: a reader finds the whole file or none.
    ///
    /// # Errors
    ///
    /// When the disk does not take it.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let failure = RefCell::new(None);
        let views = self.tensors.iter().map(|(name, tensor)| (name, Reading { tensor, failure: &failure }));
        let write = |new: &Path| {
            safetensors::serialize_to_file(views, Some(self.metadata.clone()), new).map_err(io::Error::other)
        };
        let written = write_file_with(path, |new| write(new).and_then(|()| no_failure(&failure)));
        // Why a tensor could not be read says more than that the file was not written.
        match failure.take() {
            Some(error) => Err(error),
            None => written.map_err(Error::write(path)),
        }
    }

    fn add(&mut self, name: String, dtype: Dtype, shape: &[usize], bytes: Vec<u8>) -> &mut Self {
        assert_eq!(length(dtype, shape), bytes.len(), "bytes of `{name}` {shape:?}");
        self.tensors.insert(name, Tensor { dtype, shape: shape.to_vec(), data: Data::Bytes(bytes) });
        self
    }
}

fn length(dtype: Dtype, shape: &[usize]) -> usize {
    shape.iter().product::<usize>() * dtype.bitsize() / 8
}

fn no_failure(failure: &RefCell<Option<Error>>) -> io::Result<()> {
    if failure.borrow().is_some() { Err(io::Error::other("a tensor could not be read")) } else { Ok(()) }
}

/// A tensor while the file is written. The library takes no failure from it, so that is kept aside.
struct Reading<'a, 'b> {
    tensor: &'a Tensor<'b>,
    failure: &'a RefCell<Option<Error>>,
}

impl View for Reading<'_, '_> {
    fn dtype(&self) -> Dtype {
        self.tensor.dtype
    }
    fn shape(&self) -> &[usize] {
        &self.tensor.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        match &self.tensor.data {
            Data::Bytes(bytes) => Cow::Borrowed(bytes),
            Data::Later(read) => Cow::Owned(read().unwrap_or_else(|error| {
                self.failure.replace(Some(error));
                vec![0; self.data_len()]
            })),
        }
    }
    fn data_len(&self) -> usize {
        length(self.tensor.dtype, &self.tensor.shape)
    }
}
