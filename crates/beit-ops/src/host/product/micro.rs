//! The innermost product: two packed panels of operands give a tile of the result. All the unsafe code of the products is here.
//!
//! A panel is a strip of the left operand as high as a tile, or of the right operand as wide as one, packed so that a kernel
//! reads it from front to back. Sums are f32; what is multiplied is f32, or pairs of bf16.

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
mod packed;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(target_arch = "x86_64")]
pub(crate) use amx::Amx;
#[cfg(test)]
pub(crate) use packed::bf16_bits;
pub(crate) use packed::{Packed, Rounded};
pub(crate) use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512, Avx512Bf16};

/// Side of the blocks that are transposed at a time.
pub(crate) const BLOCK: usize = 8;

/// A kernel that this machine can run: a value of such a type is the proof of it.
pub trait Micro: Copy + Send + Sync + 'static {
    /// What panels are made of.
    type Packed: Packed;
    /// Height of a tile.
    const ROWS: usize;
    /// Width of a tile.
    const COLUMNS: usize;
    /// Depth (in [`Packed`](Micro::Packed)) that is multiplied before a tile is added to the result.
    const DEPTH: usize;
    /// What a task packs of the left operand at a time (in [`Packed`](Micro::Packed)): it stays in the second level of cache.
    const LEFT: usize = 48 * 1024;
    /// Steps of the depth that lie together for each row of a left panel. One: a step has all rows side by side. More: as many
    /// steps of one row, then as many of the next, and panels of both operands end with zeros where the depth is no multiple.
    const TOGETHER: usize = 1;

    /// `tile[r, c] = Σ_k left[k, r] right[k, c]`: `left` holds [`ROWS`](Micro::ROWS) for each `k`, in the order that
    /// [`TOGETHER`](Micro::TOGETHER) says, `right` [`COLUMNS`](Micro::COLUMNS), `tile` is row-major. What begins `ahead` is brought
    /// near meanwhile, if the machine can. Called inside [`multiplying`](Micro::multiplying).
    fn multiply(
        self,
        left: &[Self::Packed],
        right: &[Self::Packed],
        ahead: &[Self::Packed],
        tile: &mut [f32],
    );

    /// Runs `f` with the instructions of the kernel. What is not inlined is compiled for the oldest machine.
    fn simd<R>(self, f: impl FnOnce() -> R) -> R;

    /// [`simd`](Micro::simd) with all that [`multiply`](Micro::multiply) needs besides. Never inside of itself.
    #[inline(always)]
    fn multiplying<R>(self, f: impl FnOnce() -> R) -> R {
        self.simd(f)
    }

    /// Packs a block of one lane: numbers that follow each other along the depth.
    #[inline(always)]
    fn pack_lane(self, numbers: &[f32], out: &mut [Self::Packed; BLOCK]) {
        for (i, out) in out.iter_mut().enumerate() {
            let first = i * Self::Packed::NUMBERS;
            *out = Self::Packed::pack([numbers[first], numbers[first + Self::Packed::NUMBERS - 1]]);
        }
    }

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
