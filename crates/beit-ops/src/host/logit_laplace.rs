//! The negative log-likelihood of pixels whose logits follow a Laplace distribution (arXiv 2102.12092, appendix A.3).

use super::array::{Array, array, data, data_mut, last, shape, unwritten};
use super::par;
use super::real::Real;
use alloc::vec;

/// The mean of `ln(2 b x (1-x)) + |logit(x) - mu| / b` over `x [M, C]`, with `params [M, 2C] = mu | ln b`.
pub(super) fn forward<F: Real>(params: &Array<F>, x: &Array<F>) -> Array<F> {
    let c = last(x);
    let (params, x) = (data(params), data(x));
    let rows = par::rows_per_task(c);
    let count = x.len() / c;
    let ln_2 = F::from_f64(core::f64::consts::LN_2);
    let partials = par::map(count.div_ceil(rows), |n| {
        let range = n * rows..count.min((n + 1) * rows);
        par::simd(
            #[inline(always)]
            || {
                let mut total = F::from_f64(0.0);
                for m in range {
                    let (mu, ln_b) = params[m * 2 * c..][..2 * c].split_at(c);
                    for (k, &x) in x[m * c..][..c].iter().enumerate() {
                        let density = ln_2 + ln_b[k] + (x * (F::from_f64(1.0) - x)).ln();
                        total += density + (logit(x) - mu[k]).abs() * (-ln_b[k]).exp();
                    }
                }
                total.to_f64()
            },
        )
    });
    array([1], vec![F::from_f64(partials.iter().sum::<f64>() / x.len() as f64)])
}

/// With `r = (logit(x) - mu) / b`: `d_mu = -sign(r) / b` and `d_ln_b = 1 - |r|`, both divided by the number of elements.
pub(super) fn backward<F: Real>(params: &Array<F>, x: &Array<F>) -> Array<F> {
    let c = last(x);
    let mut d_params = unwritten(shape(params));
    let (params, x) = (data(params), data(x));
    let scale = F::from_f64(1.0 / x.len() as f64);
    let rows = par::rows_per_task(2 * c);
    par::chunks(data_mut(&mut d_params), rows * 2 * c, |n, d_params| {
        par::simd(
            #[inline(always)]
            || {
                for (i, d) in d_params.chunks_exact_mut(2 * c).enumerate() {
                    let m = n * rows + i;
                    let (mu, ln_b) = params[m * 2 * c..][..2 * c].split_at(c);
                    let (d_mu, d_ln_b) = d.split_at_mut(c);
                    for (k, &x) in x[m * c..][..c].iter().enumerate() {
                        let inverse_b = (-ln_b[k]).exp();
                        let residual = logit(x) - mu[k];
                        d_mu[k] = -sign(residual) * inverse_b * scale;
                        d_ln_b[k] = (F::from_f64(1.0) - residual.abs() * inverse_b) * scale;
                    }
                }
            },
        );
    });
    d_params
}

/// `ln(x / (1-x))`
#[inline(always)]
fn logit<F: Real>(x: F) -> F {
    (x / (F::from_f64(1.0) - x)).ln()
}

/// The sign as -1, 0 or 1; NaN stays NaN.
#[inline(always)]
fn sign<F: Real>(x: F) -> F {
    let zero = F::from_f64(0.0);
    let positive = if x > zero { F::from_f64(1.0) } else { x };
    if x < zero { F::from_f64(-1.0) } else { positive }
}
