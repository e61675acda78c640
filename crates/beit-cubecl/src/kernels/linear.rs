//! `y = x Wᵀ + b`, and its products with GELU.
//!
//! ```text
//! forward       y  [M, N]  = x  [M, C] · W [N, C]ᵀ     both contiguous along C, the summed axis
//! input         dx [M, C]  = dy [M, N] · W [N, C]      W is read across N, the summed axis
//! parameters    dW [N, C] += dy [M, N]ᵀ · x [M, C]     both are read across M, the summed axis
//! ```
//!
//! The tiles are those of the matrix product (product.rs, cuda/product.cu).

use super::columns::add_column_sums;
use super::elementwise::{self, Map, Zip};
use super::multiply::{Operand, Product};
use crate::gpu::Gpu;
use crate::tensor::Tensor;
use beit_ops::{Linear, LinearOps, LinearTraining};
use cubecl::prelude::*;

/// `x [M, C] · weight [N, C]ᵀ + bias`
fn product<'a>(x: &'a Tensor, weight: &'a Tensor, p: &'a Linear<Tensor>) -> Product<'a> {
    let [n, c] = weight.shape.matrix();
    let extents = [x.len() / c, n, c];
    Product { a: Operand::along(x), b: Operand::along(weight), extents, bias: p.bias.as_ref() }
}

/// `x [M, C] -> y [M, N]`
pub(crate) fn forward<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, p: &Linear<Tensor>) -> Tensor {
    let (x, weight) = (gpu.operand(x), gpu.operand(&p.weight));
    let product = product(&x, &weight, p);
    let [m, n, _] = product.extents;
    product.store(gpu, [m, n])
}

/// `x [M, C] -> (pre [M, N], gelu(pre))`, the GELU in the epilogue of the product.
pub(crate) fn forward_gelu<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, p: &Linear<Tensor>) -> (Tensor, Tensor) {
    let (x, weight) = (gpu.operand(x), gpu.operand(&p.weight));
    let product = product(&x, &weight, p);
    let [m, n, _] = product.extents;
    product.gelu(gpu, [m, n])
}

/// `x [M, C] -> gelu(x Wᵀ + b) [M, N]`
pub(crate) fn infer_gelu<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, p: &Linear<Tensor>) -> Tensor {
    let (x, weight) = (gpu.operand(x), gpu.operand(&p.weight));
    let product = product(&x, &weight, p);
    let [m, n, _] = product.extents;
    product.gelu_only(gpu, [m, n])
}

/// `dy [M, N] · weight [N, C] -> dx`
fn product_input<'a>(dy: &'a Tensor, weight: &'a Tensor) -> Product<'a> {
    let [n, c] = weight.shape.matrix();
    let extents = [dy.len() / n, c, n];
    Product { a: Operand::along(dy), b: Operand::across(weight), extents, bias: None }
}

/// Returns `dx`, in the shape of `x`.
pub(crate) fn backward_input<R: Runtime>(
    gpu: &Gpu<R>,
    dy: &Tensor,
    x: &Tensor,
    p: &Linear<Tensor>,
) -> Tensor {
    let (dy, weight) = (gpu.operand(dy), gpu.operand(&p.weight));
    product_input(&dy, &weight).store(gpu, x.shape)
}

/// Returns `gelu'(pre) ⊙ dx`, for `x = gelu(pre)`, and adds its sums over rows to `d_bias`.
pub(crate) fn backward_gelu<R: Runtime>(
    gpu: &Gpu<R>,
    dy: &Tensor,
    pre: &Tensor,
    p: &Linear<Tensor>,
    d_bias: Option<&mut Tensor>,
) -> Tensor {
    let (dy, weight) = (gpu.operand(dy), gpu.operand(&p.weight));
    product_input(&dy, &weight).gelu_backward(gpu, pre, d_bias)
}

/// `d_weight [N, C] += dyᵀ x`, `d_bias [N] += Σ dy`
pub(crate) fn backward_params<R: Runtime>(gpu: &Gpu<R>, dy: &Tensor, x: &Tensor, dp: &mut Linear<Tensor>) {
    let [n, c] = dp.weight.shape.matrix();
    if let Some(bias) = &mut dp.bias {
        add_column_sums(gpu, dy, bias);
    }
    let (dy, x) = (gpu.operand(dy), gpu.operand(x));
    let (a, b) = (Operand::across(&dy), Operand::across(&x));
    Product { a, b, extents: [n, c, x.len() / c], bias: None }.accumulate(gpu, &mut dp.weight);
}

impl<R: Runtime> LinearOps for Gpu<R> {
    fn linear(&self, x: &Tensor, p: &Linear<Tensor>) -> Tensor {
        forward(self, x, p)
    }
    fn gelu(&self, x: &Tensor) -> Tensor {
        elementwise::map(self, Map::Gelu, 1.0, x, x.dtype)
    }
    fn linear_gelu(&self, x: &Tensor, p: &Linear<Tensor>) -> Tensor {
        infer_gelu(self, x, p)
    }
}

impl<R: Runtime> LinearTraining for Gpu<R> {
    fn linear_backward(
        &self,
        dy: &Tensor,
        x: &Tensor,
        p: &Linear<Tensor>,
        dp: &mut Linear<Tensor>,
    ) -> Tensor {
        backward_params(self, dy, x, dp);
        backward_input(self, dy, x, p)
    }
    fn linear_backward_params(&self, dy: &Tensor, x: &Tensor, dp: &mut Linear<Tensor>) {
        backward_params(self, dy, x, dp);
    }
    fn gelu_backward(&self, dy: &Tensor, x: &Tensor) -> Tensor {
        elementwise::zip(self, Zip::GeluBackward, 1.0, [dy, x], dy.dtype)
    }
    fn linear_gelu_forward(&self, x: &Tensor, p: &Linear<Tensor>) -> (Tensor, Tensor) {
        forward_gelu(self, x, p)
    }
    fn linear_gelu_backward(
        &self,
        dy: &Tensor,
        [pre, act]: [&Tensor; 2],
        p: &Linear<Tensor>,
        dp: &mut Linear<Tensor>,
        d_bias: Option<&mut Tensor>,
    ) -> Tensor {
        backward_params(self, dy, act, dp);
        backward_gelu(self, dy, pre, p, d_bias)
    }
}
