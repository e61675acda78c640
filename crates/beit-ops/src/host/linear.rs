//! `y = x Wᵀ + b`

use super::array::{Array, array, data, data_mut, matrix, matrix_mut, view, zeros};
use super::gemm::gemm;
use super::real::Real;
use super::rows::add_column_sums;
use crate::params::Linear;
use alloc::vec::Vec;

pub(super) fn forward<F: Real>(x: &Array<F>, p: &Linear<Array<F>>) -> Array<F> {
    let weight = matrix(&p.weight);
    let (m, n, c) = (x.len() / weight.ncols(), weight.nrows(), weight.ncols());
    let x = view(data(x), [m, c]);
    let mut y = match &p.bias {
        Some(bias) => array([m, n], repeat_rows(data(bias), m)),
        None => zeros([m, n]),
    };
    let beta = F::of(if p.bias.is_some() { 1.0 } else { 0.0 });
    gemm(x, weight.t(), beta, matrix_mut(&mut y));
    y
}

/// `dW += dyᵀ x`, `db += Σ dy`
pub(super) fn backward_params<F: Real>(dy: &Array<F>, x: &Array<F>, dp: &mut Linear<Array<F>>) {
    let dy_rows = matrix(dy);
    let x = view(data(x), [dy_rows.nrows(), x.len() / dy_rows.nrows()]);
    gemm(dy_rows.t(), x, F::of(1.0), matrix_mut(&mut dp.weight));
    if let Some(d_bias) = &mut dp.bias {
        add_column_sums(data(dy), data_mut(d_bias));
    }
}

/// `dx = dy W`
pub(super) fn backward_input<F: Real>(dy: &Array<F>, p: &Linear<Array<F>>, x: &Array<F>) -> Array<F> {
    let mut dx = zeros(super::array::shape(x));
    let weight = matrix(&p.weight);
    let dy = matrix(dy);
    let extents = [dy.nrows(), weight.ncols()];
    gemm(dy, weight, F::of(0.0), super::array::view_mut(data_mut(&mut dx), extents));
    dx
}

fn repeat_rows<F: Real>(row: &[F], times: usize) -> Vec<F> {
    let mut all = Vec::with_capacity(row.len() * times);
    for _ in 0..times {
        all.extend_from_slice(row);
    }
    all
}
