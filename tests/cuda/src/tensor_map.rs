//! Tensor maps: how a kernel that copies whole tiles in the background is told of a tensor. On a device they are 128 bytes that only
//! the driver knows; here they are 128 bytes that the emulator's `tensor_map.h` reads.

use cubecl_ir::StorageType;
use cubecl_runtime::server::TensorMapMeta;
use cubecl_runtime::tma::{OobFill, TensorMapFormat, TensorMapInterleave, TensorMapSwizzle};

/// Axes of a tensor map.
const MAX_RANK: usize = 5;
/// Says that the bytes are a tensor map.
const MARK: u64 = 0x7061_6d72_6f73_6e74;

/// A tensor of which tiles are copied. Axes begin with the contiguous one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorMap {
    extents: Vec<u32>,
    /// Of all axes but the first, in bytes.
    strides: Vec<u64>,
    /// Of a tile, in elements.
    tile: Vec<u16>,
    /// Bytes.
    element: u8,
    /// Bytes within which chunks of 16 are permuted, or 0.
    swizzle: u8,
    fill_nan: bool,
}

/// `TensorMap` of tensor_map.h.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opaque {
    mark: u64,
    memory: u64,
    strides: [u64; MAX_RANK - 1],
    extents: [u32; MAX_RANK],
    tile: [u16; MAX_RANK],
    rank: u8,
    element: u8,
    swizzle: u8,
    fill_nan: u8,
    rest: [u8; 46],
}

const _: () = assert!(size_of::<Opaque>() == 128);

/// `Err(text)` where `good` is false.
fn ensure(good: bool, text: impl FnOnce() -> String) -> Result<(), String> {
    if good { Ok(()) } else { Err(format!("a tensor map {}", text())) }
}

impl TensorMap {
    /// The map that CUDA's driver would be asked for, of a buffer of `bytes`.
    ///
    /// # Errors
    ///
    /// What the driver refuses (`cuTensorMapEncodeTiled`), what reaches beyond the buffer, and what is not emulated.
    pub fn new(meta: &TensorMapMeta, bytes: usize) -> Result<Self, String> {
        let TensorMapFormat::Tiled(tiled) = &meta.format else {
            return Err("a tensor map of patches is not emulated".to_owned());
        };
        let element = element(meta.storage_ty)?;
        let reversed = |extents: &[usize]| extents.iter().rev().copied().collect::<Vec<_>>();
        let (extents, strides) = (reversed(meta.metadata.shape()), reversed(meta.metadata.strides()));
        let tile = reversed(&tiled.tile_size);
        let ones = meta.elem_stride.iter().all(|&stride| stride == 1);
        ensure(ones && meta.interleave == TensorMapInterleave::None, || {
            "with steps is not emulated".to_owned()
        })?;
        check(&extents, &strides, &tile)?;
        let map = Self {
            extents: extents.iter().map(|&extent| extent as u32).collect(),
            strides: strides[1..].iter().map(|&stride| stride as u64 * u64::from(element)).collect(),
            tile: tile.iter().map(|&side| side as u16).collect(),
            element,
            swizzle: swizzle(meta.swizzle)?,
            fill_nan: meta.oob_fill == OobFill::NaN,
        };
        map.check_bytes(bytes as u64)?;
        Ok(map)
    }

    fn check_bytes(&self, bytes: u64) -> Result<(), String> {
        let inner = u64::from(self.tile[0]) * u64::from(self.element);
        ensure(inner.is_multiple_of(16), || {
            format!("with lines of {inner} bytes, which are no multiple of 16")
        })?;
        ensure(self.swizzle == 0 || inner <= self.swizzle.into(), || {
            format!("with lines of {inner} bytes, permuted within {}", self.swizzle)
        })?;
        let uneven = self.strides.iter().find(|stride| !stride.is_multiple_of(16) || **stride >= 1 << 40);
        ensure(uneven.is_none(), || {
            format!("with a stride of {uneven:?} bytes: multiples of 16 below 2^40 are allowed")
        })?;
        let last = self.extents[1..]
            .iter()
            .zip(&self.strides)
            .map(|(&extent, stride)| u64::from(extent - 1) * stride);
        let reach = last.sum::<u64>() + u64::from(self.extents[0]) * u64::from(self.element);
        ensure(reach <= bytes, || format!("of {reach} bytes in a buffer of {bytes}"))
    }

    /// The bytes of the map of the tensor at `memory`.
    ///
    /// # Errors
    ///
    /// Where the tensor does not begin at a multiple of 16 bytes.
    pub(crate) fn encode(&self, memory: *const u8) -> Result<Opaque, String> {
        let address = memory as u64;
        ensure(address.is_multiple_of(16), || {
            "of a tensor that does not begin at a multiple of 16 bytes".into()
        })?;
        Ok(Opaque {
            mark: MARK,
            memory: address,
            strides: filled(&self.strides),
            extents: filled(&self.extents),
            tile: filled(&self.tile),
            rank: self.extents.len() as u8,
            element: self.element,
            swizzle: self.swizzle,
            fill_nan: self.fill_nan.into(),
            rest: [0xff; 46],
        })
    }
}

/// The values, and zeros behind them.
fn filled<T: Copy + Default, const N: usize>(values: &[T]) -> [T; N] {
    let mut all = [T::default(); N];
    all[..values.len()].copy_from_slice(values);
    all
}

fn check(extents: &[usize], strides: &[usize], tile: &[usize]) -> Result<(), String> {
    let rank = extents.len();
    ensure((1..=MAX_RANK).contains(&rank), || format!("of {rank} axes, 1 to {MAX_RANK} are allowed"))?;
    ensure(strides.len() == rank && tile.len() == rank, || {
        format!("of {rank} axes with tiles of {}", tile.len())
    })?;
    ensure(strides[0] == 1, || format!("whose last axis has a stride of {}", strides[0]))?;
    ensure(extents.iter().all(|&n| (1..=u32::MAX as usize).contains(&n)), || {
        format!("of extents {extents:?}")
    })?;
    ensure(tile.iter().all(|side| (1..=256).contains(side)), || {
        format!("of tiles {tile:?}, 1 to 256 are allowed")
    })
}

/// Bytes of an element.
fn element(storage: StorageType) -> Result<u8, String> {
    match storage {
        StorageType::Scalar(elem) if elem.size() > 0 => Ok(elem.size() as u8),
        other => Err(format!("a tensor map of {other:?} is not emulated")),
    }
}

fn swizzle(swizzle: TensorMapSwizzle) -> Result<u8, String> {
    match swizzle {
        TensorMapSwizzle::None => Ok(0),
        TensorMapSwizzle::B32 => Ok(32),
        TensorMapSwizzle::B64 => Ok(64),
        TensorMapSwizzle::B128 => Ok(128),
        other => Err(format!("a tensor map permuted by {other:?} is not emulated")),
    }
}
