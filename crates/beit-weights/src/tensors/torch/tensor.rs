//! Tensors as a pickle describes them: windows with strides into storages.

use super::fault::{Found, unreadable};
use super::pickle::{Global, Value};
use safetensors::Dtype;
use std::ops::Range;

/// Dimensions that torch has at most.
const MAX_RANK: usize = 64;

/// A run of numbers of one type, with what the pickle says of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Storage<'a> {
    /// Its name in the container.
    pub(super) key: &'a str,
    /// `None` for bytes whose type each tensor says.
    dtype: Option<Dtype>,
    /// All of its elements, of its type or bytes.
    elements: usize,
    /// The part that this reference may use, in elements.
    part: (usize, usize),
}

impl<'a> Storage<'a> {
    pub(super) fn new(key: &'a str, kind: Global<'a>, elements: i64) -> Found<Self> {
        let dtype = match kind.name.strip_suffix("Storage") {
            Some("Untyped") => None,
            // Of quantised tensors, which say themselves that they are.
            Some(name) if name.starts_with('Q') => None,
            name => match name.and_then(storage_type) {
                Some(dtype) => Some(dtype),
                None => {
                    return unreadable(format_args!(
                        "its storage {key} is a {kind}, expected real or whole numbers"
                    ));
                }
            },
        };
        let Ok(elements) = usize::try_from(elements) else {
            return unreadable(format_args!("its storage {key} has {elements} elements"));
        };
        if elements.checked_mul(8).is_none() {
            return unreadable(format_args!("its storage {key} claims {elements} elements"));
        }
        Ok(Self { key, dtype, elements, part: (0, elements) })
    }

    /// Restricts the reference to `length` elements from `first`, as files before torch 0.4 do.
    pub(super) fn narrow(&mut self, first: i64, length: i64) -> Found<()> {
        let bounds = usize::try_from(first).ok().zip(usize::try_from(length).ok());
        match bounds.and_then(|(first, length)| Some((first, first.checked_add(length)?))) {
            Some((first, end)) if end <= self.elements => {
                self.part = (first, end);
                Ok(())
            }
            _ => unreadable(format_args!(
                "its storage {} of {} elements has a part of {length} from {first}",
                self.key, self.elements
            )),
        }
    }

    /// Bytes of one element.
    pub(super) fn width(&self) -> usize {
        self.dtype.map_or(1, width)
    }

    pub(super) fn elements(&self) -> usize {
        self.elements
    }

    /// Bytes of all elements.
    pub(super) fn bytes(&self) -> u64 {
        (self.elements * self.width()) as u64
    }
}

/// A tensor that nobody has looked at yet.
#[derive(Debug)]
pub(super) struct Tensor<'a> {
    pub(super) storage: Storage<'a>,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Steps in elements.
    pub(super) stride: Vec<usize>,
    /// In elements.
    offset: usize,
}

impl<'a> Tensor<'a> {
    /// `kind` is the type that the tensor itself says, as those in bytes do.
    pub(super) fn new(
        storage: Storage<'a>,
        kind: Option<Global<'a>>,
        offset: i64,
        shape: &[Value<'a>],
        stride: &[Value<'a>],
    ) -> Found<Self> {
        let key = storage.key;
        let Some(dtype) = kind.map_or(storage.dtype, |kind| element_type(kind.name)) else {
            let found = kind.map_or("bytes".to_owned(), |kind| kind.to_string());
            return unreadable(format_args!("a tensor in its storage {key} is of type {found}"));
        };
        if storage.dtype.is_some_and(|of_storage| of_storage != dtype) {
            return unreadable(format_args!(
                "a tensor in its storage {key} is of another type than that, {dtype:?}"
            ));
        }
        if shape.len() > MAX_RANK || shape.len() != stride.len() {
            return unreadable(format_args!(
                "a tensor in its storage {key} has {} extents and {} strides, expected as many and at most {MAX_RANK}",
                shape.len(),
                stride.len()
            ));
        }
        let (shape, stride, offset) =
            (sizes(key, shape)?, sizes(key, stride)?, size(key, Value::Int(offset))?);
        Ok(Self { storage, dtype, shape, stride, offset })
    }

    /// The bytes of the storage from the first to the last element, or `None` if these are not all within it.
    ///
    /// ```text
    /// first = offset, last = offset + sum of (extent - 1) * stride
    /// ```
    pub(super) fn window(&self) -> Option<Range<u64>> {
        let mut elements = usize::from(!self.shape.contains(&0));
        if elements > 0 {
            for (&extent, &step) in self.shape.iter().zip(&self.stride) {
                elements = elements.checked_add((extent - 1).checked_mul(step)?)?;
            }
        }
        let (width, part) = (width(self.dtype), self.storage.part);
        let limit = part.1.checked_mul(self.storage.width())?;
        let first = part.0.checked_mul(self.storage.width())?.checked_add(self.offset.checked_mul(width)?)?;
        let last = first.checked_add(elements.checked_mul(width)?)?;
        (last <= limit).then_some(first as u64..last as u64)
    }

    /// Bytes that it has when its elements are laid out one after the other.
    pub(super) fn bytes(&self) -> Option<usize> {
        self.shape.iter().try_fold(width(self.dtype), |product, &extent| product.checked_mul(extent))
    }
}

fn sizes(key: &str, values: &[Value<'_>]) -> Found<Vec<usize>> {
    values.iter().map(|&value| size(key, value)).collect()
}

fn size(key: &str, value: Value<'_>) -> Found<usize> {
    match value {
        Value::Int(size) if size >= 0 => Ok(size as usize),
        _ => unreadable(format_args!(
            "a tensor in its storage {key} has {value:?} for an extent, stride or offset"
        )),
    }
}

/// Bytes of one element.
pub(super) fn width(dtype: Dtype) -> usize {
    dtype.bitsize() / 8
}

/// The name of a storage class without `Storage`.
fn storage_type(name: &str) -> Option<Dtype> {
    STORAGES.iter().find(|(storage, _)| *storage == name).map(|(_, dtype)| *dtype)
}

/// The storage class of a type, without `Storage`.
pub(super) fn storage_name(dtype: Dtype) -> Option<&'static str> {
    STORAGES.iter().find(|(_, of)| *of == dtype).map(|(name, _)| *name)
}

const STORAGES: [(&str, Dtype); 10] = [
    ("Double", Dtype::F64),
    ("Float", Dtype::F32),
    ("Half", Dtype::F16),
    ("BFloat16", Dtype::BF16),
    ("Long", Dtype::I64),
    ("Int", Dtype::I32),
    ("Short", Dtype::I16),
    ("Char", Dtype::I8),
    ("Byte", Dtype::U8),
    ("Bool", Dtype::BOOL),
];

/// The name of a type in the module torch.
fn element_type(name: &str) -> Option<Dtype> {
    Some(match name {
        "float64" => Dtype::F64,
        "float32" => Dtype::F32,
        "float16" => Dtype::F16,
        "bfloat16" => Dtype::BF16,
        "int64" => Dtype::I64,
        "int32" => Dtype::I32,
        "int16" => Dtype::I16,
        "int8" => Dtype::I8,
        "uint64" => Dtype::U64,
        "uint32" => Dtype::U32,
        "uint16" => Dtype::U16,
        "uint8" => Dtype::U8,
        "bool" => Dtype::BOOL,
        _ => return None,
    })
}
