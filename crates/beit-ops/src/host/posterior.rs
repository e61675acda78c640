//! The distribution over visual tokens at each position: relaxed samples from it, and its divergence from the uniform
//! distribution.

use super::array::{Array, array, data, data_mut, last, reshape, shape, unwritten, zeros};
use super::real::Real;
use super::reduce::{add_column_sums, softmax_row, softmax_row_backward, sum};
use super::{Host, logit_laplace, par};
use crate::ops::{ElboOps, GumbelNoise};
use crate::philox::uniforms;
use alloc::vec;
use alloc::vec::Vec;

/// Blocks of Philox that are computed side by side, so that the loops vectorise. A block is four numbers.
const BLOCKS: usize = 64;

/// `softmax((logits + g) / tau)` with `g = -ln(-ln u)`. Element `n` of the tensor uses element `n` of the random stream.
pub(super) fn gumbel_softmax<F: Real>(logits: &Array<F>, noise: GumbelNoise, tau: f64) -> Array<F> {
    let v = last(logits);
    let mut y = unwritten(shape(logits));
    let rows = par::rows_per_task(v);
    let scale = F::from_f64(1.0 / tau);
    let logits = data(logits);
    par::chunks(data_mut(&mut y), rows * v, |n, y| {
        let first = n * rows * v;
        par::simd(
            #[inline(always)]
            || {
                gumbel(noise, first, y);
                for (row, logits) in y.chunks_exact_mut(v).zip(logits[first..].chunks_exact(v)) {
                    for (y, &logit) in row.iter_mut().zip(logits) {
                        *y = (*y + logit) * scale;
                    }
                    softmax_row(row);
                }
            },
        );
    });
    y
}

/// `y = -ln(-ln u)` for the elements of the stream from `first` on.
#[inline(always)]
fn gumbel<F: Real>(noise: GumbelNoise, first: usize, y: &mut [F]) {
    let mut y = y;
    let mut element = first;
    while !y.is_empty() {
        let words = gumbel_words::<F>(noise, element / 4);
        let skipped = element % 4;
        let (head, rest) = y.split_at_mut((4 * BLOCKS - skipped).min(y.len()));
        for (i, y) in head.iter_mut().enumerate() {
            let i = i + skipped;
            *y = words[i % 4][i / 4];
        }
        element += head.len();
        y = rest;
    }
}

/// Noise from [`BLOCKS`] blocks of Philox: word `w` of block `first + i` is at `[w][i]`, an order that vectorises.
#[inline(always)]
fn gumbel_words<F: Real>(noise: GumbelNoise, first: usize) -> [[F; BLOCKS]; 4] {
    let mut noises = [[F::from_f64(0.0); BLOCKS]; 4];
    for i in 0..BLOCKS {
        let words = uniforms(noise.seed, noise.step, (first + i) as u64);
        for w in 0..4 {
            noises[w][i] = F::from_f64(f64::from(words[w]));
        }
    }
    for g in noises.as_flattened_mut() {
        *g = -(-g.ln()).ln();
    }
    noises
}

/// `d_logits = y ⊙ (dy - Σ dy ⊙ y) / tau`
pub(super) fn gumbel_softmax_backward<F: Real>(dy: &Array<F>, y: &Array<F>, tau: f64) -> Array<F> {
    let scale = F::from_f64(1.0 / tau);
    let dy = data(dy);
    softmax_backward(
        y,
        #[inline(always)]
        |m, y, d| {
            let dy = &dy[m * y.len()..][..y.len()];
            for (d, &dy) in d.iter_mut().zip(dy) {
                *d = scale * dy;
            }
        },
    )
}

/// `KL(p ‖ U) = ln V + Σ p ln p`, once as the mean over rows `p` of `q = softmax(logits)` and once for their mean `p`.
///
/// Returns both numbers, and `[q, mean]` for the backward.
pub(super) fn kl<F: Real>(logits: &Array<F>) -> (Array<F>, [Array<F>; 2]) {
    let v = last(logits);
    let m = logits.len() / v;
    let mut q = logits.clone();
    let rows = par::rows_per_task(v);
    par::chunks(data_mut(&mut q), rows * v, |_, q| {
        par::simd(
            #[inline(always)]
            || {
                for row in q.chunks_exact_mut(v) {
                    softmax_row(row);
                }
            },
        );
    });
    let q = reshape(q, [m, v]);
    let mut mean = zeros([v]);
    add_column_sums(data(&q), data_mut(&mut mean));
    mean.iter_mut().for_each(|p| *p /= F::from_f64(m as f64));
    let each = mean_negentropy(data(&q), v);
    let mean_row = mean_negentropy(data(&mean), v);
    let uniform = F::from_f64(libm::log(v as f64));
    (array([2], vec![uniform + each, uniform + mean_row]), [q, mean])
}

/// The mean of `Σ p ln p` over rows of `v` elements.
fn mean_negentropy<F: Real>(p: &[F], v: usize) -> F {
    let rows = par::rows_per_task(v);
    let count = p.len() / v;
    let partials = par::map(count.div_ceil(rows), |n| {
        let mut terms = p[n * rows * v..count.min((n + 1) * rows) * v].to_vec();
        par::simd(
            #[inline(always)]
            || {
                for p in terms.iter_mut() {
                    *p *= floored_ln(*p);
                }
                sum(terms.len(), |i| terms[i]).to_f64()
            },
        )
    });
    F::from_f64(partials.iter().sum::<f64>() / count as f64)
}

/// With `g = w0 ln q + w1 ln p` and `p` the mean of the rows: `d_logits = q ⊙ (g - Σ g ⊙ q) / M`.
pub(super) fn kl_backward<F: Real>([q, mean]: &[Array<F>; 2], weights: [f64; 2]) -> Array<F> {
    let m = q.len() / last(q);
    let [each_weight, mean_weight] = weights.map(|w| F::from_f64(w / m as f64));
    let mean: Vec<F> = data(mean).iter().map(|&p| mean_weight * floored_ln(p)).collect();
    softmax_backward(
        q,
        #[inline(always)]
        |_, q, d| {
            for ((d, &q), &mean) in d.iter_mut().zip(q).zip(&mean) {
                *d = each_weight * floored_ln(q) + mean;
            }
        },
    )
}

/// `d_logits = y ⊙ (g - Σ g ⊙ y)` for each row of the softmax `y`. `gradient(row, y, g)` writes the gradient `g` of the row.
fn softmax_backward<F: Real>(
    y: &Array<F>,
    gradient: impl Fn(usize, &[F], &mut [F]) + Send + Sync,
) -> Array<F> {
    let v = last(y);
    let mut d_logits = unwritten(shape(y));
    let rows = par::rows_per_task(v);
    let y = data(y);
    par::chunks(data_mut(&mut d_logits), rows * v, |n, d| {
        par::simd(
            #[inline(always)]
            || {
                for (i, d) in d.chunks_exact_mut(v).enumerate() {
                    let row = n * rows + i;
                    let y = &y[row * v..][..v];
                    gradient(row, y, d);
                    softmax_row_backward(d, y);
                }
            },
        );
    });
    d_logits
}

/// `ln p`, but finite where `p` has underflowed to zero, so that `p ln p` is zero there and not NaN. What is NaN
/// stays NaN.
#[inline(always)]
fn floored_ln<F: Real>(p: F) -> F {
    F::from_f64(f64::from(f32::MIN_POSITIVE)).max(p).ln()
}

on_host! {
    impl ElboOps for Host<F> {
        fn gumbel_softmax(&self, logits: &Tensor, noise: GumbelNoise, tau: f64) -> Tensor {
            gumbel_softmax(logits, noise, tau)
        }
        fn gumbel_softmax_backward(&self, dy: &Tensor, y: &Tensor, tau: f64) -> Tensor {
            gumbel_softmax_backward(dy, y, tau)
        }
        fn posterior_kl(&self, logits: &Tensor) -> (Tensor, [Tensor; 2]) {
            kl(logits)
        }
        fn posterior_kl_backward(&self, saved: &[Tensor; 2], weights: [f64; 2]) -> Tensor {
            kl_backward(saved, weights)
        }
        fn logit_laplace(&self, params: &Tensor, x: &Tensor) -> Tensor {
            logit_laplace::forward(params, x)
        }
        fn logit_laplace_backward(&self, params: &Tensor, x: &Tensor) -> Tensor {
            logit_laplace::backward(params, x)
        }
    }
}
