//! Convolutions of stride 1 over feature maps `[B, h, w, C]`: matrix products over blocks of unrolled image lines.
//!
//! A block is a run of whole lines, which may cross from one image into the next. Its columns are unrolled into a buffer that
//! stays in the cache, so the `k²`-fold copy of the batch never exists.

mod lines;

use self::lines::Lines;
use super::array::{Array, data, data_mut, matrix_mut, shape, view, view_mut, zeros};
use super::gemm::{gemm, gemm_serial};
use super::par;
use super::real::Real;
use super::rows::{add, add_column_sums};
use crate::params::Conv2d;
use alloc::vec;
use alloc::vec::Vec;
use ndarray::ArrayView2;

/// At most this many tasks a convolution.
const TASKS: usize = 64;
/// At most this many partial weight gradients,
const PARTIALS: usize = 16;
/// and at most this many elements of them together: 128 MiB of f32.
const PARTIAL_ELEMENTS: usize = 32 * 1024 * 1024;
/// From this many outputs on, the rows of a one-tap weight gradient are work enough for all cores.
const WIDE: usize = 256;

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
    if k == 1 && o >= WIDE {
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
    let extents = [b * h * w, weight.ncols()];
    let beta = F::of(if bias.is_some() { 1.0 } else { 0.0 });
    gemm(view(data(x), [b * h * w, i]), weight, beta, view_mut(data_mut(&mut y), extents));
    y
}

/// `weight [k·k·I, O]`, tap by tap.
fn convolve<F: Real>(lines: Lines<'_, F>, weight: ArrayView2<'_, F>, bias: Option<&[F]>) -> Array<F> {
    let o = weight.ncols();
    let mut y = zeros([lines.count / lines.h, lines.h, lines.w, o]);
    let span = lines.count.div_ceil(TASKS);
    par::chunks(data_mut(&mut y), span * lines.w * o, |n, y| {
        fill(y, bias);
        let mut buffer = Vec::new();
        let block = lines.per_block();
        for (i, y) in y.chunks_mut(block * lines.w * o).enumerate() {
            let rows = y.len() / o;
            let first = n * span + i * block;
            let columns = lines.columns(first..first + rows / lines.w, &mut buffer);
            gemm_serial(view(columns, [rows, weight.nrows()]), weight, F::of(1.0), view_mut(y, [rows, o]));
        }
    });
    y
}

/// `Σ columnsᵀ [k·k·I, M] · dy [M, O]`, in at most [`PARTIALS`] sums that are added in order.
fn correlate<F: Real>(lines: Lines<'_, F>, dy: &[F], o: usize) -> Vec<F> {
    let inner = lines.taps();
    let span = lines.count.div_ceil((PARTIAL_ELEMENTS / (inner * o)).clamp(1, PARTIALS));
    let partials = par::map(lines.count.div_ceil(span), |n| {
        let mut sum = vec![F::of(0.0); inner * o];
        let mut buffer = Vec::new();
        let end = lines.count.min((n + 1) * span);
        for first in (n * span..end).step_by(lines.per_block()) {
            let block = first..end.min(first + lines.per_block());
            let rows = block.len() * lines.w;
            let columns = lines.columns(block, &mut buffer);
            let dy = view(&dy[first * lines.w * o..][..rows * o], [rows, o]);
            gemm_serial(view(columns, [rows, inner]).t(), dy, F::of(1.0), view_mut(&mut sum, [inner, o]));
        }
        sum
    });
    partials.into_iter().reduce(sum_of).unwrap_or_default()
}

fn sum_of<F: Real>(mut a: Vec<F>, b: Vec<F>) -> Vec<F> {
    par::simd(
        #[inline(always)]
        || add(&mut a, &b),
    );
    a
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

#[cfg(test)]
mod tests {
    use super::super::array::array;
    use super::*;
    use crate::init::Stream;

    fn random(shape: [usize; 4], number: u64) -> Array<f64> {
        let values = Stream::new(1, number).normals(shape.iter().product(), 1.0);
        array(shape, values.into_iter().map(f64::from).collect())
    }

    /// The definition, one element at a time. Larger than a block of lines, than a span, and smaller than the kernel.
    #[test]
    fn against_the_definition() {
        for ([b, h, w, i], o, k) in
            [([2, 5, 4, 3], 2, 3), ([70, 2, 3, 2], 3, 3), ([1, 2, 1, 3], 2, 7), ([2, 3, 3, 4], 5, 1)]
        {
            let (x, weight) = (random([b, h, w, i], 1), random([o, i, k, k], 2));
            let p = Conv2d { weight, bias: array([o], (0..o).map(|o| o as f64).collect()) };
            let y = forward(&x, &p);
            for (at, &got) in y.indexed_iter() {
                let want = element(&x, &p, [at[0], at[1], at[2], at[3]]);
                assert!((got - want).abs() < 1e-12, "{k}x{k} at {at:?}: got {got}, want {want}");
            }
        }
    }

    fn element(x: &Array<f64>, p: &Conv2d<Array<f64>>, [b, y, x_, o]: [usize; 4]) -> f64 {
        let [_, h, w, i] = extents(x);
        let k = extents(&p.weight)[2];
        let mut sum = p.bias[o];
        for (ky, kx) in (0..k * k).map(|tap| (tap / k, tap % k)) {
            let (sy, sx) = ((y + ky).wrapping_sub(k / 2), (x_ + kx).wrapping_sub(k / 2));
            if sy < h && sx < w {
                sum += (0..i).map(|i| p.weight[[o, i, ky, kx]] * x[[b, sy, sx, i]]).sum::<f64>();
            }
        }
        sum
    }
}
