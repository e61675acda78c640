//! The mean squared error.

use super::array::{Array, array, data, data_mut, shape, unwritten};
use super::real::Real;
use super::{Host, par};
use crate::ops::SquaredErrorOps;
use alloc::vec;

/// Elements of a partial sum. The number is part of the result's definition, since it fixes the order of the additions.
const PART: usize = 1 << 14;

/// The mean of `(y - target)²`, `[1]`.
fn forward<F: Real>(y: &Array<F>, target: &Array<F>) -> Array<F> {
    let (y, target) = (data(y), data(target));
    let partials = par::map(y.len().div_ceil(PART), |n| {
        let range = n * PART..y.len().min((n + 1) * PART);
        let mut sum = 0.0;
        for (&y, &target) in y[range.clone()].iter().zip(&target[range]) {
            let error = (y - target).to_f64();
            sum += error * error;
        }
        sum
    });
    array([1], vec![F::from_f64(partials.iter().sum::<f64>() / y.len() as f64)])
}

/// `dy = scale · 2 (y - target) / n`, n the number of elements.
fn backward<F: Real>(y: &Array<F>, target: &Array<F>, scale: f32) -> Array<F> {
    let mut dy = unwritten(shape(y));
    let (y, target) = (data(y), data(target));
    let factor = F::from_f64(2.0 * f64::from(scale) / y.len() as f64);
    par::chunks(data_mut(&mut dy), PART, |n, dy| {
        par::simd(
            #[inline(always)]
            || {
                for (i, dy) in dy.iter_mut().enumerate() {
                    *dy = factor * (y[n * PART + i] - target[n * PART + i]);
                }
            },
        );
    });
    dy
}

on_host! {
    impl SquaredErrorOps for Host<F> {
        fn squared_error(&self, y: &Tensor, target: &Tensor) -> Tensor {
            forward(y, target)
        }
        fn squared_error_backward(&self, y: &Tensor, target: &Tensor, scale: f32) -> Tensor {
            backward(y, target, scale)
        }
    }
}
