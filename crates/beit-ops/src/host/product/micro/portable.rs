//! The kernel for any machine: products of bf16 without instructions for them.
//!
//! A tile is 4 x 16. Each pair of bf16 is widened to two f32, and the compiler vectorises the loop over columns. The results
//! are those of the other bf16 kernels, up to the order of the additions.

use super::kernel::Microkernel;
use super::packed::Pair;

/// 4 x 16 in pairs of bf16 that are widened to f32.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Portable;

impl Microkernel for Portable {
    type Packed = Pair;
    const ROWS: usize = 4;
    const COLUMNS: usize = 16;
    // Under Miri a deeper block would take minutes.
    const DEPTH: usize = if cfg!(miri) { 12 } else { 384 };

    #[inline(always)]
    fn simd<R>(self, f: impl FnOnce() -> R) -> R {
        f()
    }
    #[inline(always)]
    fn multiply(self, left: &[Pair], right: &[Pair], _: &[Pair], tile: &mut [f32]) {
        let mut sums = [[0f32; 16]; 4];
        let (left, _) = left.as_chunks::<4>();
        let (right, _) = right.as_chunks::<16>();
        for (left, right) in left.iter().zip(right) {
            for row in 0..4 {
                let factor = widened(left[row]);
                for column in 0..16 {
                    let pair = widened(right[column]);
                    sums[row][column] += factor[0] * pair[0];
                    sums[row][column] += factor[1] * pair[1];
                }
            }
        }
        tile.copy_from_slice(sums.as_flattened());
    }
}

/// The two numbers of a pair.
#[inline(always)]
fn widened(pair: Pair) -> [f32; 2] {
    [f32::from_bits(pair.0 << 16), f32::from_bits(pair.0 & 0xffff_0000)]
}
