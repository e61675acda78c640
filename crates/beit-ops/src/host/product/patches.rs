//! The patches of an image as an operand of a product ("implicit GEMM").
//!
//! A convolution is the product of a matrix whose rows are the patches around each pixel ("im2col") and the filters. That
//! matrix is `k·k` times as large as the image, so it is never made. In memory there are only a few rows of the image, padded
//! with zeros, and packing reads each patch from them:
//!
//! ```text
//!   padded rows of a block, k = 3                    row of pixel (1, 1) of the matrix
//!   ┌───┬─────────────────────┬───┐
//!   │ 0 │ row 0               │ 0 │  ← p above       ┌──────────┬──────────┬──────────┐
//!   ├───┼──┬──────────┬───────┼───┤                  │  run 0   │  run 1   │  run 2   │
//!   │ 0 │  │→ run 0 ←│ row 1 │ 0 │  ┐               └──────────┴──────────┴──────────┘
//!   ├───┼──┼──────────┼───────┼───┤  │ pixels of       k·C elements each, contiguous in the image
//!   │ 0 │  │→ run 1 ←│ row 2 │ 0 │  │ the block
//!   ├───┼──┼──────────┼───────┼───┤  ┘
//!   │ 0 │  │→ run 2 ←│ row 3 │ 0 │  ← p below
//!   └───┴──┴──────────┴───────┴───┘
//!   ←──────── pitch ──────────────→
//! ```

use crate::host::array::{Array, data, extents4, scratch};
use crate::host::par;
use crate::host::real::Real;
use core::ops::Range;

/// Elements of the padded rows of a block: 256 KiB of f32, half the second-level cache of the machine this was measured on.
const BLOCK_ELEMENTS: usize = 64 * 1024;
/// A block has at least this many pixels, if the image has them: they share one pass over the filters.
const MIN_PIXELS: usize = 128;
/// Pixels whose patches are unrolled at a time for the library, which needs a matrix in memory.
const UNROLLED: usize = 128;

/// Images `x [B, h, w, C]` under a filter of `k x k`, split into blocks of whole rows of one image.
#[derive(Clone, Copy)]
pub(crate) struct Images<'a, F> {
    x: &'a [F],
    pub(crate) count: usize,
    pub(crate) h: usize,
    pub(crate) w: usize,
    c: usize,
    k: usize,
}

impl<'a, F: Real> Images<'a, F> {
    pub(crate) fn new(x: &'a Array<F>, k: usize) -> Self {
        let [count, h, w, c] = extents4(x);
        debug_assert!(k % 2 == 1, "a filter of {k} x {k} has no middle");
        Self { x: data(x), count, h, w, c, k }
    }

    /// Elements under the filter: `k·k·C`.
    pub(crate) fn taps(&self) -> usize {
        self.k * self.k * self.c
    }

    /// Elements of a padded row.
    fn pitch(&self) -> usize {
        (self.w + self.k - 1) * self.c
    }

    /// Rows of a block. The blocks of an image are of nearly one size.
    fn rows_per_block(&self) -> usize {
        let most = (BLOCK_ELEMENTS / self.pitch()).max(MIN_PIXELS.div_ceil(self.w)).min(self.h);
        self.h.div_ceil(self.h.div_ceil(most))
    }

    /// Blocks of one image.
    fn blocks_per_image(&self) -> usize {
        self.h.div_ceil(self.rows_per_block())
    }

    /// Blocks of all images.
    pub(crate) fn blocks(&self) -> usize {
        self.count * self.blocks_per_image()
    }

    /// The rows of its image that block `n` has.
    fn rows(&self, n: usize) -> Range<usize> {
        let first = n % self.blocks_per_image() * self.rows_per_block();
        first..self.h.min(first + self.rows_per_block())
    }

    /// The number of pixels of block `n`.
    pub(crate) fn pixels(&self, n: usize) -> usize {
        self.rows(n).len() * self.w
    }

    /// The first pixel of block `n`, counted over all images.
    pub(crate) fn first_pixel(&self, n: usize) -> usize {
        (n / self.blocks_per_image() * self.h + self.rows(n).start) * self.w
    }

    /// Elements of the buffer that [`patches`](Images::patches) needs.
    pub(crate) fn buffer_len(&self) -> usize {
        (self.rows_per_block() + self.k - 1) * self.pitch()
    }

    /// The patches around the pixels of block `n`, whose padded rows are written into `buffer`. A filter of 1 x 1 needs no
    /// padding, and the image is read in place.
    pub(crate) fn patches<'b>(&'b self, n: usize, buffer: &'b mut [F]) -> Patches<'b, F> {
        let row = self.w * self.c;
        let image = &self.x[n / self.blocks_per_image() * self.h * row..][..self.h * row];
        let rows = self.rows(n);
        let pixels = self.pixels(n);
        let patches = |data| Patches { data, pixels, pitch: self.pitch(), w: self.w, c: self.c, k: self.k };
        if self.k == 1 {
            return patches(&image[rows.start * row..rows.end * row]);
        }
        let buffer = &mut buffer[..(rows.len() + self.k - 1) * self.pitch()];
        self.pad(image, rows.start, buffer);
        patches(buffer)
    }

    /// Writes rows of an image, padded with zeros on all sides. The first one is `k / 2` rows above row `first`.
    fn pad(&self, image: &[F], first: usize, padded: &mut [F]) {
        let p = self.k / 2;
        let row = self.w * self.c;
        for (i, padded) in padded.chunks_exact_mut(self.pitch()).enumerate() {
            let inside = (first + i).checked_sub(p).filter(|&y| y < self.h);
            let Some(y) = inside else {
                padded.fill(F::from_f64(0.0));
                continue;
            };
            padded[..p * self.c].fill(F::from_f64(0.0));
            padded[p * self.c..][..row].copy_from_slice(&image[y * row..][..row]);
            padded[p * self.c + row..].fill(F::from_f64(0.0));
        }
    }
}

/// A matrix `[pixels, k·k·C]` with one row for each of consecutive pixels, the elements under the filter tap by tap. Only the
/// padded image is in memory.
#[derive(Clone, Copy)]
pub(crate) struct Patches<'a, F> {
    /// The padded rows, `k - 1` more than rows of pixels.
    data: &'a [F],
    pixels: usize,
    /// Elements of a padded row.
    pitch: usize,
    w: usize,
    c: usize,
    k: usize,
}

impl<'a, F: Real> Patches<'a, F> {
    /// Rows of the matrix.
    pub(crate) fn pixels(&self) -> usize {
        self.pixels
    }

    /// Columns of the matrix.
    pub(crate) fn taps(&self) -> usize {
        self.k * self.k * self.c
    }

    /// Columns that are contiguous in memory: `k·C`.
    pub(crate) fn run(&self) -> usize {
        self.k * self.c
    }

    /// The position of the first element of row `pixel`.
    #[inline(always)]
    pub(crate) fn begin(&self, pixel: usize) -> usize {
        pixel / self.w * self.pitch + pixel % self.w * self.c
    }

    /// The distance of column `tap` from the first element of its row.
    #[cfg(feature = "std")]
    #[inline(always)]
    pub(crate) fn offset(&self, tap: usize) -> usize {
        tap / self.run() * self.pitch + tap % self.run()
    }

    /// The elements from a position on.
    #[inline(always)]
    pub(crate) fn starting_at(&self, position: usize) -> &'a [F] {
        &self.data[position..]
    }

    /// Calls `f(first, rows)` for a few rows of the matrix after the others, unrolled in memory; `first` is the first of them.
    pub(crate) fn unrolled(&self, mut f: impl FnMut(usize, &[F])) {
        let mut buffer = scratch(UNROLLED.min(self.pixels) * self.taps());
        for first in (0..self.pixels).step_by(UNROLLED) {
            let pixels = first..self.pixels.min(first + UNROLLED);
            let rows = &mut buffer[..pixels.len() * self.taps()];
            par::simd(
                #[inline(always)]
                || {
                    for (pixel, row) in pixels.zip(rows.chunks_exact_mut(self.taps())) {
                        for (i, run) in row.chunks_exact_mut(self.run()).enumerate() {
                            run.copy_from_slice(
                                &self.starting_at(self.begin(pixel) + i * self.pitch)[..run.len()],
                            );
                        }
                    }
                },
            );
            f(first, rows);
        }
    }
}
