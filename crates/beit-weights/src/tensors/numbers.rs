//! Elements of tensors from bytes, little-endian.

use half::{bf16, f16};
use safetensors::Dtype;

/// The types that [`floats`] reads.
pub(super) const FLOATS: &str = "F32, F16, BF16 or F64";
/// The types that [`integers`] reads.
pub(super) const INTEGERS: &str = "BOOL, U8, I32 or I64";

/// Whether [`floats`] reads this type.
pub(super) const fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64)
}

pub(super) fn floats(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    match dtype {
        Dtype::F32 => Some(elements(bytes, f32::from_le_bytes)),
        Dtype::F16 => Some(elements(bytes, |x| f16::from_le_bytes(x).to_f32())),
        Dtype::BF16 => Some(elements(bytes, |x| bf16::from_le_bytes(x).to_f32())),
        Dtype::F64 => Some(elements(bytes, |x| f64::from_le_bytes(x) as f32)),
        _ => None,
    }
}

pub(super) fn integers(dtype: Dtype, bytes: &[u8]) -> Option<Vec<i64>> {
    match dtype {
        Dtype::BOOL | Dtype::U8 => Some(bytes.iter().map(|&x| x.into()).collect()),
        Dtype::I32 => Some(elements(bytes, |x| i32::from_le_bytes(x).into())),
        Dtype::I64 => Some(elements(bytes, i64::from_le_bytes)),
        _ => None,
    }
}

/// True where an element is not 0.
pub(super) fn truths(dtype: Dtype, bytes: &[u8]) -> Option<Vec<bool>> {
    let from_floats = || floats(dtype, bytes).map(|x| x.iter().map(|&x| x != 0.0).collect());
    integers(dtype, bytes).map(|x| x.iter().map(|&x| x != 0).collect()).or_else(from_floats)
}

/// Reads elements of `N` bytes each.
fn elements<const N: usize, T>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks().0.iter().map(|&chunk| read(chunk)).collect()
}
