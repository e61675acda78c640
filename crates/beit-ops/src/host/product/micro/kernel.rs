//! What a kernel is.

use super::packed::Packed;

/// Side of the blocks that are transposed while packing: as many f32 as a register of AVX2 holds.
pub(crate) const BLOCK: usize = 8;

/// A kernel. A value of such a type exists only where the machine can run it.
pub(crate) trait Microkernel: Copy + Send + Sync + 'static {
    /// The elements of panels.
    type Packed: Packed;
    /// Rows of a tile.
    const ROWS: usize;
    /// Columns of a tile.
    const COLUMNS: usize;
    /// The most steps of the depth, in [`Packed`](Microkernel::Packed), that are multiplied before a tile is written to the
    /// result. Deeper blocks write the result less often, and have larger panels.
    const DEPTH: usize;
    /// How much of the left operand a task packs at a time, in [`Packed`](Microkernel::Packed): 192 KiB, which stay in a
    /// second-level cache of 512 KiB beside the right panels.
    const LEFT_BLOCK: usize = 48 * 1024;
    /// How many steps of one row of a left panel are contiguous. With one, a step has all rows side by side. With more, a group
    /// has so many steps of the first row, then as many of the next, and panels of both operands end with zeros where the depth
    /// is not a multiple.
    const DEPTH_GROUP: usize = 1;

    /// `tile[r, c] = Σ_k left[k, r] right[k, c]`.
    ///
    /// `left` holds [`ROWS`](Microkernel::ROWS) elements for each step, in groups of [`DEPTH_GROUP`](Microkernel::DEPTH_GROUP),
    /// and `right` [`COLUMNS`](Microkernel::COLUMNS). `tile` is row-major. Meanwhile the beginning of `prefetch` is brought
    /// into the second-level cache, if the machine can. Must be called inside
    /// [`simd_configured`](Microkernel::simd_configured).
    fn multiply(
        self,
        left: &[Self::Packed],
        right: &[Self::Packed],
        prefetch: &[Self::Packed],
        tile: &mut [f32],
    );

    /// Runs `f` compiled for the instructions of the kernel. Code that is not inlined into `f` is compiled for the baseline of
    /// the target.
    fn simd<R>(self, f: impl FnOnce() -> R) -> R;

    /// [`simd`](Microkernel::simd), with the processor configured for [`multiply`](Microkernel::multiply). Must not be nested.
    #[inline(always)]
    fn simd_configured<R>(self, f: impl FnOnce() -> R) -> R {
        self.simd(f)
    }

    /// Packs [`BLOCK`] steps of one lane, from numbers that are contiguous along the depth.
    #[inline(always)]
    fn pack_block(self, numbers: &[f32], out: &mut [Self::Packed; BLOCK]) {
        for (i, out) in out.iter_mut().enumerate() {
            let first = i * Self::Packed::NUMBERS;
            *out = Self::Packed::pack([numbers[first], numbers[first + Self::Packed::NUMBERS - 1]]);
        }
    }

    /// Transposes a block.
    #[inline(always)]
    fn transpose(self, block: &mut [[Self::Packed; BLOCK]; BLOCK]) {
        for i in 1..BLOCK {
            let (above, below) = block.split_at_mut(i);
            for (j, above) in above.iter_mut().enumerate() {
                core::mem::swap(&mut above[i], &mut below[0][j]);
            }
        }
    }

    /// Prefetches the line of the cache that has `number`, if the machine can.
    #[inline(always)]
    fn prefetch(self, number: &f32) {
        let _ = number;
    }
}

/// Asserts the extents that the loads and stores of a kernel rely on, and returns the depth in steps.
#[inline(always)]
pub(super) fn checked_depth<M: Microkernel>(left: &[M::Packed], right: &[M::Packed], tile: &[f32]) -> usize {
    let depth = left.len() / M::ROWS;
    assert!(left.len() == depth * M::ROWS && right.len() == depth * M::COLUMNS);
    assert!(tile.len() == M::ROWS * M::COLUMNS);
    depth
}
