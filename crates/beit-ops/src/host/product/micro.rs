//! The innermost product: two packed panels of operands give a tile of the result. All the unsafe code of the products is here.
//!
//! A panel is a strip of the left operand as high as a tile, or of the right operand as wide as one, packed so that a kernel
//! reads it from front to back. Sums are f32; what is multiplied is f32, or pairs of bf16.

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512, Avx512Bf16};

use crate::host::buffers::Buffers;

/// Side of the blocks that are transposed at a time.
pub(crate) const BLOCK: usize = 8;

/// A kernel that this machine can run: a value of such a type is the proof of it.
pub trait Micro: Copy + Send + Sync + 'static {
    /// What panels are made of: one number, or two that follow each other along the depth.
    type Packed: Copy + Default + Send + Sync + 'static;
    /// Height of a tile.
    const ROWS: usize;
    /// Width of a tile.
    const COLUMNS: usize;
    /// Numbers along the depth in one [`Packed`](Micro::Packed).
    const PACKED: usize;
    /// Depth that (in [`Packed`](Micro::Packed)) that is multiplied before a tile is added to the result: a right panel of it fits the first
    /// level of cache.
    const DEPTH: usize;

    /// Packs numbers that follow each other along the depth.
    fn pack(numbers: [f32; 2]) -> Self::Packed;

    /// Where packed operands come from.
    fn buffers() -> &'static Buffers<Self::Packed>;

    /// `tile[r, c] = Σ_k left[k, r] right[k, c]`: `left` holds [`ROWS`](Micro::ROWS) for each `k`, `right`
    /// [`COLUMNS`](Micro::COLUMNS), `tile` is row-major.
    fn multiply(self, left: &[Self::Packed], right: &[Self::Packed], tile: &mut [f32]);

    /// Transposes a block.
    #[inline(always)]
    fn turn(self, block: &mut [[Self::Packed; BLOCK]; BLOCK]) {
        for i in 1..BLOCK {
            let (above, below) = block.split_at_mut(i);
            for (j, above) in above.iter_mut().enumerate() {
                core::mem::swap(&mut above[i], &mut below[0][j]);
            }
        }
    }

    /// Has the line of the cache that `number` is on brought near, if the machine can.
    #[inline(always)]
    fn prefetch(self, number: &f32) {
        let _ = number;
    }
}

/// The nearest bf16 to an f32, ties to even, as its bits. NaN stays NaN.
#[inline(always)]
pub(crate) fn bf16_bits(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
    (if x.is_nan() { bits | 0x40_0000 } else { rounded }) >> 16
}

/// Two bf16 in one word, the first in the low half.
#[inline(always)]
pub(crate) fn bf16_pair([low, high]: [f32; 2]) -> u32 {
    bf16_bits(low) | bf16_bits(high) << 16
}
