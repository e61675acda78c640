//! The likelihood of pixels whose logits follow a Laplace distribution (arXiv 2102.12092, appendix A.3).
//!
//! ```text
//! x [M, C]               thread = one pixel channel at a time, grid-stride
//! params [M, 2C]         | mu of C channels | ln b of C channels |
//!
//! forward    a block adds up its terms: registers, shuffles, shared memory (rows.rs) -> partials [512]; one block adds those
//! backward   each thread writes both of its gradients
//! ```

use super::nan::is_nan;
use super::rows::{row_sum, totals};
use crate::gpu::Gpu;
use crate::launch::{THREADS, grid, launch};
use crate::tensor::{Dtype, Tensor};
use core::f32::consts::LN_2;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// The most blocks of the first step of the sum. The number is part of the result's definition, since it fixes the order of
/// the additions.
const PARTIALS: usize = 512;

/// `ln(x / (1-x))`
#[cube]
fn logit(x: f32) -> f32 {
    (x / (1.0 - x)).ln()
}

/// `ln(2 b x (1-x)) + |logit(x) - mu| / b` summed over the elements of each block, with `params [M, 2C] = mu | ln b`.
#[cube(launch_unchecked)]
fn add_likelihoods<P: Float, X: Float>(
    params: &Array<P>,
    x: &Array<X>,
    partials: &mut Array<f32>,
    c: usize,
    #[define(P, X)] _types: [ElemType; 2],
) {
    let mut sum = 0.0f32;
    let mut i = ABSOLUTE_POS;
    while i < x.len() {
        let at = i / c * 2 * c + i % c;
        let pixel = f32::cast_from(x[i]);
        let mu = f32::cast_from(params[at]);
        let ln_b = f32::cast_from(params[at + c]);
        let density = ln_b + (pixel * (1.0 - pixel)).ln() + comptime!(LN_2);
        sum += density + (logit(pixel) - mu).abs() * (-ln_b).exp();
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
    let sum = row_sum(sum, true);
    if UNIT_POS == 0 {
        partials[CUBE_POS] = sum;
    }
}

/// With `r = (logit(x) - mu) / b`: `d_mu = -sign(r) scale / b`, `d_ln_b = (1 - |r|) scale`.
#[cube(launch_unchecked)]
fn add_likelihoods_backward<P: Float, X: Float, D: Float>(
    params: &Array<P>,
    x: &Array<X>,
    d_params: &mut Array<D>,
    c: usize,
    scale: f32,
    #[define(P, X, D)] _types: [ElemType; 3],
) {
    let mut i = ABSOLUTE_POS;
    while i < x.len() {
        let at = i / c * 2 * c + i % c;
        let inverse_b = (-f32::cast_from(params[at + c])).exp();
        let residual = logit(f32::cast_from(x[i])) - f32::cast_from(params[at]);
        let sign = select(residual > 0.0, 1.0f32, 0.0f32) - select(residual < 0.0, 1.0f32, 0.0f32);
        let sign = select(is_nan(residual), residual, sign);
        d_params[at] = D::cast_from(-sign * inverse_b * scale);
        d_params[at + c] = D::cast_from((1.0 - residual.abs() * inverse_b) * scale);
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// The mean over `x [M, C]`, `[1]`.
pub(crate) fn forward<R: Runtime>(gpu: &Gpu<R>, params: &Tensor, x: &Tensor) -> Tensor {
    let blocks = x.len().div_ceil(THREADS as usize).clamp(1, PARTIALS);
    let partials = gpu.empty([1, blocks], Dtype::F32);
    let (count, dim) = (grid(blocks, 1), CubeDim::new_1d(THREADS));
    let types = [params.elem(), x.elem()];
    launch!(add_likelihoods(gpu, count, dim, params.arg(), x.arg(), partials.arg(), x.last(), types));
    totals(gpu, &partials, [1.0 / x.len() as f64, 0.0])
}

/// Returns `d_params [M, 2C]` of the mean.
pub(crate) fn backward<R: Runtime>(gpu: &Gpu<R>, params: &Tensor, x: &Tensor) -> Tensor {
    let d_params = gpu.empty(params.shape, gpu.activation());
    let (count, dim) = (grid(x.len(), THREADS as usize), CubeDim::new_1d(THREADS));
    let scale = (1.0 / x.len() as f64) as f32;
    let (to, c, types) = (d_params.arg(), x.last(), [params.elem(), x.elem(), d_params.elem()]);
    launch!(add_likelihoods_backward(gpu, count, dim, params.arg(), x.arg(), to, c, scale, types));
    d_params
}
