//! Writing what `torch.load(path, weights_only=True)` reads.

use super::container::ARCHIVE;
use super::names::CLASS_NAMES;
use super::pickle::opcode as op;
use super::tensor::{storage_name, width};
use crate::error::{Error, Result};
use crate::file::write_file_with;
use safetensors::Dtype;
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

/// Bytes that torch places storages at multiples of.
const ALIGNMENT: u16 = 64;

/// The version of the format; torch reads 1 to 10 and writes 3.
const VERSION: &[u8] = b"3\n";

/// The dict around the tensors.
#[derive(Clone, Copy)]
pub(crate) struct Wrapper<'a> {
    /// The key of the tensors in it.
    pub(crate) key: &'a str,
    /// The names of a classifier's classes, beside the tensors; none is written of an empty list.
    pub(crate) class_names: &'a [String],
}

/// Writes named tensors (name, type, extents, row-major little-endian bytes) in the format of torch 1.6 and later: an `OrderedDict`,
/// in a dict if there is a `wrapper`. The same tensors give the same file.
///
/// # Errors
///
/// When a tensor cannot be read, the disk does not take it, or a type has no storage in torch.
///
/// # Panics
///
/// If the extents do not have as many bytes as there are.
pub(crate) fn write_torch<N: AsRef<str>, B: AsRef<[u8]>>(
    path: &Path,
    wrapper: Option<Wrapper<'_>>,
    tensors: impl IntoIterator<Item = (N, Dtype, Vec<usize>, Result<B>)>,
) -> Result<()> {
    let mut failure = None;
    let write = |new: &Path| {
        let mut sound = tensors.into_iter().map_while(|(name, dtype, shape, bytes)| match bytes {
            Ok(bytes) => Some((name, dtype, shape, bytes)),
            Err(error) => {
                failure = Some(error);
                None
            }
        });
        let mut zip = ZipWriter::new(BufWriter::new(File::create(new)?));
        write_entries(&mut zip, wrapper, &mut sound)?;
        drop(sound);
        match failure {
            Some(_) => Err(io::Error::other("a tensor could not be read")),
            None => zip.finish()?.into_inner().map(drop).map_err(io::Error::from),
        }
    };
    let written = write_file_with(path, write);
    // Why a tensor could not be read says more than that the file was not written.
    failure.map_or(written.map_err(Error::write(path)), Err)
}

/// The storages come first, so that only one tensor is in memory at a time; order in an archive means nothing.
fn write_entries<N: AsRef<str>, B: AsRef<[u8]>>(
    zip: &mut ZipWriter<BufWriter<File>>,
    wrapper: Option<Wrapper<'_>>,
    tensors: impl IntoIterator<Item = (N, Dtype, Vec<usize>, B)>,
) -> io::Result<()> {
    let mut pickle = Pickler::begin(wrapper);
    for (key, (name, dtype, shape, bytes)) in tensors.into_iter().enumerate() {
        let (name, bytes) = (name.as_ref(), bytes.as_ref());
        let elements: usize = shape.iter().product();
        assert_eq!(elements * width(dtype), bytes.len(), "bytes of `{name}` {shape:?}");
        pickle.tensor(name, dtype, &shape, key)?;
        write_entry(zip, &format!("data/{key}"), bytes)?;
    }
    write_entry(zip, "data.pkl", &pickle.end(wrapper))?;
    write_entry(zip, "byteorder", b"little")?;
    write_entry(zip, "version", VERSION)
}

fn write_entry<W: Write + Seek>(zip: &mut ZipWriter<W>, name: &str, bytes: &[u8]) -> io::Result<()> {
    let options = SimpleFileOptions::DEFAULT
        .compression_method(CompressionMethod::Stored)
        // The same bytes whenever it is written.
        .last_modified_time(DateTime::DEFAULT)
        .unix_permissions(0o644)
        .large_file(u32::try_from(bytes.len()).is_err())
        .with_alignment(ALIGNMENT);
    zip.start_file(format!("{ARCHIVE}/{name}"), options)?;
    zip.write_all(bytes)
}

/// Writes a pickle of protocol 2. It has no memo: nothing in it comes twice.
struct Pickler(Vec<u8>);

impl Pickler {
    fn begin(wrapper: Option<Wrapper<'_>>) -> Self {
        let mut pickle = Self(vec![op::PROTO, 2]);
        if let Some(wrapper) = wrapper {
            pickle.0.push(op::EMPTY_DICT);
            pickle.text(wrapper.key);
        }
        pickle.ordered_dict();
        pickle.0.push(op::MARK);
        pickle
    }

    fn end(mut self, wrapper: Option<Wrapper<'_>>) -> Vec<u8> {
        self.0.push(op::SETITEMS);
        if let Some(wrapper) = wrapper {
            self.0.push(op::SETITEM);
            self.class_names(wrapper.class_names);
        }
        self.0.push(op::STOP);
        self.0
    }

    fn class_names(&mut self, names: &[String]) {
        if names.is_empty() {
            return;
        }
        self.text(CLASS_NAMES);
        self.0.extend([op::EMPTY_LIST, op::MARK]);
        names.iter().for_each(|name| self.text(name));
        self.0.extend([op::APPENDS, op::SETITEM]);
    }

    /// ```text
    /// name: _rebuild_tensor_v2(('storage', type, key, 'cpu', elements), offset, shape, stride, requires_grad, hooks)
    /// ```
    fn tensor(&mut self, name: &str, dtype: Dtype, shape: &[usize], key: usize) -> io::Result<()> {
        let Some(storage) = storage_name(dtype) else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("`{name}` is {dtype:?}, which has no storage in torch"),
            ));
        };
        self.text(name);
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.0.extend([op::MARK, op::MARK]);
        self.text("storage");
        self.global("torch", &format!("{storage}Storage"));
        self.text(&key.to_string());
        self.text("cpu");
        self.number(shape.iter().product());
        self.0.extend([op::TUPLE, op::BINPERSID]);
        self.number(0);
        self.numbers(shape);
        self.numbers(&row_major(shape));
        self.0.push(op::NEWFALSE);
        self.ordered_dict();
        self.0.extend([op::TUPLE, op::REDUCE]);
        Ok(())
    }

    fn ordered_dict(&mut self) {
        self.global("collections", "OrderedDict");
        self.0.extend([op::EMPTY_TUPLE, op::REDUCE]);
    }

    fn global(&mut self, module: &str, name: &str) {
        self.0.push(op::GLOBAL);
        self.0.extend(format!("{module}\n{name}\n").into_bytes());
    }

    fn text(&mut self, text: &str) {
        self.0.push(op::BINUNICODE);
        self.0.extend(u32::try_from(text.len()).expect("a name is shorter than 4 GiB").to_le_bytes());
        self.0.extend(text.as_bytes());
    }

    fn numbers(&mut self, numbers: &[usize]) {
        self.0.push(op::MARK);
        for &number in numbers {
            self.number(number);
        }
        self.0.push(op::TUPLE);
    }

    fn number(&mut self, number: usize) {
        match i32::try_from(number) {
            Ok(number) => {
                self.0.push(op::BININT);
                self.0.extend(number.to_le_bytes());
            }
            Err(_) => {
                // Eight bytes, as no extent comes near the sign.
                self.0.extend([op::LONG1, 8]);
                self.0.extend((number as u64).to_le_bytes());
            }
        }
    }
}

/// Steps of a tensor whose elements lie one after the other.
fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut stride = vec![1; shape.len()];
    for d in (1..shape.len()).rev() {
        stride[d - 1] = stride[d] * shape[d].max(1);
    }
    stride
}
