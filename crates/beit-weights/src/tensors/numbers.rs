//! Elements of tensors from bytes, little-endian.

use beit_ops::host::all_finite;
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
    let mut all = Vec::new();
    append(&mut all, dtype, bytes).map(|()| all)
}

/// [`floats`], and whether all are finite: `None` where the type is no number.
///
/// The look at them happens block by block while they are in the cache, so that a file is passed over once.
pub(crate) fn checked_floats(dtype: Dtype, bytes: &[u8]) -> Option<(Vec<f32>, bool)> {
    /// 32 KiB of f32.
    const BLOCK: usize = 8192;
    let (mut all, mut finite) = (Vec::new(), true);
    let size = dtype.bitsize() / 8;
    all.reserve_exact(bytes.len() / size.max(1));
    for block in bytes.chunks(BLOCK * size.max(1)) {
        let begin = all.len();
        append(&mut all, dtype, block)?;
        finite &= all_finite(&all[begin..]);
    }
    is_float(dtype).then_some((all, finite))
}

/// Adds the numbers in `bytes`, as [`floats`] reads them.
fn append(all: &mut Vec<f32>, dtype: Dtype, bytes: &[u8]) -> Option<()> {
    match dtype {
        Dtype::F32 => all.extend(iterate(bytes, f32::from_le_bytes)),
        Dtype::F16 => all.extend(iterate(bytes, |x| f16::from_le_bytes(x).to_f32())),
        Dtype::BF16 => all.extend(iterate(bytes, |x| bf16::from_le_bytes(x).to_f32())),
        Dtype::F64 => all.extend(iterate(bytes, |x| f64::from_le_bytes(x) as f32)),
        _ => return None,
    }
    Some(())
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
    iterate(bytes, read).collect()
}

fn iterate<const N: usize, T>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> impl Iterator<Item = T> {
    bytes.as_chunks().0.iter().map(move |&chunk| read(chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The last element of the first block, the first of the second, and the last of all.
    #[test]
    fn what_is_not_finite_is_found_anywhere() {
        let sound = vec![f32::MAX; 8192 + 7];
        let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        assert_eq!(checked_floats(Dtype::F32, &bytes(&sound)), Some((sound.clone(), true)));
        for at in [0, 8191, 8192, 8198] {
            for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                let mut broken = sound.clone();
                broken[at] = bad;
                let (read, finite) = checked_floats(Dtype::F32, &bytes(&broken)).unwrap();
                assert!(!finite && read.len() == broken.len(), "{bad} at {at}");
            }
        }
        let half: Vec<u8> = [1.0, 70000.0].iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect();
        assert!(!checked_floats(Dtype::F16, &half).unwrap().1);
        // Too large for f32, in which a parameter is held.
        assert!(!checked_floats(Dtype::F64, &1e300f64.to_le_bytes()).unwrap().1);
        assert_eq!(checked_floats(Dtype::I64, &[0; 8]), None);
        assert_eq!(checked_floats(Dtype::F32, &[]), Some((vec![], true)));
    }
}
