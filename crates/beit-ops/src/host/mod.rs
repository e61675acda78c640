//! The CPU: fast in `f32`, the oracle of the gradients in `f64`.

mod activation;
mod array;
mod attention;
#[cfg(feature = "std")]
mod buffers;
#[cfg(feature = "std")]
mod cached;
mod conv;
mod cross_entropy;
mod embed;
mod layer_norm;
mod linear;
mod logit_laplace;
mod optimiser;
mod par;
mod pool;
mod posterior;
mod product;
mod real;
mod reduce;
mod residual;
mod rows;

pub use array::Array;
pub(crate) use conv::packed_elements;
pub use layer_norm::RowStats;
pub use real::Real;

use crate::ops::{
    AdamW, AttentionShape, DeviceError, Embeddings, GumbelNoise, Ops, QkvBias, QkvBiasGrad, Residual, Targets,
};
use crate::params::{Conv2d, Linear, Norm};
use crate::{Shape, host::array::array};
use alloc::vec::Vec;
use core::marker::PhantomData;

/// The CPU as a device, in the precision `F`.
///
/// Under the feature `std` it uses all cores of the current rayon pool; the number of threads never changes a bit of any
/// result.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Host<F> {
    products: product::Products,
    element: PhantomData<F>,
}

impl<F> Host<F> {
    /// The CPU.
    pub const fn new() -> Self {
        Self { products: product::Products::Exact, element: PhantomData }
    }
}

impl Host<f32> {
    /// The CPU with bf16 factors: matrix products round what they multiply to bf16 and add up in f32; all else is f32.
    ///
    /// Fast where the processor multiplies bf16 (`avx512_bf16`, and several times faster with `amx_bf16`), see
    /// [`has_bf16`](Host::has_bf16); elsewhere the same numbers to rounding, and no faster than f32.
    #[cfg(feature = "std")]
    pub const fn bf16() -> Self {
        Self { products: product::Products::Bf16, element: PhantomData }
    }

    /// Whether this processor has instructions for products of bf16.
    #[cfg(feature = "std")]
    pub fn has_bf16() -> bool {
        product::has_bf16()
    }
}

/// For the element types one by one: generic code would be compiled again in every crate that computes something.
macro_rules! implement {
    ($($F:ty),+) => {$(
        impl Ops for Host<$F> {
            type Tensor = Array<$F>;
            type Ids = Vec<u32>;
            type Stats = RowStats<$F>;
            /// The log-sum-exp of the scores, `[B, H, T]`.
            type Probs = Array<$F>;

            fn upload(&self, shape: impl Into<Shape>, data: &[f32]) -> Array<$F> {
                array(shape, data.iter().map(|&v| <$F>::from_f64(f64::from(v))).collect())
            }
            fn upload_ids(&self, ids: &[u32]) -> Vec<u32> {
                ids.to_vec()
            }
            fn read(&self, x: &Array<$F>) -> Result<Vec<f32>, DeviceError> {
                Ok(x.iter().map(|v| v.to_f64() as f32).collect())
            }
            fn read_ids(&self, ids: &Vec<u32>) -> Result<Vec<u32>, DeviceError> {
                Ok(ids.clone())
            }
            fn shape(&self, x: &Array<$F>) -> Shape {
                array::shape(x)
            }
            fn zeros(&self, shape: impl Into<Shape>) -> Array<$F> {
                array::zeros(shape)
            }
            fn reshape(&self, x: Array<$F>, shape: impl Into<Shape>) -> Array<$F> {
                array::reshape(x, shape)
            }
            fn clear(&self, x: &mut Array<$F>) {
                x.fill(<$F>::from_f64(0.0));
            }
            fn add_assign(&self, a: &mut Array<$F>, b: &Array<$F>) {
                residual::add_assign(a, b);
            }

            fn linear(&self, x: &Array<$F>, p: &Linear<Array<$F>>) -> Array<$F> {
                linear::forward(self.products, x, p)
            }
            fn linear_backward(
                &self,
                dy: &Array<$F>,
                x: &Array<$F>,
                p: &Linear<Array<$F>>,
                dp: &mut Linear<Array<$F>>,
            ) -> Array<$F> {
                linear::backward_params(self.products, dy, x, dp);
                linear::backward_input(self.products, dy, p, x)
            }
            fn linear_backward_params(&self, dy: &Array<$F>, x: &Array<$F>, dp: &mut Linear<Array<$F>>) {
                linear::backward_params(self.products, dy, x, dp);
            }

            fn layer_norm(&self, x: &Array<$F>, p: &Norm<Array<$F>>, eps: f64) -> (Array<$F>, RowStats<$F>) {
                layer_norm::forward(x, p, eps)
            }
            fn layer_norm_backward(
                &self,
                dy: &Array<$F>,
                x: &Array<$F>,
                p: &Norm<Array<$F>>,
                stats: &RowStats<$F>,
                dp: &mut Norm<Array<$F>>,
            ) -> Array<$F> {
                layer_norm::backward(dy, x, p, stats, dp, None)
            }

            fn gelu(&self, x: &Array<$F>) -> Array<$F> {
                activation::gelu(x)
            }
            fn gelu_backward(&self, dy: &Array<$F>, x: &Array<$F>) -> Array<$F> {
                activation::gelu_backward(dy, x)
            }
            fn relu(&self, x: &Array<$F>) -> Array<$F> {
                activation::relu(x)
            }
            fn relu_backward(&self, dy: &Array<$F>, x: &Array<$F>) -> Array<$F> {
                activation::relu_backward(dy, x)
            }

            fn attention(
                &self,
                qkv: &Array<$F>,
                bias: &QkvBias<'_, Array<$F>>,
                shape: AttentionShape,
            ) -> (Array<$F>, Array<$F>) {
                attention::forward(self.products, qkv, bias, shape)
            }
            fn attention_backward(
                &self,
                d_context: &Array<$F>,
                qkv: &Array<$F>,
                bias: &QkvBias<'_, Array<$F>>,
                lse: &Array<$F>,
                shape: AttentionShape,
                d_bias: &mut QkvBiasGrad<'_, Array<$F>>,
            ) -> Array<$F> {
                attention::backward(self.products, [d_context, qkv, lse], bias, shape, d_bias)
            }

            fn scale_residual(&self, x: &Array<$F>, branch: &Array<$F>, scale: &Residual<'_, Array<$F>>) -> Array<$F> {
                residual::forward(x, branch, scale)
            }
            fn scale_residual_backward(
                &self,
                dy: &Array<$F>,
                branch: &Array<$F>,
                scale: &Residual<'_, Array<$F>>,
                d_gamma: Option<&mut Array<$F>>,
            ) -> Array<$F> {
                residual::backward(dy, branch, scale, d_gamma)
            }

            fn patchify(&self, images: &Array<$F>, patch: [usize; 2]) -> Array<$F> {
                embed::patchify(images, patch)
            }
            fn embed(
                &self,
                patches: &Array<$F>,
                p: &Embeddings<Array<$F>>,
                mask: Option<&Array<$F>>,
                tokens: usize,
            ) -> Array<$F> {
                embed::forward(patches, p, mask, tokens)
            }
            fn embed_backward(
                &self,
                d_tokens: &Array<$F>,
                mask: Option<&Array<$F>>,
                tokens: usize,
                dp: &mut Embeddings<Array<$F>>,
            ) -> Array<$F> {
                embed::backward(d_tokens, mask, tokens, dp)
            }

            fn gather_rows(&self, x: &Array<$F>, rows: &Vec<u32>) -> Array<$F> {
                rows::gather(x, rows)
            }
            fn gather_rows_backward(&self, dy: &Array<$F>, rows: &Vec<u32>, m: usize) -> Array<$F> {
                rows::gather_backward(dy, rows, m)
            }
            fn mean_pool(&self, x: &Array<$F>, tokens: usize) -> Array<$F> {
                rows::mean_pool(x, tokens)
            }
            fn mean_pool_backward(&self, dy: &Array<$F>, tokens: usize) -> Array<$F> {
                rows::mean_pool_backward(dy, tokens)
            }
            fn argmax_rows(&self, x: &Array<$F>) -> Vec<u32> {
                rows::argmax(x)
            }

            fn cross_entropy(&self, logits: &Array<$F>, targets: &Targets<'_, Self>) -> (Array<$F>, Array<$F>) {
                cross_entropy::forward(logits, targets)
            }
            fn cross_entropy_backward(
                &self,
                logits: &Array<$F>,
                targets: &Targets<'_, Self>,
                lse: &Array<$F>,
                scale: f32,
            ) -> Array<$F> {
                cross_entropy::backward(logits, targets, lse, scale)
            }

            fn channels_last(&self, x: &Array<$F>) -> Array<$F> {
                conv::channels_last(x)
            }
            fn conv2d(&self, x: &Array<$F>, p: &Conv2d<Array<$F>>) -> Array<$F> {
                conv::forward(self.products, x, p)
            }
            fn conv2d_backward(
                &self,
                dy: &Array<$F>,
                x: &Array<$F>,
                p: &Conv2d<Array<$F>>,
                dp: &mut Conv2d<Array<$F>>,
            ) -> Array<$F> {
                conv::backward_params(self.products, dy, x, dp);
                conv::backward_input(self.products, dy, p)
            }
            fn conv2d_backward_params(&self, dy: &Array<$F>, x: &Array<$F>, dp: &mut Conv2d<Array<$F>>) {
                conv::backward_params(self.products, dy, x, dp);
            }
            fn max_pool2(&self, x: &Array<$F>) -> Array<$F> {
                pool::max_pool2(x)
            }
            fn max_pool2_backward(&self, dy: &Array<$F>, x: &Array<$F>) -> Array<$F> {
                pool::max_pool2_backward(dy, x)
            }
            fn upsample2(&self, x: &Array<$F>) -> Array<$F> {
                pool::upsample2(x)
            }
            fn upsample2_backward(&self, dy: &Array<$F>) -> Array<$F> {
                pool::upsample2_backward(dy)
            }
            fn add_scaled(&self, a: &Array<$F>, b: &Array<$F>, scale: f64) -> Array<$F> {
                residual::add_scaled(a, b, scale)
            }
            fn scaled(&self, x: &Array<$F>, scale: f64) -> Array<$F> {
                residual::scaled(x, scale)
            }

            fn gumbel_softmax(&self, logits: &Array<$F>, noise: GumbelNoise, tau: f64) -> Array<$F> {
                posterior::gumbel_softmax(logits, noise, tau)
            }
            fn gumbel_softmax_backward(&self, dy: &Array<$F>, y: &Array<$F>, tau: f64) -> Array<$F> {
                posterior::gumbel_softmax_backward(dy, y, tau)
            }
            fn posterior_kl(&self, logits: &Array<$F>) -> (Array<$F>, [Array<$F>; 2]) {
                posterior::kl(logits)
            }
            fn posterior_kl_backward(&self, saved: &[Array<$F>; 2], weights: [f64; 2]) -> Array<$F> {
                posterior::kl_backward(saved, weights)
            }
            fn logit_laplace(&self, params: &Array<$F>, x: &Array<$F>) -> Array<$F> {
                logit_laplace::forward(params, x)
            }
            fn logit_laplace_backward(&self, params: &Array<$F>, x: &Array<$F>) -> Array<$F> {
                logit_laplace::backward(params, x)
            }

            fn clip_factor(&self, grads: &[&Array<$F>], max_norm: Option<f32>, scale: f32) -> Array<$F> {
                optimiser::clip_factor(grads, max_norm, scale)
            }
            fn adamw(
                &self,
                param: &mut Array<$F>,
                grad: &Array<$F>,
                moments: [&mut Array<$F>; 2],
                clip: &Array<$F>,
                hyper: &AdamW,
            ) {
                optimiser::adamw(param, grad, moments, clip, hyper);
            }

            fn scale_residual_norm(
                &self,
                x: &Array<$F>,
                branch: &Array<$F>,
                scale: &Residual<'_, Array<$F>>,
                p: &Norm<Array<$F>>,
                eps: f64,
            ) -> (Array<$F>, Array<$F>, RowStats<$F>) {
                residual::forward_norm(x, branch, scale, p, eps)
            }
            fn layer_norm_backward_residual(
                &self,
                d_normed: &Array<$F>,
                x: &Array<$F>,
                p: &Norm<Array<$F>>,
                stats: &RowStats<$F>,
                dp: &mut Norm<Array<$F>>,
                dy: &Array<$F>,
            ) -> Array<$F> {
                layer_norm::backward(d_normed, x, p, stats, dp, Some(dy))
            }

            fn adamw_all(
                &self,
                params: Vec<&mut Array<$F>>,
                grads: Vec<&mut Array<$F>>,
                moments: Vec<[&mut Array<$F>; 2]>,
                clip: &Array<$F>,
                hyper: &[AdamW],
            ) {
                for (((param, grad), moments), hyper) in params.into_iter().zip(grads).zip(moments).zip(hyper) {
                    optimiser::adamw_and_clear(param, grad, moments, clip, hyper);
                }
            }

            fn linear_gelu(&self, x: &Array<$F>, p: &Linear<Array<$F>>) -> (Array<$F>, Array<$F>) {
                linear::forward_gelu(self.products, x, p)
            }
            fn linear_gelu_infer(&self, x: &Array<$F>, p: &Linear<Array<$F>>) -> Array<$F> {
                linear::infer_gelu(self.products, x, p)
            }
            fn linear_gelu_backward(
                &self,
                dy: &Array<$F>,
                [pre, act]: [&Array<$F>; 2],
                p: &Linear<Array<$F>>,
                dp: &mut Linear<Array<$F>>,
            ) -> Array<$F> {
                linear::backward_params(self.products, dy, act, dp);
                linear::backward_input_gelu(self.products, dy, p, pre)
            }
        }
    )+};
}
implement!(f32, f64);
