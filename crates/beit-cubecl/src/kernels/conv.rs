//! Convolutions of stride 1 with "same" zero padding, as matrix products over patches (implicit GEMM), and the transposition that
//! brings images into the layout of feature maps.
//!
//! ```text
//! forward       y  [B·h·w, O]     = patches of x  [B·h·w, k·k·I] · packed weight  [O, k·k·I]ᵀ
//! input         dx [B·h·w, I]     = patches of dy [B·h·w, k·k·O] · turned weight  [I, k·k·O]ᵀ
//! parameters    dw [O, k·k·I]    += dy [B·h·w, O]ᵀ · patches of x [B·h·w, k·k·I]
//! ```
//!
//! Patches of few channels are written out first where tensor cores multiply them (patches.rs).
//!
//! The tiles are those of the matrix product (product.rs, cuda/product.cu). The kernels here move one element a thread, in the
//! order in which they are written, so that writes are contiguous: weights are small, and images are transposed once a step.

use super::columns::{self, add_column_sums};
use super::elementwise::{self, Map, Zip, set};
use super::multiply::{Operand, Product};
use super::patches::Patches;
use super::{bias, pool};
use crate::gpu::Gpu;
use crate::launch::{THREADS, grid, launch};
use crate::tensor::{Dtype, Tensor};
use beit_ops::{Conv2d, ConvOps, ConvTraining};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// How the weight `[O, I, k, k]` is laid out for a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Packing {
    /// `[O, k·k·I]`: for the forward pass.
    Forward,
    /// `[I, k·k·O]`, the taps in reverse: for the gradient of the input, which is a convolution of the gradient of the output.
    Turned,
}

/// The packed weight, element by element from `[O, I, k, k]`: rows of `row` elements, those beyond the last tap 0.
#[cube(launch_unchecked)]
fn pack<W: Float>(
    weight: &Array<f32>,
    packed: &mut Array<W>,
    outputs: usize,
    inputs: usize,
    taps: usize,
    row: usize,
    #[comptime] packing: Packing,
    #[define(W)] _elem: ElemType,
) {
    let mut e = ABSOLUTE_POS;
    while e < packed.len() {
        let at = e % row;
        let mut value = W::cast_from(0.0f32);
        match packing {
            Packing::Forward => {
                let i = at % inputs;
                let tap = at / inputs;
                let o = e / row;
                if tap < taps {
                    value = W::cast_from(weight[(o * inputs + i) * taps + tap]);
                }
            }
            Packing::Turned => {
                let o = at % outputs;
                let tap = at / outputs;
                let i = e / row;
                if tap < taps {
                    value = W::cast_from(weight[(o * inputs + i) * taps + (taps - tap - 1)]);
                }
            }
        }
        packed[e] = value;
        e += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// `weight [O, I, k, k] += sums [O, k·k·I]`
#[cube(launch_unchecked)]
fn add_unpacked(sums: &Array<f32>, weight: &mut Array<f32>, inputs: usize, taps: usize) {
    let mut e = ABSOLUTE_POS;
    while e < weight.len() {
        let tap = e % taps;
        let i = e / taps % inputs;
        let o = e / (taps * inputs);
        weight[e] += sums[(o * taps + tap) * inputs + i];
        e += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// `[B, C, P] -> [B, P, C]` for P pixels.
#[cube(launch_unchecked)]
fn swap<X: Float, Y: Float>(
    x: &Array<X>,
    y: &mut Array<Y>,
    channels: usize,
    pixels: usize,
    #[define(X, Y)] _types: [ElemType; 2],
) {
    let mut e = ABSOLUTE_POS;
    while e < y.len() {
        let channel = e % channels;
        let pixel = e / channels % pixels;
        let image = e / (channels * pixels);
        y[e] = Y::cast_from(x[(image * channels + channel) * pixels + pixel]);
        e += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// `[B, C, height, width] -> [B, height, width, C]`
pub(crate) fn channels_last<R: Runtime>(gpu: &Gpu<R>, x: &Tensor) -> Tensor {
    let [b, c, h, w] = x.map();
    let y = gpu.empty([b, h, w, c], x.dtype);
    let count = grid(y.len(), THREADS as usize);
    let types = [x.elem(), y.elem()];
    launch!(swap(gpu, count, CubeDim::new_1d(THREADS), x.arg(), y.arg(), c, h * w, types));
    y
}

/// The weight `[O, I, k, k]` in the order and type that the product reads, in rows of `row` elements.
fn packed<R: Runtime>(gpu: &Gpu<R>, weight: &Tensor, packing: Packing, row: usize) -> Tensor {
    let [o, i, k, _] = weight.map();
    let rows = if packing == Packing::Forward { o } else { i };
    let packed = gpu.empty([rows, row], gpu.activation());
    let count = grid(packed.len(), THREADS as usize);
    let (dim, elem) = (CubeDim::new_1d(THREADS), packed.elem());
    launch!(pack(gpu, count, dim, weight.arg(), packed.arg(), o, i, k * k, row, packing, elem));
    packed
}

/// `x [B, h, w, I] -> y [B, h, w, O]`; `finish` launches the product with what follows it, and is given the shape of `y`.
fn forward<R: Runtime>(
    gpu: &Gpu<R>,
    x: &Tensor,
    p: &Conv2d<Tensor>,
    finish: impl FnOnce(&Product<'_>, [usize; 4]) -> Tensor,
) -> Tensor {
    let ([b, h, w, _], [o, _, k, _]) = (x.map(), p.weight.map());
    let patches = Patches::new(gpu, gpu.operand(x), k);
    let weight = packed(gpu, &p.weight, Packing::Forward, patches.row);
    let extents = [b * h * w, o, patches.row];
    let product =
        Product { a: patches.operand(), b: Operand::along(&weight), extents, bias: p.bias.as_ref() };
    finish(&product, [b, h, w, o])
}

/// Returns `dx [B, h, w, I]`: the convolution of `dy` with the turned filter.
pub(crate) fn backward_input<R: Runtime>(gpu: &Gpu<R>, dy: &Tensor, p: &Conv2d<Tensor>) -> Tensor {
    let ([b, h, w, o], [_, i, k, _]) = (dy.map(), p.weight.map());
    let (dy, weight) = (gpu.operand(dy), packed(gpu, &p.weight, Packing::Turned, k * k * o));
    let extents = [b * h * w, i, k * k * o];
    let a = Operand::along(&dy).patches(k);
    Product { a, b: Operand::along(&weight), extents, bias: None }.store(gpu, [b, h, w, i])
}

/// `d_weight [O, I, k, k] += dyᵀ · patches of x`, `d_bias [O] += Σ dy` where there is a bias.
pub(crate) fn backward_params<R: Runtime>(gpu: &Gpu<R>, dy: &Tensor, x: &Tensor, dp: &mut Conv2d<Tensor>) {
    let ([b, h, w, i], [o, _, k, _]) = (x.map(), dp.weight.map());
    if let Some(bias) = &mut dp.bias {
        add_column_sums(gpu, dy, bias);
    }
    let (dy, x) = (gpu.operand(dy), gpu.operand(x));
    let (a, patches) = (Operand::across(&dy), Operand::across(&x).patches(k));
    let product = Product { a, b: patches, extents: [o, k * k * i, b * h * w], bias: None };
    if k == 1 {
        return product.accumulate(gpu, &mut dp.weight);
    }
    let mut sums = gpu.empty([o, k * k * i], Dtype::F32);
    set(gpu, &sums, 0.0);
    product.accumulate(gpu, &mut sums);
    let weight = gpu.own(&mut dp.weight);
    let count = grid(weight.len(), THREADS as usize);
    launch!(add_unpacked(gpu, count, CubeDim::new_1d(THREADS), sums.arg(), weight.arg(), i, k * k));
}

impl<R: Runtime> ConvOps for Gpu<R> {
    fn channels_last(&self, x: &Tensor) -> Tensor {
        channels_last(self, x)
    }
    fn conv2d(&self, x: &Tensor, p: &Conv2d<Tensor>) -> Tensor {
        forward(self, x, p, |product, shape| product.store(self, shape))
    }
    fn conv2d_relu(&self, x: &Tensor, p: &Conv2d<Tensor>) -> Tensor {
        forward(self, x, p, |product, shape| product.relu(self, shape))
    }
    fn conv2d_add_scaled(&self, a: &Tensor, x: &Tensor, p: &Conv2d<Tensor>, scale: f64) -> Tensor {
        if a.dtype != self.activation() {
            return self.add_scaled(a, &self.conv2d(x, p), scale);
        }
        forward(self, x, p, |product, _| product.add_scaled(self, a, scale))
    }
    fn relu(&self, x: &Tensor) -> Tensor {
        elementwise::map(self, Map::Relu, 1.0, x, x.dtype)
    }
    fn max_pool2(&self, x: &Tensor) -> Tensor {
        pool::max_pool2(self, x)
    }
    fn upsample2(&self, x: &Tensor) -> Tensor {
        pool::upsample2(self, x)
    }
    fn add_scaled(&self, a: &Tensor, b: &Tensor, scale: f64) -> Tensor {
        elementwise::zip(self, Zip::AddScaled, scale as f32, [a, b], a.dtype)
    }
    fn add_bias(&self, x: &Tensor, b: &Tensor) -> Tensor {
        bias::add(self, x, b)
    }
}

impl<R: Runtime> ConvTraining for Gpu<R> {
    fn conv2d_backward(
        &self,
        dy: &Tensor,
        x: &Tensor,
        p: &Conv2d<Tensor>,
        dp: &mut Conv2d<Tensor>,
    ) -> Tensor {
        backward_params(self, dy, x, dp);
        backward_input(self, dy, p)
    }
    fn conv2d_backward_params(&self, dy: &Tensor, x: &Tensor, dp: &mut Conv2d<Tensor>) {
        backward_params(self, dy, x, dp);
    }
    fn relu_backward(&self, dy: &Tensor, x: &Tensor) -> Tensor {
        elementwise::zip(self, Zip::ReluBackward, 1.0, [dy, x], dy.dtype)
    }
    fn max_pool2_backward(&self, dy: &Tensor, x: &Tensor) -> Tensor {
        pool::max_pool2_backward(self, dy, x)
    }
    fn upsample2_backward(&self, dy: &Tensor) -> Tensor {
        pool::upsample2_backward(self, dy)
    }
    fn scaled(&self, x: &Tensor, scale: f64) -> Tensor {
        elementwise::map(self, Map::Scale, scale as f32, x, x.dtype)
    }
    fn add_bias_backward(&self, dy: &Tensor, d_bias: &mut Tensor) {
        columns::add_column_sums(self, dy, d_bias);
    }
}
