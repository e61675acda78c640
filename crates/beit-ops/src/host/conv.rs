//! Convolutions of stride 1 over feature maps `[B, h, w, C]`: matrix products over blocks of unrolled image lines.
//!
//! A block is a run of whole lines, which may cross from one image into the next. Its columns are unrolled into a buffer that
//! stays in the cache, so the `k²`-fold copy of the batch never exists.

use super::array::{Array, data, data_mut, matrix_mut, shape, view, view_mut, zeros};
use super::gemm::{gemm, gemm_serial};
use super::par;
use super::real::Real;
use super::rows::{add, add_column_sums};
use crate::params::Conv2d;
use alloc::vec;
use alloc::vec::Vec;
use ndarray::ArrayView2;

/// Elements of a column buffer: 256 KiB of f32, a quarter of the second-level cache of the machines this was measured on.
const BUFFER: usize = 64 * 1024;
/// At most this many partial weight gradients.
const PARTIALS: usize = 16;

/// `[B, C, h, w] -> [B, h, w, C]`
pub(super) fn channels_last<F: Real>(x: &Array<F>) -> Array<F> {
    let [b, c, h, w] = extents(x);
    let mut y = zeros([b, h, w, c]);
    let x = data(x);
    par::chunks(data_mut(&mut y), (h * w * c).max(1), |i, y| {
        for (channel, x) in x[i * y.len()..][..y.len()].chunks_exact(h * w).enumerate() {
            for (row, &v) in y.chunks_exact_mut(c).zip(x) {
                row[channel] = v;
            }
        }
    });
    y
}

/// `y[b, y, x, o] = bias[o] + Σ weight[o, i, ky, kx] x[b, y + ky - p, x + kx - p, i]` with `p = (k - 1) / 2`.
pub(super) fn forward<F: Real>(x: &Array<F>, p: &Conv2d<Array<F>>) -> Array<F> {
    let bias = Some(data(&p.bias));
    let [o, i, k, _] = extents(&p.weight);
    if k == 1 {
        return product(x, view(data(&p.weight), [o, i]).t(), bias);
    }
    let weight = pack(data(&p.weight), [o, i, k]);
    convolve(Lines::new(x, k), view(&weight, [k * k * i, o]), bias)
}

/// The convolution of `dy` with the kernel turned by 180 degrees and its channels exchanged.
pub(super) fn backward_input<F: Real>(dy: &Array<F>, p: &Conv2d<Array<F>>) -> Array<F> {
    let [o, i, k, _] = extents(&p.weight);
    if k == 1 {
        return product(dy, view(data(&p.weight), [o, i]), None);
    }
    let weight = pack_turned(data(&p.weight), [o, i, k]);
    convolve(Lines::new(dy, k), view(&weight, [k * k * o, i]), None)
}

/// `d_weight[o, i, ky, kx] += Σ dy[b, y, x, o] x[b, y + ky - p, x + kx - p, i]`, `d_bias += Σ dy`
pub(super) fn backward_params<F: Real>(dy: &Array<F>, x: &Array<F>, dp: &mut Conv2d<Array<F>>) {
    let [o, i, k, _] = extents(&dp.weight);
    add_column_sums(data(dy), data_mut(&mut dp.bias));
    if k == 1 {
        let rows = x.len() / i;
        let dy = view(data(dy), [rows, o]);
        return gemm(dy.t(), view(data(x), [rows, i]), F::of(1.0), matrix_mut(&mut dp.weight));
    }
    let sum = correlate(Lines::new(x, k), data(dy), o);
    add_unpacked(&sum, [o, i, k], data_mut(&mut dp.weight));
}

/// `x [M, I] · weight [I, O] + bias`: a convolution of one tap.
fn product<F: Real>(x: &Array<F>, weight: ArrayView2<'_, F>, bias: Option<&[F]>) -> Array<F> {
    let [b, h, w, i] = extents(x);
    let mut y = zeros([b, h, w, weight.ncols()]);
    fill(data_mut(&mut y), bias);
    let rows = [b * h * w, weight.ncols()];
    gemm(view(data(x), [b * h * w, i]), weight, F::of(1.0), view_mut(data_mut(&mut y), rows));
    y
}

/// `weight [k·k·I, O]`, tap by tap.
fn convolve<F: Real>(lines: Lines<'_, F>, weight: ArrayView2<'_, F>, bias: Option<&[F]>) -> Array<F> {
    let o = weight.ncols();
    let mut y = zeros([lines.count / lines.h, lines.h, lines.w, o]);
    let block = lines.per_block();
    par::chunks(data_mut(&mut y), block * lines.w * o, |n, y| {
        fill(y, bias);
        let first = n * block;
        let count = y.len() / (lines.w * o);
        let columns = lines.unroll(first..first + count);
        let rows = count * lines.w;
        gemm_serial(view(&columns, [rows, weight.nrows()]), weight, F::of(1.0), view_mut(y, [rows, o]));
    });
    y
}

/// `Σ columnsᵀ [k·k·I, M] · dy [M, O]`, in at most [`PARTIALS`] sums that are added in order.
fn correlate<F: Real>(lines: Lines<'_, F>, dy: &[F], o: usize) -> Vec<F> {
    let span = lines.count.div_ceil(PARTIALS);
    let inner = lines.taps();
    let partials = par::map(lines.count.div_ceil(span), |n| {
        let mut sum = vec![F::of(0.0); inner * o];
        let end = lines.count.min((n + 1) * span);
        for first in (n * span..end).step_by(lines.per_block()) {
            let block = first..end.min(first + lines.per_block());
            let rows = block.len() * lines.w;
            let columns = lines.unroll(block);
            let dy = view(&dy[first * lines.w * o..][..rows * o], [rows, o]);
            gemm_serial(view(&columns, [rows, inner]).t(), dy, F::of(1.0), view_mut(&mut sum, [inner, o]));
        }
        sum
    });
    partials.into_iter().reduce(sum_of).unwrap_or_default()
}

fn sum_of<F: Real>(mut a: Vec<F>, b: Vec<F>) -> Vec<F> {
    par::simd(|| add(&mut a, &b));
    a
}

/// The lines of all images of `x [B, h, w, C]`, to be convolved with a kernel of `k x k`.
#[derive(Clone, Copy)]
struct Lines<'a, F> {
    x: &'a [F],
    /// `B·h`
    count: usize,
    h: usize,
    w: usize,
    c: usize,
    k: usize,
}

impl<'a, F: Real> Lines<'a, F> {
    fn new(x: &'a Array<F>, k: usize) -> Self {
        let [b, h, w, c] = extents(x);
        debug_assert!(k % 2 == 1, "a kernel of {k} has no middle");
        Self { x: data(x), count: b * h, h, w, c, k }
    }

    /// Elements under the kernel: `k·k·C`.
    fn taps(&self) -> usize {
        self.k * self.k * self.c
    }

    /// Lines whose columns fill the buffer.
    fn per_block(&self) -> usize {
        (BUFFER / (self.w * self.taps()).max(1)).max(1)
    }

    /// The surroundings of every pixel of the lines: `[M, k·k·C]`, zero outside of the image.
    fn unroll(&self, lines: core::ops::Range<usize>) -> Vec<F> {
        let mut columns = vec![F::of(0.0); lines.len() * self.w * self.taps()];
        par::simd(|| {
            let mut rest = columns.as_mut_slice();
            for line in lines {
                for x in 0..self.w {
                    let column;
                    (column, rest) = rest.split_at_mut(self.taps());
                    self.unroll_pixel(line, x, column);
                }
            }
        });
        columns
    }

    #[inline(always)]
    fn unroll_pixel(&self, line: usize, x: usize, column: &mut [F]) {
        let p = self.k / 2;
        let y = line % self.h;
        let (left, right) = (p.saturating_sub(x), self.k.min(self.w + p - x));
        for (ky, column) in column.chunks_exact_mut(self.k * self.c).enumerate() {
            if y + ky >= p && y + ky < self.h + p {
                let source = ((line + ky - p) * self.w + x + left - p) * self.c;
                let column = &mut column[left * self.c..right * self.c];
                copy(column, &self.x[source..][..column.len()]);
            }
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

/// Every row becomes the bias.
fn fill<F: Real>(y: &mut [F], bias: Option<&[F]>) {
    if let Some(bias) = bias {
        y.chunks_exact_mut(bias.len()).for_each(|row| row.copy_from_slice(bias));
    }
}

/// `weight [O, I, k, k] -> [k·k·I, O]`
fn pack<F: Real>(weight: &[F], [o_n, i_n, k]: [usize; 3]) -> Vec<F> {
    let mut packed = vec![F::of(0.0); weight.len()];
    for (oi, taps) in weight.chunks_exact(k * k).enumerate() {
        let (o, i) = (oi / i_n, oi % i_n);
        for (tap, &v) in taps.iter().enumerate() {
            packed[(tap * i_n + i) * o_n + o] = v;
        }
    }
    packed
}

/// `weight [O, I, k, k] -> [k·k·O, I]`, the taps in reverse.
fn pack_turned<F: Real>(weight: &[F], [o_n, i_n, k]: [usize; 3]) -> Vec<F> {
    let mut packed = vec![F::of(0.0); weight.len()];
    for (oi, taps) in weight.chunks_exact(k * k).enumerate() {
        let (o, i) = (oi / i_n, oi % i_n);
        for (tap, &v) in taps.iter().rev().enumerate() {
            packed[(tap * o_n + o) * i_n + i] = v;
        }
    }
    packed
}

/// `weight [O, I, k, k] += packed [k·k·I, O]`
fn add_unpacked<F: Real>(packed: &[F], [o_n, i_n, k]: [usize; 3], weight: &mut [F]) {
    for (oi, taps) in weight.chunks_exact_mut(k * k).enumerate() {
        let (o, i) = (oi / i_n, oi % i_n);
        for (tap, v) in taps.iter_mut().enumerate() {
            *v += packed[(tap * i_n + i) * o_n + o];
        }
    }
}

fn extents<F>(x: &Array<F>) -> [usize; 4] {
    shape(x)[..].try_into().expect("images, feature maps and kernels have four extents")
}
