//! The surroundings of pixels, read from lines of an image that are padded with zeros.

use super::extents;
use crate::host::array::{Array, data};
use crate::host::par;
use crate::host::real::Real;
use core::ops::Range;

/// Elements of the padded lines of a block: 256 KiB of f32, half the second-level cache of the machines this was measured on.
const BUFFER: usize = 64 * 1024;
/// Pixels that a block has at least, where the image has them: they share one pass over the weight.
const MIN_PIXELS: usize = 128;
/// Pixels whose surroundings are unrolled at a time for the library.
const UNROLLED: usize = 128;

/// Images `x [B, h, w, C]` that are convolved with a kernel of `k x k`, in blocks of whole lines of one image.
#[derive(Clone, Copy)]
pub(super) struct Images<'a, F> {
    x: &'a [F],
    pub(super) count: usize,
    pub(super) h: usize,
    pub(super) w: usize,
    c: usize,
    k: usize,
}

impl<'a, F: Real> Images<'a, F> {
    pub(super) fn new(x: &'a Array<F>, k: usize) -> Self {
        let [count, h, w, c] = extents(x);
        debug_assert!(k % 2 == 1, "a kernel of {k} has no middle");
        Self { x: data(x), count, h, w, c, k }
    }

    /// Elements under the kernel: `k·k·C`.
    pub(super) fn taps(&self) -> usize {
        self.k * self.k * self.c
    }

    /// Elements of a padded line.
    fn pitch(&self) -> usize {
        (self.w + self.k - 1) * self.c
    }

    /// Lines of a block: as many in each of an image as can be.
    pub(super) fn block(&self) -> usize {
        let most = (BUFFER / self.pitch()).max(MIN_PIXELS.div_ceil(self.w)).min(self.h);
        self.h.div_ceil(self.h.div_ceil(most))
    }

    /// Blocks of an image.
    pub(super) fn blocks(&self) -> usize {
        self.h.div_ceil(self.block())
    }

    /// Lines of block `n`, counted over all images.
    pub(super) fn lines(&self, n: usize) -> Range<usize> {
        let first = n % self.blocks() * self.block();
        first..self.h.min(first + self.block())
    }

    /// The first pixel of block `n`, counted over all images.
    pub(super) fn first_pixel(&self, n: usize) -> usize {
        (n / self.blocks() * self.h + self.lines(n).start) * self.w
    }

    /// Room for the padded lines of a block.
    pub(super) fn room(&self) -> usize {
        (self.block() + self.k - 1) * self.pitch()
    }

    /// The surroundings of the pixels of block `n`. One tap needs no copy.
    pub(super) fn patches<'b>(&'b self, n: usize, room: &'b mut [F]) -> Patches<'b, F> {
        let image = n / self.blocks();
        let line = self.w * self.c;
        let image = &self.x[image * self.h * line..][..self.h * line];
        let lines = self.lines(n);
        let pixels = lines.len() * self.w;
        let patches = |data| Patches { data, pixels, pitch: self.pitch(), w: self.w, c: self.c, k: self.k };
        if self.k == 1 {
            return patches(&image[lines.start * line..lines.end * line]);
        }
        let p = self.k / 2;
        let room = &mut room[..(lines.len() + 2 * p) * self.pitch()];
        for (i, padded) in room.chunks_exact_mut(self.pitch()).enumerate() {
            // Line `lines.start + i - p` of the image.
            let inside = (lines.start + i).checked_sub(p).filter(|&y| y < self.h);
            let Some(y) = inside else {
                padded.fill(F::of(0.0));
                continue;
            };
            padded[..p * self.c].fill(F::of(0.0));
            padded[p * self.c..][..line].copy_from_slice(&image[y * line..][..line]);
            padded[p * self.c + line..].fill(F::of(0.0));
        }
        patches(room)
    }
}

/// A matrix `[pixels, k·k·C]` whose rows are the surroundings of pixels that follow each other, tap by tap ("im2col"), of which
/// only the image is in memory.
#[derive(Clone, Copy)]
pub struct Patches<'a, F> {
    /// Padded lines, `k - 1` more than lines of pixels.
    data: &'a [F],
    pixels: usize,
    /// Elements of a padded line.
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

    /// Columns that follow each other in memory: `k·C`.
    pub(crate) fn run(&self) -> usize {
        self.k * self.c
    }

    /// Where row `pixel` begins.
    #[inline(always)]
    pub(crate) fn begin(&self, pixel: usize) -> usize {
        pixel / self.w * self.pitch + pixel % self.w * self.c
    }

    /// How far from the beginning of its row a column is.
    #[cfg(feature = "std")]
    #[inline(always)]
    pub(crate) fn offset(&self, tap: usize) -> usize {
        tap / self.run() * self.pitch + tap % self.run()
    }

    /// From some place on.
    #[inline(always)]
    pub(crate) fn at(&self, place: usize) -> &'a [F] {
        &self.data[place..]
    }

    /// Calls `f` with some rows after the others, unrolled, and the first of them.
    pub(crate) fn unrolled(&self, mut f: impl FnMut(usize, &[F])) {
        let mut buffer = crate::host::array::scratch(UNROLLED.min(self.pixels) * self.taps());
        for first in (0..self.pixels).step_by(UNROLLED) {
            let pixels = first..self.pixels.min(first + UNROLLED);
            let rows = &mut buffer[..pixels.len() * self.taps()];
            par::simd(
                #[inline(always)]
                || {
                    for (pixel, row) in pixels.zip(rows.chunks_exact_mut(self.taps())) {
                        for (i, run) in row.chunks_exact_mut(self.run()).enumerate() {
                            run.copy_from_slice(&self.at(self.begin(pixel) + i * self.pitch)[..run.len()]);
                        }
                    }
                },
            );
            f(first, rows);
        }
    }
}
