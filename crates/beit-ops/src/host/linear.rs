//! `y = x Wᵀ + b`, and the GELU that follows or precedes it.

use super::Host;
use super::activation::{self, gelu_of, gelu_slope};
use super::array::{Array, data, data_mut, matrix, matrix_mut, shape, unwritten, view, view_mut};
use super::gemm::{Products, Results, nothing};
use super::par;
use super::real::Real;
use super::rows::{add, add_column_sums};
use crate::ops::{LinearOps, LinearTraining};
use crate::params::Linear;

pub(super) fn forward<F: Real>(products: Products, x: &Array<F>, p: &Linear<Array<F>>) -> Array<F> {
    let [n, c] = shape(&p.weight).matrix();
    let m = x.len() / c;
    let mut y = unwritten([m, n]);
    let into = Results::replacing(matrix_mut(&mut y));
    let x = view(data(x), [m, c]);
    match &p.bias {
        Some(bias) => F::product_by(products, x, &p.weight, into, &add_bias(data(bias))),
        None => F::product_by(products, x, &p.weight, into, &nothing),
    }
    y
}

/// `(pre, gelu(pre))`
pub(super) fn forward_gelu<F: Real>(
    products: Products,
    x: &Array<F>,
    p: &Linear<Array<F>>,
) -> (Array<F>, Array<F>) {
    let Some(bias) = &p.bias else {
        let pre = forward(products, x, p);
        let act = super::activation::gelu(&pre);
        return (pre, act);
    };
    let [n, c] = shape(&p.weight).matrix();
    let m = x.len() / c;
    let (mut pre, mut act) = (unwritten([m, n]), unwritten([m, n]));
    let also = Some(matrix_mut(&mut act));
    let into = Results { c: matrix_mut(&mut pre), also, add: false };
    let add_bias = add_bias(data(bias));
    F::product_by(products, view(data(x), [m, c]), &p.weight, into, &|row, column, pre, act| {
        add_bias(row, column, pre, &mut []);
        par::simd(
            #[inline(always)]
            || {
                for (act, &pre) in act.iter_mut().zip(&*pre) {
                    *act = gelu_of(pre);
                }
            },
        );
    });
    (pre, act)
}

/// `gelu(x Wᵀ + b)`
pub(super) fn infer_gelu<F: Real>(products: Products, x: &Array<F>, p: &Linear<Array<F>>) -> Array<F> {
    let [n, c] = shape(&p.weight).matrix();
    let m = x.len() / c;
    let mut act = unwritten([m, n]);
    let add_bias = p.bias.as_ref().map(|bias| add_bias(data(bias)));
    let into = Results::replacing(matrix_mut(&mut act));
    F::product_by(products, view(data(x), [m, c]), &p.weight, into, &|row, column, act, _| {
        if let Some(add_bias) = &add_bias {
            add_bias(row, column, act, &mut []);
        }
        par::simd(
            #[inline(always)]
            || act.iter_mut().for_each(|act| *act = gelu_of(*act)),
        );
    });
    act
}

/// `dW += dyᵀ x`, `db += Σ dy`
pub(super) fn backward_params<F: Real>(
    products: Products,
    dy: &Array<F>,
    x: &Array<F>,
    dp: &mut Linear<Array<F>>,
) {
    let dy_rows = matrix(dy);
    let x = view(data(x), [dy_rows.nrows(), x.len() / dy_rows.nrows()]);
    F::product(products, dy_rows.t(), x, Results::adding(matrix_mut(&mut dp.weight)), &nothing);
    if let Some(d_bias) = &mut dp.bias {
        add_column_sums(data(dy), data_mut(d_bias));
    }
}

/// `dx = dy W`
pub(super) fn backward_input<F: Real>(
    products: Products,
    dy: &Array<F>,
    p: &Linear<Array<F>>,
    x: &Array<F>,
) -> Array<F> {
    let mut dx = unwritten(shape(x));
    let (weight, dy) = (matrix(&p.weight), matrix(dy));
    let extents = [dy.nrows(), weight.ncols()];
    let into = Results::replacing(view_mut(data_mut(&mut dx), extents));
    F::product(products, dy, weight, into, &nothing);
    dx
}

/// `d_pre = dy W ⊙ gelu'(pre)` of a layer whose input was `gelu(pre)`.
pub(super) fn backward_input_gelu<F: Real>(
    products: Products,
    dy: &Array<F>,
    p: &Linear<Array<F>>,
    pre: &Array<F>,
) -> Array<F> {
    let mut d_pre = unwritten(shape(pre));
    let (weight, dy) = (matrix(&p.weight), matrix(dy));
    let n = weight.ncols();
    let into = Results::replacing(view_mut(data_mut(&mut d_pre), [dy.nrows(), n]));
    let pre = data(pre);
    F::product(products, dy, weight, into, &|row, column, d, _| {
        par::simd(
            #[inline(always)]
            || {
                for (d, &pre) in d.iter_mut().zip(&pre[row * n + column..]) {
                    *d *= gelu_slope(pre);
                }
            },
        );
    });
    d_pre
}

/// Adds the bias to a piece of a row.
pub(super) fn add_bias<F: Real>(bias: &[F]) -> impl Fn(usize, usize, &mut [F], &mut [F]) + Send + Sync {
    move |_, column, y, _| {
        par::simd(
            #[inline(always)]
            || add(y, &bias[column..column + y.len()]),
        );
    }
}

on_host! {
    impl LinearOps for Host<F> {
        fn linear(&self, x: &Tensor, p: &Linear<Tensor>) -> Tensor {
            forward(self.products, x, p)
        }
        fn gelu(&self, x: &Tensor) -> Tensor {
            activation::gelu(x)
        }
        fn linear_gelu(&self, x: &Tensor, p: &Linear<Tensor>) -> Tensor {
            infer_gelu(self.products, x, p)
        }
    }

    impl LinearTraining for Host<F> {
        fn linear_backward(
            &self,
            dy: &Tensor,
            x: &Tensor,
            p: &Linear<Tensor>,
            dp: &mut Linear<Tensor>,
        ) -> Tensor {
            backward_params(self.products, dy, x, dp);
            backward_input(self.products, dy, p, x)
        }
        fn linear_backward_params(&self, dy: &Tensor, x: &Tensor, dp: &mut Linear<Tensor>) {
            backward_params(self.products, dy, x, dp);
        }
        fn gelu_backward(&self, dy: &Tensor, x: &Tensor) -> Tensor {
            activation::gelu_backward(dy, x)
        }
        fn linear_gelu_forward(&self, x: &Tensor, p: &Linear<Tensor>) -> (Tensor, Tensor) {
            forward_gelu(self.products, x, p)
        }
        fn linear_gelu_backward(
            &self,
            dy: &Tensor,
            [pre, act]: [&Tensor; 2],
            p: &Linear<Tensor>,
            dp: &mut Linear<Tensor>,
        ) -> Tensor {
            backward_params(self.products, dy, act, dp);
            backward_input_gelu(self.products, dy, p, pre)
        }
    }
}
