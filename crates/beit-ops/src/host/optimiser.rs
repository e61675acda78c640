//! AdamW, and clipping by the global norm of the gradients.

use super::Host;
use super::array::{Array, array, data, data_mut};
use super::par;
use super::real::Real;
use super::reduce::sum;
use crate::ops::{AdamW, OptimiserOps};
use alloc::vec;
use alloc::vec::Vec;

/// Elements of one partial sum of squares.
const PIECE: usize = 128 * 1024;

/// `[norm, scale · min(1, max_norm / (norm + 1e-6))]`, where `norm` is that of `scale` times the gradients: the rule of PyTorch's
/// `clip_grad_norm_`. Partial sums of squares are added in f64. If the norm is not finite, the factor is NaN.
pub(super) fn clip_factor<F: Real>(grads: &[&Array<F>], max_norm: Option<f32>, scale: f32) -> Array<F> {
    let pieces: Vec<&[F]> = grads.iter().flat_map(|g| data(g).chunks(PIECE)).collect();
    let squares = par::map(pieces.len(), |i| {
        let piece = pieces[i];
        par::simd(
            #[inline(always)]
            || sum(piece.len(), |k| piece[k] * piece[k]),
        )
        .to_f64()
    });
    let scale = f64::from(scale);
    let norm = scale * libm::sqrt(squares.iter().sum());
    let factor = scale * max_norm.map_or(1.0, |max| (f64::from(max) / (norm + 1e-6)).min(1.0));
    let finite = F::from_f64(norm).to_f64().is_finite();
    array([2], vec![F::from_f64(norm), F::from_f64(if finite { factor } else { f64::NAN })])
}

/// `m = β₁m + (1-β₁)g`, `v = β₂v + (1-β₂)g²`, `w -= lr·wd·w + lr · m̂ / (√v̂ + eps)` (Loshchilov and Hutter, ICLR 2019);
/// if the clip factor is NaN, nothing changes.
pub(super) fn adamw<F: Real>(
    param: &mut Array<F>,
    grad: &Array<F>,
    moments: [&mut Array<F>; 2],
    clip: &Array<F>,
    hyper: &AdamW,
) {
    let step = Step::new(clip, hyper);
    let (chunk, grad) = (par::rows_per_task(1), data(grad));
    let [first, second] = moments.map(|m| (data_mut(m), chunk));
    par::chunks3((data_mut(param), chunk), first, second, |i, w, m, v| {
        step.take(w, &grad[i * chunk..][..w.len()], m, v);
    });
}

/// [`adamw`], then the gradients are set to zero while they are in the cache.
pub(super) fn adamw_and_clear<F: Real>(
    param: &mut Array<F>,
    grad: &mut Array<F>,
    moments: [&mut Array<F>; 2],
    clip: &Array<F>,
    hyper: &AdamW,
) {
    let step = Step::new(clip, hyper);
    let chunk = par::rows_per_task(1);
    let [first, second] = moments.map(|m| (data_mut(m), chunk));
    par::chunks4((data_mut(param), chunk), (data_mut(grad), chunk), first, second, |_, w, g, m, v| {
        step.take(w, g, m, v);
        g.fill(F::from_f64(0.0));
    });
}

/// The constants of one step.
struct Step<F> {
    factor: F,
    beta: [F; 2],
    /// `1 - beta`
    rest: [F; 2],
    /// `lr / (1 - β₁ᵗ)`
    size: F,
    /// `1 / √(1 - β₂ᵗ)`
    root: F,
    /// What weight decay leaves of a weight: `1 - lr · wd`.
    retained: F,
    eps: F,
}

impl<F: Real> Step<F> {
    fn new(clip: &Array<F>, hyper: &AdamW) -> Self {
        let bias = |beta: f64| 1.0 - libm::pow(beta, hyper.step as f64);
        Self {
            factor: data(clip)[1],
            beta: [hyper.beta1, hyper.beta2].map(F::from_f64),
            rest: [1.0 - hyper.beta1, 1.0 - hyper.beta2].map(F::from_f64),
            size: F::from_f64(hyper.lr / bias(hyper.beta1)),
            root: F::from_f64(1.0 / libm::sqrt(bias(hyper.beta2))),
            retained: F::from_f64(1.0 - hyper.lr * hyper.weight_decay),
            eps: F::from_f64(hyper.eps),
        }
    }

    /// Steps a chunk of weights `w` with gradients `g` and moments `m` and `v`.
    fn take(&self, w: &mut [F], g: &[F], m: &mut [F], v: &mut [F]) {
        if self.factor.to_f64().is_nan() {
            return;
        }
        let Self { factor, beta: [b1, b2], rest: [one_b1, one_b2], size, root, retained, eps } = *self;
        par::simd(
            #[inline(always)]
            || {
                for (((w, &g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
                    let g = g * factor;
                    *m = b1 * *m + one_b1 * g;
                    *v = b2 * *v + one_b2 * g * g;
                    *w = retained * *w - size * *m / (v.sqrt() * root + eps);
                }
            },
        );
    }
}

on_host! {
    impl OptimiserOps for Host<F> {
        fn clip_factor(&self, grads: &[&Tensor], max_norm: Option<f32>, scale: f32) -> Tensor {
            clip_factor(grads, max_norm, scale)
        }
        fn adamw(
            &self,
            param: &mut Tensor,
            grad: &Tensor,
            moments: [&mut Tensor; 2],
            clip: &Tensor,
            hyper: &AdamW,
        ) {
            adamw(param, grad, moments, clip, hyper);
        }
        fn adamw_all(
            &self,
            params: Vec<&mut Tensor>,
            grads: Vec<&mut Tensor>,
            moments: Vec<[&mut Tensor; 2]>,
            clip: &Tensor,
            hyper: &[AdamW],
        ) {
            for (((param, grad), moments), hyper) in params.into_iter().zip(grads).zip(moments).zip(hyper) {
                adamw_and_clear(param, grad, moments, clip, hyper);
            }
        }
    }
}
