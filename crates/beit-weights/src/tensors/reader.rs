//! Reading.

use crate::error::{Error, Problem, Result};
use half::{bf16, f16};
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensors};
use std::fs;
use std::path::{Path, PathBuf};

/// A safetensors file in memory.
///
/// Opening it checks that the header and the length agree, so a damaged file is an error here and nothing later panics.
pub struct TensorFile {
    path: PathBuf,
    bytes: Vec<u8>,
    /// Where the tensors begin.
    start: usize,
    header: Metadata,
}

/// Bytes of the number in front of the header.
const LENGTH: usize = size_of::<u64>();

impl TensorFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// When it cannot be read, is cut short or damaged, or has another format.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(Error::read(path))?;
        let (header_len, header) = SafeTensors::read_metadata(&bytes)
            .map_err(|source| Error::Damaged { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), start: LENGTH + header_len, bytes, header })
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names, in the order of the tensors in the file.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.header.offset_keys()
    }

    /// The extents of a tensor, if the file has it.
    #[must_use]
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        Some(&self.header.info(name)?.shape)
    }

    /// A remark from the file's header.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.header.metadata().as_ref()?.get(key).map(String::as_str)
    }

    /// A tensor of real numbers: F32, F16 or BF16.
    ///
    /// # Errors
    ///
    /// When there is none of this name and kind.
    pub fn floats(&self, name: &str) -> Result<Vec<f32>> {
        let (info, bytes) = self.tensor(name)?;
        floats(info.dtype, bytes).ok_or_else(|| self.wrong_type(name, info, FLOATS))
    }

    /// [`floats`](Self::floats) that have exactly this shape.
    ///
    /// # Errors
    ///
    /// When there is none of this name, kind and shape.
    pub fn floats_of(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        match self.shape(name) {
            Some(found) if found != shape => {
                let (found, expected) = (found.to_vec(), shape.to_vec());
                Err(self.error(Problem::Shape { name: name.to_owned(), found, expected }))
            }
            _ => self.floats(name),
        }
    }

    /// A tensor of whole numbers: BOOL, U8, I32 or I64.
    ///
    /// # Errors
    ///
    /// When there is none of this name and kind.
    pub fn integers(&self, name: &str) -> Result<Vec<i64>> {
        let (info, bytes) = self.tensor(name)?;
        integers(info.dtype, bytes).ok_or_else(|| self.wrong_type(name, info, "BOOL, U8, I32 or I64"))
    }

    /// A tensor of truth values: whole or real numbers, true where they are not 0.
    ///
    /// # Errors
    ///
    /// When there is none of this name and kind.
    pub fn mask(&self, name: &str) -> Result<Vec<bool>> {
        let (info, bytes) = self.tensor(name)?;
        let from_integers = integers(info.dtype, bytes).map(|x| x.iter().map(|&x| x != 0).collect());
        let from_floats = || floats(info.dtype, bytes).map(|x| x.iter().map(|&x| x != 0.0).collect());
        from_integers
            .or_else(from_floats)
            .ok_or_else(|| self.wrong_type(name, info, "BOOL, U8, I32, I64, F32, F16 or BF16"))
    }

    /// Why [`floats_of`](Self::floats_of) would fail.
    pub(crate) fn check_floats(&self, name: &str, expected: &[usize]) -> Option<Problem> {
        let info = self.header.info(name)?;
        let name = name.to_owned();
        if info.shape != expected {
            let (found, expected) = (info.shape.clone(), expected.to_vec());
            return Some(Problem::Shape { name, found, expected });
        }
        let readable = matches!(info.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16);
        (!readable).then(|| Problem::Type { name, found: format!("{:?}", info.dtype), expected: FLOATS })
    }

    fn tensor(&self, name: &str) -> Result<(&TensorInfo, &[u8])> {
        let missing = || self.error(Problem::Missing { name: name.to_owned(), expected: None });
        let info = self.header.info(name).ok_or_else(missing)?;
        let (begin, end) = info.data_offsets;
        Ok((info, &self.bytes[self.start..][begin..end]))
    }

    fn wrong_type(&self, name: &str, info: &TensorInfo, expected: &'static str) -> Error {
        self.error(Problem::Type { name: name.to_owned(), found: format!("{:?}", info.dtype), expected })
    }

    fn error(&self, problem: Problem) -> Error {
        Error::Tensor { path: self.path.clone(), problem }
    }
}

const FLOATS: &str = "F32, F16 or BF16";

fn floats(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    match dtype {
        Dtype::F32 => Some(elements(bytes, f32::from_le_bytes)),
        Dtype::F16 => Some(elements(bytes, |x| f16::from_le_bytes(x).to_f32())),
        Dtype::BF16 => Some(elements(bytes, |x| bf16::from_le_bytes(x).to_f32())),
        _ => None,
    }
}

fn integers(dtype: Dtype, bytes: &[u8]) -> Option<Vec<i64>> {
    match dtype {
        Dtype::BOOL | Dtype::U8 => Some(bytes.iter().map(|&x| x.into()).collect()),
        Dtype::I32 => Some(elements(bytes, |x| i32::from_le_bytes(x).into())),
        Dtype::I64 => Some(elements(bytes, i64::from_le_bytes)),
        _ => None,
    }
}

/// Reads elements of `N` bytes each.
fn elements<const N: usize, T>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|&chunk| read(chunk)).collect()
}
