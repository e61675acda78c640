//! AdamW and the global norm.

use super::array::{Array, array, data, data_mut};
use super::par;
use super::real::Real;
use super::rows::sum;
use crate::ops::AdamW;
use alloc::vec;
use alloc::vec::Vec;

/// `[norm, min(1, max_norm / (norm + 1e-6))]`, the rule of PyTorch's `clip_grad_norm_`. Squares are added in f64. The factor
/// of a norm that is not finite is not a number.
pub(super) fn clip_factor<F: Real>(grads: &[&Array<F>], max_norm: Option<f32>) -> Array<F> {
    let chunk = par::rows_per_task(1);
    let pieces: Vec<&[F]> = grads.iter().flat_map(|g| data(g).chunks(chunk)).collect();
    let squares = par::map(pieces.len(), |i| {
        let piece = pieces[i];
        par::simd(
            #[inline(always)]
            || sum(piece.len(), |k| piece[k] * piece[k]),
        )
        .to_f64()
    });
    let norm = libm::sqrt(squares.iter().sum());
    let factor = max_norm.map_or(1.0, |max| (f64::from(max) / (norm + 1e-6)).min(1.0));
    let finite = F::of(norm).to_f64().is_finite();
    array([2], vec![F::of(norm), F::of(if finite { factor } else { f64::NAN })])
}

/// `m = β₁m + (1-β₁)g`, `v = β₂v + (1-β₂)g²`, `w -= lr·wd·w + lr · m̂ / (√v̂ + eps)` (Loshchilov and Hutter, ICLR 2019);
/// nothing where the clip factor is not a number.
pub(super) fn adamw<F: Real>(
    param: &mut Array<F>,
    grad: &Array<F>,
    [first, second]: [&mut Array<F>; 2],
    clip: &Array<F>,
    hyper: &AdamW,
) {
    let steps = hyper.step as f64;
    let (one_b1, one_b2) = (F::of(1.0 - hyper.beta1), F::of(1.0 - hyper.beta2));
    let (b1, b2) = (F::of(hyper.beta1), F::of(hyper.beta2));
    let step_size = F::of(hyper.lr / (1.0 - libm::pow(hyper.beta1, steps)));
    let root = F::of(1.0 / libm::sqrt(1.0 - libm::pow(hyper.beta2, steps)));
    let (keep, eps) = (F::of(1.0 - hyper.lr * hyper.weight_decay), F::of(hyper.eps));
    let factor = data(clip)[1];
    if factor.to_f64().is_nan() {
        return;
    }

    let chunk = par::rows_per_task(1);
    let grad = data(grad);
    let moments: Vec<_> = data_mut(first).chunks_mut(chunk).zip(data_mut(second).chunks_mut(chunk)).collect();
    let tasks: Vec<_> = data_mut(param).chunks_mut(chunk).zip(moments).collect();
    par::each(tasks, |i, (w, (m, v))| {
        par::simd(
            #[inline(always)]
            || {
                let g = &grad[i * chunk..][..w.len()];
                for k in 0..w.len() {
                    let g = g[k] * factor;
                    m[k] = b1 * m[k] + one_b1 * g;
                    v[k] = b2 * v[k] + one_b2 * g * g;
                    w[k] = keep * w[k] - step_size * m[k] / (v[k].sqrt() * root + eps);
                }
            },
        );
    });
}
