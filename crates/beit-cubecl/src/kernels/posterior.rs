//! The distribution over visual tokens at each position: relaxed samples of it, and its divergence from the uniform one.

use super::columns::add_column_sums;
use super::elementwise::set;
use super::gumbel::gumbel;
use super::logit_laplace;
use super::rows::{RowLaunch, first_row, lane, lanes, max_of, rescaled, row_max, row_step, row_sum, sum_of};
use crate::gpu::Gpu;
use crate::launch::{UNITS, launch};
use crate::tensor::{Dtype, Tensor};
use beit_ops::{ElboOps, GumbelNoise};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// `softmax((logits + g) scale)` over each row, in one pass for maximum and sum and one for the result; the noise is
/// made twice rather than stored.
#[cube(launch_unchecked)]
fn sample<X: Float, Y: Float, N: Size>(
    logits: &Array<Vector<X, N>>,
    y: &mut Array<Vector<Y, N>>,
    m: usize,
    scale: f32,
    seed_low: u32,
    seed_high: u32,
    step_low: u32,
    step_high: u32,
    #[comptime] whole: bool,
    #[define(X, Y)] _types: [ElemType; 2],
) {
    let columns = logits.len() / m;
    let factor = Vector::<f32, N>::new(scale);
    let mut row = first_row(whole);
    while row < m {
        let mut largest = f32::min_value();
        let mut sum = 0.0f32;
        let mut c = lane(whole);
        while c < columns {
            let i = row * columns + c;
            let noise = gumbel::<N>(i, seed_low, seed_high, step_low, step_high);
            let v = (Vector::<f32, N>::cast_from(logits[i]) + noise) * factor;
            let highest = max(largest, max_of(v));
            sum = rescaled(sum, largest, highest, v);
            largest = highest;
            c += lanes(whole);
        }
        let top = row_max(largest, whole);
        let inverse = Vector::<f32, N>::new(1.0 / row_sum(sum * (largest - top).exp(), whole));
        let top = Vector::<f32, N>::new(top);
        let mut c = lane(whole);
        while c < columns {
            let i = row * columns + c;
            let noise = gumbel::<N>(i, seed_low, seed_high, step_low, step_high);
            let v = (Vector::<f32, N>::cast_from(logits[i]) + noise) * factor;
            y[i] = Vector::cast_from(Vector::exp(v - top) * inverse);
            c += lanes(whole);
        }
        row += row_step(whole);
    }
}

/// `q = softmax(logits)` over each row, and `Σ q ln q` of each.
#[cube(launch_unchecked)]
fn posteriors<X: Float, N: Size>(
    logits: &Array<Vector<X, N>>,
    q: &mut Array<Vector<f32, N>>,
    negentropies: &mut Array<f32>,
    #[comptime] whole: bool,
    #[define(X)] _elem: ElemType,
) {
    let m = negentropies.len();
    let columns = logits.len() / m;
    let mut row = first_row(whole);
    while row < m {
        let mut largest = f32::min_value();
        let mut sum = 0.0f32;
        let mut c = lane(whole);
        while c < columns {
            let v = Vector::<f32, N>::cast_from(logits[row * columns + c]);
            let highest = max(largest, max_of(v));
            sum = rescaled(sum, largest, highest, v);
            largest = highest;
            c += lanes(whole);
        }
        let top = row_max(largest, whole);
        let inverse = Vector::<f32, N>::new(1.0 / row_sum(sum * (largest - top).exp(), whole));
        let mut negentropy = Vector::<f32, N>::new(0.0f32);
        let mut c = lane(whole);
        while c < columns {
            let i = row * columns + c;
            let p = Vector::exp(Vector::<f32, N>::cast_from(logits[i]) - Vector::new(top)) * inverse;
            q[i] = p;
            negentropy += p * floored_ln(p);
            c += lanes(whole);
        }
        let negentropy = row_sum(sum_of(negentropy), whole);
        if lane(whole) == 0 {
            negentropies[row] = negentropy;
        }
        row += row_step(whole);
    }
}

/// `ln p`, finite where `p` has underflowed, so that `p ln p` is zero there.
#[cube]
fn floored_ln<N: Size>(p: Vector<f32, N>) -> Vector<f32, N> {
    Vector::ln(max(p, Vector::new(comptime!(f32::MIN_POSITIVE))))
}

/// One cube: `mean = sums / M`, `divergences = [ln V + Σ negentropies / M, ln V + Σ mean ln mean]`.
#[cube(launch_unchecked)]
fn divergences(
    negentropies: &Array<f32>,
    sums: &Array<f32>,
    mean: &mut Array<f32>,
    out: &mut Array<f32>,
    uniform: f32,
) {
    let share = 1.0 / f32::cast_from(negentropies.len());
    let mut of_each = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < negentropies.len() {
        of_each += negentropies[i];
        i += CUBE_DIM as usize;
    }
    let mut of_mean = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < sums.len() {
        let p = sums[i] * share;
        mean[i] = p;
        of_mean += p * max(p, f32::new(comptime!(f32::MIN_POSITIVE))).ln();
        i += CUBE_DIM as usize;
    }
    let of_each = row_sum(of_each, true);
    let of_mean = row_sum(of_mean, true);
    if UNIT_POS == 0 {
        out[0] = uniform + of_each * share;
        out[1] = uniform + of_mean;
    }
}

/// What a softmax is differentiated from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Upstream {
    /// `g = w0 dy`
    Gradient,
    /// `g = w0 ln y + w1 ln p`, `p [V]` the mean of the rows.
    Divergences,
}

/// `d = y ⊙ (g - Σ g ⊙ y)` over each row of `y`, the softmax.
#[cube(launch_unchecked)]
fn softmax_backward<D: Float, Y: Float, N: Size>(
    dy: &Array<Vector<D, N>>,
    y: &Array<Vector<Y, N>>,
    d: &mut Array<Vector<Y, N>>,
    m: usize,
    w0: f32,
    w1: f32,
    #[comptime] upstream: Upstream,
    #[comptime] whole: bool,
    #[define(D, Y)] _types: [ElemType; 2],
) {
    let columns = y.len() / m;
    let mut row = first_row(whole);
    while row < m {
        let base = row * columns;
        let mut dot = Vector::<f32, N>::new(0.0f32);
        let mut c = lane(whole);
        while c < columns {
            let p = Vector::<f32, N>::cast_from(y[base + c]);
            dot += p * gradient::<D, N>(dy, p, base, c, w0, w1, upstream);
            c += lanes(whole);
        }
        let dot = Vector::<f32, N>::new(row_sum(sum_of(dot), whole));
        let mut c = lane(whole);
        while c < columns {
            let p = Vector::<f32, N>::cast_from(y[base + c]);
            let g = gradient::<D, N>(dy, p, base, c, w0, w1, upstream);
            d[base + c] = Vector::cast_from(p * (g - dot));
            c += lanes(whole);
        }
        row += row_step(whole);
    }
}

/// `g` at column `c` of the row that begins at `base`, where the softmax is `p`.
#[cube]
fn gradient<D: Float, N: Size>(
    dy: &Array<Vector<D, N>>,
    p: Vector<f32, N>,
    base: usize,
    c: usize,
    w0: f32,
    w1: f32,
    #[comptime] upstream: Upstream,
) -> Vector<f32, N> {
    match upstream {
        Upstream::Gradient => Vector::<f32, N>::cast_from(dy[base + c]) * Vector::new(w0),
        Upstream::Divergences => {
            let mean = Vector::<f32, N>::cast_from(dy[c]);
            floored_ln(p) * Vector::new(w0) + floored_ln(mean) * Vector::new(w1)
        }
    }
}

/// `softmax((logits + g) / tau)`; element `n` of the tensor takes element `n` of the stream.
pub(crate) fn gumbel_softmax<R: Runtime>(
    gpu: &Gpu<R>,
    logits: &Tensor,
    noise: GumbelNoise,
    tau: f64,
) -> Tensor {
    let m = logits.rows();
    let y = gpu.empty(logits.shape, gpu.activation());
    let RowLaunch { n, count, dim, whole } = RowLaunch::new(gpu, m, logits.last());
    let words = |word: u64| (word as u32, (word >> 32) as u32);
    let ((k0, k1), (s0, s1)) = (words(noise.seed), words(noise.step));
    let (scale, types) = ((1.0 / tau) as f32, [logits.elem(), y.elem()]);
    let (from, to) = (logits.arg(), y.arg());
    launch!(sample(gpu, count, dim, n, from, to, m, scale, k0, k1, s0, s1, whole, types));
    y
}

/// Returns `d_logits = y ⊙ (dy - Σ dy ⊙ y) / tau`.
pub(crate) fn gumbel_softmax_backward<R: Runtime>(gpu: &Gpu<R>, dy: &Tensor, y: &Tensor, tau: f64) -> Tensor {
    differentiate(gpu, Upstream::Gradient, dy, y, [1.0 / tau, 0.0])
}

/// Returns both divergences `[2]`, and `q [M, V]` with its mean `[V]`; f32.
pub(crate) fn kl<R: Runtime>(gpu: &Gpu<R>, logits: &Tensor) -> (Tensor, [Tensor; 2]) {
    let (m, v) = (logits.rows(), logits.last());
    let q = gpu.empty([m, v], Dtype::F32);
    let negentropies = gpu.empty([m], Dtype::F32);
    let RowLaunch { n, count, dim, whole } = RowLaunch::new(gpu, m, v);
    let (from, to) = (logits.arg(), negentropies.arg());
    launch!(posteriors(gpu, count, dim, n, from, q.arg(), to, whole, logits.elem()));
    let mut sums = gpu.empty([v], Dtype::F32);
    set(gpu, &sums, 0.0);
    add_column_sums(gpu, &q, &mut sums);
    let (mean, out) = (gpu.empty([v], Dtype::F32), gpu.empty([2], Dtype::F32));
    let (count, dim) = (CubeCount::Static(1, 1, 1), CubeDim::new_1d(UNITS));
    let (rows, uniform) = (negentropies.arg(), (v as f64).ln() as f32);
    launch!(divergences(gpu, count, dim, rows, sums.arg(), mean.arg(), out.arg(), uniform));
    (out, [q, mean])
}

/// Returns `d_logits [M, V]` of `weights[0] · KL of each + weights[1] · KL of the mean`.
pub(crate) fn kl_backward<R: Runtime>(gpu: &Gpu<R>, [q, mean]: &[Tensor; 2], weights: [f64; 2]) -> Tensor {
    let m = q.rows() as f64;
    differentiate(gpu, Upstream::Divergences, mean, q, weights.map(|w| w / m))
}

fn differentiate<R: Runtime>(
    gpu: &Gpu<R>,
    upstream: Upstream,
    dy: &Tensor,
    y: &Tensor,
    weights: [f64; 2],
) -> Tensor {
    let m = y.rows();
    let d = gpu.empty(y.shape, y.dtype);
    let RowLaunch { n, count, dim, whole } = RowLaunch::new(gpu, m, y.last());
    let ([w0, w1], types) = (weights.map(|w| w as f32), [dy.elem(), y.elem()]);
    let (from, p, to) = (dy.arg(), y.arg(), d.arg());
    launch!(softmax_backward(gpu, count, dim, n, from, p, to, m, w0, w1, upstream, whole, types));
    d
}

impl<R: Runtime> ElboOps for Gpu<R> {
    fn gumbel_softmax(&self, logits: &Tensor, noise: GumbelNoise, tau: f64) -> Tensor {
        gumbel_softmax(self, logits, noise, tau)
    }
    fn gumbel_softmax_backward(&self, dy: &Tensor, y: &Tensor, tau: f64) -> Tensor {
        gumbel_softmax_backward(self, dy, y, tau)
    }
    fn posterior_kl(&self, logits: &Tensor) -> (Tensor, [Tensor; 2]) {
        kl(self, logits)
    }
    fn posterior_kl_backward(&self, saved: &[Tensor; 2], weights: [f64; 2]) -> Tensor {
        kl_backward(self, saved, weights)
    }
    fn logit_laplace(&self, params: &Tensor, x: &Tensor) -> Tensor {
        logit_laplace::forward(self, params, x)
    }
    fn logit_laplace_backward(&self, params: &Tensor, x: &Tensor) -> Tensor {
        logit_laplace::backward(self, params, x)
    }
}
