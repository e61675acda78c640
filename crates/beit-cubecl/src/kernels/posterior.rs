//! The distribution over visual tokens at each position: relaxed samples of it, and its divergence from the uniform one.
//!
//! ```text
//! logits [M, V], V = 8,192: a block per row (a warp for V up to 1,024, see rows.rs)
//!
//! pass 1    each thread follows maximum and sum of exponentials of its vectors; then both are joined over the row
//! pass 2    each thread writes its vectors of the softmax
//! ```
//!
//! Following the maximum saves a pass over the row. The Gumbel noise is computed in both passes and never stored.

use super::columns::add_column_sums;
use super::elementwise::set;
use super::gumbel::gumbel;
use super::logit_laplace;
use super::nan::{at_least_tiny, scalar_at_least_tiny};
use super::rows::{
    RowLaunch, add_exponentials, first_row, lane, lanes, row_max, row_step, row_sum, vector_max, vector_sum,
};
use crate::gpu::Gpu;
use crate::launch::{THREADS, launch};
use crate::tensor::{Dtype, Tensor};
use beit_ops::{ElboOps, GumbelNoise};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// `softmax((logits + g) scale)` over each row, with Gumbel noise `g`.
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
    #[comptime] block_per_row: bool,
    #[define(X, Y)] _types: [ElemType; 2],
) {
    let columns = logits.len() / m;
    let factor = Vector::<f32, N>::new(scale);
    let mut row = first_row(block_per_row);
    while row < m {
        let mut largest = f32::min_value();
        let mut sum = 0.0f32;
        let mut c = lane(block_per_row);
        while c < columns {
            let i = row * columns + c;
            let noise = gumbel::<N>(i, seed_low, seed_high, step_low, step_high);
            let v = (Vector::<f32, N>::cast_from(logits[i]) + noise) * factor;
            let highest = max(largest, vector_max(v));
            sum = add_exponentials(sum, largest, highest, v);
            largest = highest;
            c += lanes(block_per_row);
        }
        let top = row_max(largest, block_per_row);
        let inverse = Vector::<f32, N>::new(1.0 / row_sum(sum * (largest - top).exp(), block_per_row));
        let top = Vector::<f32, N>::new(top);
        let mut c = lane(block_per_row);
        while c < columns {
            let i = row * columns + c;
            let noise = gumbel::<N>(i, seed_low, seed_high, step_low, step_high);
            let v = (Vector::<f32, N>::cast_from(logits[i]) + noise) * factor;
            y[i] = Vector::cast_from(Vector::exp(v - top) * inverse);
            c += lanes(block_per_row);
        }
        row += row_step(block_per_row);
    }
}

/// `q = softmax(logits)` over each row, and `Σ q ln q` of each.
#[cube(launch_unchecked)]
fn posteriors<X: Float, N: Size>(
    logits: &Array<Vector<X, N>>,
    q: &mut Array<Vector<f32, N>>,
    negentropies: &mut Array<f32>,
    #[comptime] block_per_row: bool,
    #[define(X)] _elem: ElemType,
) {
    let m = negentropies.len();
    let columns = logits.len() / m;
    let mut row = first_row(block_per_row);
    while row < m {
        let mut largest = f32::min_value();
        let mut sum = 0.0f32;
        let mut c = lane(block_per_row);
        while c < columns {
            let v = Vector::<f32, N>::cast_from(logits[row * columns + c]);
            let highest = max(largest, vector_max(v));
            sum = add_exponentials(sum, largest, highest, v);
            largest = highest;
            c += lanes(block_per_row);
        }
        let top = row_max(largest, block_per_row);
        let inverse = Vector::<f32, N>::new(1.0 / row_sum(sum * (largest - top).exp(), block_per_row));
        let mut negentropy = Vector::<f32, N>::new(0.0f32);
        let mut c = lane(block_per_row);
        while c < columns {
            let i = row * columns + c;
            let p = Vector::exp(Vector::<f32, N>::cast_from(logits[i]) - Vector::new(top)) * inverse;
            q[i] = p;
            negentropy += p * clamped_ln(p);
            c += lanes(block_per_row);
        }
        let negentropy = row_sum(vector_sum(negentropy), block_per_row);
        if lane(block_per_row) == 0 {
            negentropies[row] = negentropy;
        }
        row += row_step(block_per_row);
    }
}

/// `ln p`, with `p` clamped to the smallest normal number, so that `p ln p` is zero and not NaN where `p` has underflowed. NaN
/// stays NaN.
#[cube]
fn clamped_ln<N: Size>(p: Vector<f32, N>) -> Vector<f32, N> {
    Vector::ln(at_least_tiny(p))
}

/// One block: `mean = sums / M`, `divergences = [ln V + Σ negentropies / M, ln V + Σ mean ln mean]`.
#[cube(launch_unchecked)]
fn divergences(
    negentropies: &Array<f32>,
    sums: &Array<f32>,
    mean: &mut Array<f32>,
    out: &mut Array<f32>,
    uniform: f32,
) {
    let share = 1.0 / f32::cast_from(negentropies.len());
    let mut sum_each = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < negentropies.len() {
        sum_each += negentropies[i];
        i += CUBE_DIM as usize;
    }
    let mut sum_mean = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < sums.len() {
        let p = sums[i] * share;
        mean[i] = p;
        sum_mean += p * scalar_at_least_tiny(p).ln();
        i += CUBE_DIM as usize;
    }
    let sum_each = row_sum(sum_each, true);
    let sum_mean = row_sum(sum_mean, true);
    if UNIT_POS == 0 {
        out[0] = uniform + sum_each * share;
        out[1] = uniform + sum_mean;
    }
}

/// Where the gradient of a softmax comes from.
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
    #[comptime] block_per_row: bool,
    #[define(D, Y)] _types: [ElemType; 2],
) {
    let columns = y.len() / m;
    let mut row = first_row(block_per_row);
    while row < m {
        let base = row * columns;
        let mut dot = Vector::<f32, N>::new(0.0f32);
        let mut c = lane(block_per_row);
        while c < columns {
            let p = Vector::<f32, N>::cast_from(y[base + c]);
            dot += p * gradient::<D, N>(dy, p, base, c, w0, w1, upstream);
            c += lanes(block_per_row);
        }
        let dot = Vector::<f32, N>::new(row_sum(vector_sum(dot), block_per_row));
        let mut c = lane(block_per_row);
        while c < columns {
            let p = Vector::<f32, N>::cast_from(y[base + c]);
            let g = gradient::<D, N>(dy, p, base, c, w0, w1, upstream);
            d[base + c] = Vector::cast_from(p * (g - dot));
            c += lanes(block_per_row);
        }
        row += row_step(block_per_row);
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
            clamped_ln(p) * Vector::new(w0) + clamped_ln(mean) * Vector::new(w1)
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
    let RowLaunch { n, count, dim, block_per_row } = RowLaunch::new(gpu, m, logits.last());
    let words = |word: u64| (word as u32, (word >> 32) as u32);
    let ((k0, k1), (s0, s1)) = (words(noise.seed), words(noise.step));
    let (scale, types) = ((1.0 / tau) as f32, [logits.elem(), y.elem()]);
    let (from, to) = (logits.arg(), y.arg());
    launch!(sample(gpu, count, dim, n, from, to, m, scale, k0, k1, s0, s1, block_per_row, types));
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
    let RowLaunch { n, count, dim, block_per_row } = RowLaunch::new(gpu, m, v);
    let (from, to) = (logits.arg(), negentropies.arg());
    launch!(posteriors(gpu, count, dim, n, from, q.arg(), to, block_per_row, logits.elem()));
    let mut sums = gpu.empty([v], Dtype::F32);
    set(gpu, &sums, 0.0);
    add_column_sums(gpu, &q, &mut sums);
    let (mean, out) = (gpu.empty([v], Dtype::F32), gpu.empty([2], Dtype::F32));
    let (count, dim) = (CubeCount::Static(1, 1, 1), CubeDim::new_1d(THREADS));
    let (rows, uniform) = (negentropies.arg(), (v as f64).ln() as f32);
    launch!(divergences(gpu, count, dim, rows, sums.arg(), mean.arg(), out.arg(), uniform));
    (out, [q, mean])
}

/// Returns `d_logits [M, V]` of `weights[0] · KL of each + weights[1] · KL of the mean`.
pub(crate) fn kl_backward<R: Runtime>(gpu: &Gpu<R>, [q, mean]: &[Tensor; 2], weights: [f64; 2]) -> Tensor {
    let m = q.rows() as f64;
    differentiate(gpu, Upstream::Divergences, mean, q, weights.map(|w| w / m))
}

/// The gradient of the logits, from that of the softmax `y`.
fn differentiate<R: Runtime>(
    gpu: &Gpu<R>,
    upstream: Upstream,
    dy: &Tensor,
    y: &Tensor,
    weights: [f64; 2],
) -> Tensor {
    let m = y.rows();
    let d = gpu.empty(y.shape, y.dtype);
    let RowLaunch { n, count, dim, block_per_row } = RowLaunch::new(gpu, m, y.last());
    let ([w0, w1], types) = (weights.map(|w| w as f32), [dy.elem(), y.elem()]);
    let (from, p, to) = (dy.arg(), y.arg(), d.arg());
    launch!(softmax_backward(gpu, count, dim, n, from, p, to, m, w0, w1, upstream, block_per_row, types));
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
