//! Unrolling: the surroundings of every pixel as rows of a matrix ("im2col").

use super::extents;
use crate::host::array::{Array, data};
use crate::host::par;
use crate::host::real::Real;
use core::ops::Range;

/// Elements of a column buffer: 256 KiB of f32, a quarter of the second-level cache of the machines this was measured on.
const BUFFER: usize = 64 * 1024;
/// Rows of columns that a block has at least: they share one pass over the weight.
const MIN_ROWS: usize = 128;

/// The lines of all images of `x [B, h, w, C]`, to be convolved with a kernel of `k x k`.
#[derive(Clone, Copy)]
pub(super) struct Lines<'a, F> {
    x: &'a [F],
    /// `B·h`
    pub(super) count: usize,
    pub(super) h: usize,
    pub(super) w: usize,
    c: usize,
    k: usize,
}

impl<'a, F: Real> Lines<'a, F> {
    pub(super) fn new(x: &'a Array<F>, k: usize) -> Self {
        let [b, h, w, c] = extents(x);
        debug_assert!(k % 2 == 1, "a kernel of {k} has no middle");
        Self { x: data(x), count: b * h, h, w, c, k }
    }

    /// Elements under the kernel: `k·k·C`.
    pub(super) fn taps(&self) -> usize {
        self.k * self.k * self.c
    }

    /// Lines of one block.
    pub(super) fn per_block(&self) -> usize {
        let rows = (BUFFER / self.taps()).max(MIN_ROWS);
        (rows / self.w).max(1)
    }

    /// The surroundings of every pixel of some lines: `[M, k·k·C]`, zero outside of the image. One tap needs no copy.
    pub(super) fn columns<'b>(&'b self, lines: Range<usize>, buffer: &'b mut [F]) -> &'b [F] {
        let line = self.w * self.taps();
        if self.k == 1 {
            return &self.x[lines.start * line..lines.end * line];
        }
        let buffer = &mut buffer[..lines.len() * line];
        par::simd(
            #[inline(always)]
            || {
                for (columns, line) in buffer.chunks_exact_mut(line).zip(lines) {
                    for (x, column) in columns.chunks_exact_mut(self.taps()).enumerate() {
                        self.unroll_pixel(line, x, column);
                    }
                }
            },
        );
        buffer
    }

    #[inline(always)]
    fn unroll_pixel(&self, line: usize, x: usize, column: &mut [F]) {
        let p = self.k / 2;
        let y = line % self.h;
        let (left, right) = (p.saturating_sub(x), self.k.min(self.w + p - x));
        for (ky, column) in column.chunks_exact_mut(self.k * self.c).enumerate() {
            if y + ky < p || y + ky >= self.h + p {
                column.fill(F::of(0.0));
                continue;
            }
            let source = ((line + ky - p) * self.w + x + left - p) * self.c;
            let (inside, after) = column.split_at_mut(right * self.c);
            let (before, inside) = inside.split_at_mut(left * self.c);
            before.fill(F::of(0.0));
            copy(inside, &self.x[source..][..inside.len()]);
            after.fill(F::of(0.0));
        }
    }
}

/// Copies in steps of constant length: a call of `memcpy` costs as much as the few elements it would move here.
#[inline(always)]
fn copy<F: Copy>(to: &mut [F], from: &[F]) {
    const STEP: usize = 8;
    let (mut to, mut from) = (to.chunks_exact_mut(STEP), from.chunks_exact(STEP));
    for (to, from) in (&mut to).zip(&mut from) {
        to.copy_from_slice(from);
    }
    for (to, &from) in to.into_remainder().iter_mut().zip(from.remainder()) {
        *to = from;
    }
}
