//! The elements of packed operands.

use crate::host::buffers::Buffers;

/// One number, or two that are neighbours along the depth.
pub(crate) trait Packed: Copy + Default + Send + Sync + 'static {
    /// How many numbers it has.
    const NUMBERS: usize;
    /// Packs two neighbours along the depth. A type of one number ignores the second.
    fn pack(numbers: [f32; 2]) -> Self;
    /// The pool of buffers for packed operands.
    fn buffers() -> &'static Buffers<Self>;
}

/// One number, unchanged.
impl Packed for f32 {
    const NUMBERS: usize = 1;
    #[inline(always)]
    fn pack(numbers: [f32; 2]) -> f32 {
        numbers[0]
    }
    fn buffers() -> &'static Buffers<f32> {
        <f32 as crate::host::Real>::buffers()
    }
}

/// One number rounded to bf16, stored as the f32 of the same value, for machines without products of bf16. The products of f32
/// give the same numbers, up to the order of the sums.
#[derive(Clone, Copy, Debug, Default)]
#[repr(transparent)]
pub(crate) struct Rounded(f32);

impl Packed for Rounded {
    const NUMBERS: usize = 1;
    #[inline(always)]
    fn pack(numbers: [f32; 2]) -> Self {
        Self(f32::from_bits(bf16_bits(numbers[0]) << 16))
    }
    fn buffers() -> &'static Buffers<Self> {
        static ROUNDED: Buffers<Rounded> = Buffers::new();
        &ROUNDED
    }
}

/// Two numbers rounded to bf16, the first in the low half.
#[derive(Clone, Copy, Debug, Default)]
#[repr(transparent)]
pub(crate) struct Pair(pub(super) u32);

impl Packed for Pair {
    const NUMBERS: usize = 2;
    #[inline(always)]
    fn pack([low, high]: [f32; 2]) -> Self {
        Self(bf16_bits(low) | bf16_bits(high) << 16)
    }
    fn buffers() -> &'static Buffers<Self> {
        static PAIRS: Buffers<Pair> = Buffers::new();
        &PAIRS
    }
}

/// The nearest bf16 to an f32, ties to even, as its bits. NaN stays NaN.
#[inline(always)]
pub(crate) fn bf16_bits(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    (if x.is_nan() { bits | 0x40_0000 } else { rounded }) >> 16
}
