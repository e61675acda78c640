//! GELU in its exact form, and ReLU.

use super::array::{Array, data, data_mut, shape, unwritten};
use super::par;
use super::real::Real;
use core::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

/// `x Φ(x)`
pub(super) fn gelu<F: Real>(x: &Array<F>) -> Array<F> {
    unary(x, gelu_scalar)
}

/// `x Φ(x)` for one number.
#[inline(always)]
pub(super) fn gelu_scalar<F: Real>(x: F) -> F {
    x * phi(x)
}

/// `Φ(x) + x φ(x)` with `φ(x) = exp(-x²/2) / √(2π)`.
#[inline(always)]
pub(super) fn gelu_slope<F: Real>(x: F) -> F {
    let density_at_0 = F::from_f64(0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2);
    phi(x) + x * density_at_0 * (x * x * F::from_f64(-0.5)).exp()
}

/// `dy (Φ(x) + x φ(x))`
pub(super) fn gelu_backward<F: Real>(dy: &Array<F>, x: &Array<F>) -> Array<F> {
    binary(dy, x, |dy, x| dy * gelu_slope(x))
}

/// The standard normal distribution function `(1 + erf(x/√2)) / 2`.
#[inline(always)]
fn phi<F: Real>(x: F) -> F {
    F::from_f64(0.5) * (F::from_f64(1.0) + (x * F::from_f64(FRAC_1_SQRT_2)).erf())
}

/// `max(x, 0)`; NaN stays NaN.
pub(super) fn relu<F: Real>(x: &Array<F>) -> Array<F> {
    unary(x, |x| F::from_f64(0.0).max(x))
}

/// `dy`, but zero where `x <= 0`.
pub(super) fn relu_backward<F: Real>(dy: &Array<F>, x: &Array<F>) -> Array<F> {
    binary(dy, x, |dy, x| if x <= F::from_f64(0.0) { F::from_f64(0.0) } else { dy })
}

/// `y[i] = f(x[i])`
pub(super) fn unary<F: Real>(x: &Array<F>, f: impl Fn(F) -> F + Send + Sync) -> Array<F> {
    let mut y = unwritten(shape(x));
    let chunk = par::rows_per_task(1);
    let x = data(x);
    par::chunks(data_mut(&mut y), chunk, |i, y| {
        par::simd(
            #[inline(always)]
            || {
                for (y, &x) in y.iter_mut().zip(&x[i * chunk..]) {
                    *y = f(x);
                }
            },
        );
    });
    y
}

/// `y[i] = f(a[i], b[i])`
pub(super) fn binary<F: Real>(a: &Array<F>, b: &Array<F>, f: impl Fn(F, F) -> F + Send + Sync) -> Array<F> {
    let mut y = unwritten(shape(a));
    let chunk = par::rows_per_task(1);
    let (a, b) = (data(a), data(b));
    par::chunks(data_mut(&mut y), chunk, |i, y| {
        par::simd(
            #[inline(always)]
            || {
                let (a, b) = (&a[i * chunk..], &b[i * chunk..]);
                for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
                    *y = f(a, b);
                }
            },
        );
    });
    y
}
