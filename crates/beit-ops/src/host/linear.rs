//! `y = x Wᵀ + b`, and the GELU that follows or precedes it.

use super::Host;
use super::activation::{self, gelu, gelu_scalar, gelu_slope};
use super::array::{Array, data, data_mut, matrix, matrix_mut, shape, unwritten, view, view_mut};
use super::par;
use super::product::{Destination, Multiply, Products, no_epilogue};
use super::real::Real;
use super::reduce::{add, add_column_sums};
use crate::ops::{LinearOps, LinearTraining};
use crate::params::Linear;

/// `x Wᵀ + b`
pub(super) fn forward<F: Multiply>(products: Products, x: &Array<F>, p: &Linear<Array<F>>) -> Array<F> {
    let [n, c] = shape(&p.weight).matrix();
    let m = x.len() / c;
    let mut y = unwritten([m, n]);
    let into = Destination::replace(matrix_mut(&mut y));
    let x = view(data(x), [m, c]);
    match &p.bias {
        Some(bias) => F::product_by_weight(products, x, &p.weight, into, &add_bias(data(bias))),
        None => F::product_by_weight(products, x, &p.weight, into, &no_epilogue),
    }
    y
}

/// `(pre, gelu(pre))` with `pre = x Wᵀ + b`.
pub(super) fn forward_gelu<F: Multiply>(
    products: Products,
    x: &Array<F>,
    p: &Linear<Array<F>>,
) -> (Array<F>, Array<F>) {
    let Some(bias) = &p.bias else {
        let pre = forward(products, x, p);
        let act = gelu(&pre);
        return (pre, act);
    };
    let [n, c] = shape(&p.weight).matrix();
    let m = x.len() / c;
    let (mut pre, mut act) = (unwritten([m, n]), unwritten([m, n]));
    let second = Some(matrix_mut(&mut act));
    let into = Destination { c: matrix_mut(&mut pre), second, accumulate: false };
    let add_bias = add_bias(data(bias));
    F::product_by_weight(products, view(data(x), [m, c]), &p.weight, into, &|row, column, pre, act| {
        add_bias(row, column, pre, &mut []);
        par::simd(
            #[inline(always)]
            || {
                for (act, &pre) in act.iter_mut().zip(&*pre) {
                    *act = gelu_scalar(pre);
                }
            },
        );
    });
    (pre, act)
}

/// `gelu(x Wᵀ + b)`
pub(super) fn infer_gelu<F: Multiply>(products: Products, x: &Array<F>, p: &Linear<Array<F>>) -> Array<F> {
    let [n, c] = shape(&p.weight).matrix();
    let m = x.len() / c;
    let mut act = unwritten([m, n]);
    let add_bias = p.bias.as_ref().map(|bias| add_bias(data(bias)));
    let into = Destination::replace(matrix_mut(&mut act));
    F::product_by_weight(products, view(data(x), [m, c]), &p.weight, into, &|row, column, act, _| {
        if let Some(add_bias) = &add_bias {
            add_bias(row, column, act, &mut []);
        }
        par::simd(
            #[inline(always)]
            || act.iter_mut().for_each(|act| *act = gelu_scalar(*act)),
        );
    });
    act
}

/// `dW += dyᵀ x`, `db += Σ dy`
pub(super) fn backward_params<F: Multiply>(
    products: Products,
    dy: &Array<F>,
    x: &Array<F>,
    dp: &mut Linear<Array<F>>,
) {
    let dy_rows = matrix(dy);
    let x = view(data(x), [dy_rows.nrows(), x.len() / dy_rows.nrows()]);
    F::product(products, dy_rows.t(), x, Destination::add(matrix_mut(&mut dp.weight)), &no_epilogue);
    if let Some(d_bias) = &mut dp.bias {
        add_column_sums(data(dy), data_mut(d_bias));
    }
}

/// `dx = dy W`
pub(super) fn backward_input<F: Multiply>(
    products: Products,
    dy: &Array<F>,
    p: &Linear<Array<F>>,
    x: &Array<F>,
) -> Array<F> {
    let mut dx = unwritten(shape(x));
    let (weight, dy) = (matrix(&p.weight), matrix(dy));
    let extents = [dy.nrows(), weight.ncols()];
    let into = Destination::replace(view_mut(data_mut(&mut dx), extents));
    F::product(products, dy, weight, into, &no_epilogue);
    dx
}

/// `d_pre = dy W ⊙ gelu'(pre)` of a layer whose input was `gelu(pre)`.
pub(super) fn backward_input_gelu<F: Multiply>(
    products: Products,
    dy: &Array<F>,
    p: &Linear<Array<F>>,
    pre: &Array<F>,
) -> Array<F> {
    let mut d_pre = unwritten(shape(pre));
    let (weight, dy) = (matrix(&p.weight), matrix(dy));
    let n = weight.ncols();
    let into = Destination::replace(view_mut(data_mut(&mut d_pre), [dy.nrows(), n]));
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

/// The epilogue that adds a bias to each row.
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
            d_bias: Option<&mut Tensor>,
        ) -> Tensor {
            backward_params(self.products, dy, act, dp);
            let d_pre = backward_input_gelu(self.products, dy, p, pre);
            if let Some(d_bias) = d_bias {
                add_column_sums(data(&d_pre), data_mut(d_bias));
            }
            d_pre
        }
    }
}
