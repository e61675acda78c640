//! The operations, each handed to the file of its kernels.

use crate::arena;
use crate::gpu::Gpu;
use crate::kernels::elementwise::{self, Map, Zip};
use crate::kernels::{
    attention, conv, cross_entropy, embed, layer_norm, linear, logit_laplace, move_rows, optimiser, pool,
    posterior, residual, residual_norm,
};
use crate::tensor::{Dtype, Ids, Probs, Tensor};
use beit_ops::{
    AdamW, AttentionShape, Conv2d, DeviceError, Embeddings, GumbelNoise, Linear, Norm, Ops, QkvBias,
    QkvBiasGrad, Residual, Shape, Targets,
};
use cubecl::prelude::Runtime;

impl<R: Runtime> Ops for Gpu<R> {
    type Tensor = Tensor;
    type Ids = Ids;
    /// `[2, M]`: means, then reciprocal deviations; f32.
    type Stats = Tensor;
    type Probs = Probs;

    fn upload(&self, shape: impl Into<Shape>, data: &[f32]) -> Tensor {
        self.upload_f32(shape, data)
    }
    fn upload_ids(&self, ids: &[u32]) -> Ids {
        self.upload_u32(ids)
    }
    fn read(&self, x: &Tensor) -> Result<Vec<f32>, DeviceError> {
        self.download(x)
    }
    fn read_ids(&self, ids: &Ids) -> Result<Vec<u32>, DeviceError> {
        self.download_ids(ids)
    }
    fn shape(&self, x: &Tensor) -> Shape {
        x.shape
    }
    fn zeros(&self, shape: impl Into<Shape>) -> Tensor {
        let x = self.empty(shape, Dtype::F32);
        elementwise::set(self, &x, 0.0);
        x
    }
    fn reshape(&self, x: Tensor, shape: impl Into<Shape>) -> Tensor {
        x.reshaped(shape)
    }
    fn clear(&self, x: &mut Tensor) {
        elementwise::clear(self, x);
    }
    fn add_assign(&self, a: &mut Tensor, b: &Tensor) {
        elementwise::add_assign(self, a, b);
    }

    fn linear(&self, x: &Tensor, p: &Linear<Tensor>) -> Tensor {
        linear::forward(self, x, p)
    }
    fn linear_backward(
        &self,
        dy: &Tensor,
        x: &Tensor,
        p: &Linear<Tensor>,
        dp: &mut Linear<Tensor>,
    ) -> Tensor {
        linear::backward_params(self, dy, x, dp);
        linear::backward_input(self, dy, x, p)
    }
    fn linear_backward_params(&self, dy: &Tensor, x: &Tensor, dp: &mut Linear<Tensor>) {
        linear::backward_params(self, dy, x, dp);
    }

    fn layer_norm(&self, x: &Tensor, p: &Norm<Tensor>, eps: f64) -> (Tensor, Tensor) {
        layer_norm::forward(self, x, p, eps)
    }
    fn layer_norm_backward(
        &self,
        dy: &Tensor,
        x: &Tensor,
        p: &Norm<Tensor>,
        stats: &Tensor,
        dp: &mut Norm<Tensor>,
    ) -> Tensor {
        layer_norm::backward(self, dy, x, p, stats, dp, None)
    }

    fn gelu(&self, x: &Tensor) -> Tensor {
        elementwise::map(self, Map::Gelu, 1.0, x, x.dtype)
    }
    fn gelu_backward(&self, dy: &Tensor, x: &Tensor) -> Tensor {
        elementwise::zip(self, Zip::GeluBackward, 1.0, [dy, x], dy.dtype)
    }
    fn relu(&self, x: &Tensor) -> Tensor {
        elementwise::map(self, Map::Relu, 1.0, x, x.dtype)
    }
    fn relu_backward(&self, dy: &Tensor, x: &Tensor) -> Tensor {
        elementwise::zip(self, Zip::ReluBackward, 1.0, [dy, x], dy.dtype)
    }

    fn attention(&self, qkv: &Tensor, bias: &QkvBias<'_, Tensor>, shape: AttentionShape) -> (Tensor, Probs) {
        attention::forward(self, qkv, bias, shape)
    }
    fn attention_backward(
        &self,
        d_context: &Tensor,
        qkv: &Tensor,
        bias: &QkvBias<'_, Tensor>,
        probs: &Probs,
        shape: AttentionShape,
        d_bias: &mut QkvBiasGrad<'_, Tensor>,
    ) -> Tensor {
        attention::backward(self, d_context, qkv, bias, probs, shape, d_bias)
    }

    fn scale_residual(&self, x: &Tensor, branch: &Tensor, scale: &Residual<'_, Tensor>) -> Tensor {
        residual::forward(self, x, branch, scale)
    }
    fn scale_residual_backward(
        &self,
        dy: &Tensor,
        branch: &Tensor,
        scale: &Residual<'_, Tensor>,
        d_gamma: Option<&mut Tensor>,
    ) -> Tensor {
        residual::backward(self, dy, branch, scale, d_gamma)
    }

    fn patchify(&self, images: &Tensor, patch: [usize; 2]) -> Tensor {
        embed::patchify(self, images, patch)
    }
    fn embed(
        &self,
        patches: &Tensor,
        p: &Embeddings<Tensor>,
        mask: Option<&Tensor>,
        tokens: usize,
    ) -> Tensor {
        embed::forward(self, patches, p, mask, tokens)
    }
    fn embed_backward(
        &self,
        d_tokens: &Tensor,
        mask: Option<&Tensor>,
        tokens: usize,
        dp: &mut Embeddings<Tensor>,
    ) -> Tensor {
        embed::backward(self, d_tokens, mask, tokens, dp)
    }

    fn gather_rows(&self, x: &Tensor, rows: &Ids) -> Tensor {
        move_rows::gather(self, x, rows)
    }
    fn gather_rows_backward(&self, dy: &Tensor, rows: &Ids, m: usize) -> Tensor {
        move_rows::gather_backward(self, dy, rows, m)
    }
    fn mean_pool(&self, x: &Tensor, tokens: usize) -> Tensor {
        move_rows::mean_pool(self, x, tokens)
    }
    fn mean_pool_backward(&self, dy: &Tensor, tokens: usize) -> Tensor {
        move_rows::mean_pool_backward(self, dy, tokens)
    }

    fn cross_entropy(&self, logits: &Tensor, targets: &Targets<'_, Self>) -> (Tensor, Tensor) {
        cross_entropy::forward(self, logits, targets)
    }
    fn cross_entropy_backward(
        &self,
        logits: &Tensor,
        targets: &Targets<'_, Self>,
        lse: &Tensor,
        scale: f32,
    ) -> Tensor {
        cross_entropy::backward(self, logits, targets, lse, scale)
    }
    fn argmax_rows(&self, x: &Tensor) -> Ids {
        cross_entropy::argmax_rows(self, x)
    }

    fn channels_last(&self, x: &Tensor) -> Tensor {
        conv::channels_last(self, x)
    }
    fn conv2d(&self, x: &Tensor, p: &Conv2d<Tensor>) -> Tensor {
        conv::forward(self, x, p)
    }
    fn conv2d_backward(
        &self,
        dy: &Tensor,
        x: &Tensor,
        p: &Conv2d<Tensor>,
        dp: &mut Conv2d<Tensor>,
    ) -> Tensor {
        conv::backward_params(self, dy, x, dp);
        conv::backward_input(self, dy, p)
    }
    fn conv2d_backward_params(&self, dy: &Tensor, x: &Tensor, dp: &mut Conv2d<Tensor>) {
        conv::backward_params(self, dy, x, dp);
    }
    fn max_pool2(&self, x: &Tensor) -> Tensor {
        pool::max_pool2(self, x)
    }
    fn max_pool2_backward(&self, dy: &Tensor, x: &Tensor) -> Tensor {
        pool::max_pool2_backward(self, dy, x)
    }
    fn upsample2(&self, x: &Tensor) -> Tensor {
        pool::upsample2(self, x)
    }
    fn upsample2_backward(&self, dy: &Tensor) -> Tensor {
        pool::upsample2_backward(self, dy)
    }
    fn add_scaled(&self, a: &Tensor, b: &Tensor, scale: f64) -> Tensor {
        elementwise::zip(self, Zip::AddScaled, scale as f32, [a, b], a.dtype)
    }
    fn scaled(&self, x: &Tensor, scale: f64) -> Tensor {
        elementwise::map(self, Map::Scale, scale as f32, x, x.dtype)
    }

    fn gumbel_softmax(&self, logits: &Tensor, noise: GumbelNoise, tau: f64) -> Tensor {
        posterior::gumbel_softmax(self, logits, noise, tau)
    }
    fn gumbel_softmax_backward(&self, dy: &Tensor, y: &Tensor, tau: f64) -> Tensor {
        posterior::gumbel_softmax_backward(self, dy, y, tau)
    }
    fn posterior_kl(&self, logits: &Tensor) -> (Tensor, [Tensor; 2]) {
        posterior::kl(self, logits)
    }
    fn posterior_kl_backward(&self, saved: &[Tensor; 2], weights: [f64; 2]) -> Tensor {
        posterior::kl_backward(self, saved, weights)
    }
    fn logit_laplace(&self, params: &Tensor, x: &Tensor) -> Tensor {
        logit_laplace::forward(self, params, x)
    }
    fn logit_laplace_backward(&self, params: &Tensor, x: &Tensor) -> Tensor {
        logit_laplace::backward(self, params, x)
    }

    fn clip_factor(&self, grads: &[&Tensor], max_norm: Option<f32>, scale: f32) -> Tensor {
        optimiser::clip_factor(self, grads, max_norm, scale)
    }
    fn adamw(
        &self,
        param: &mut Tensor,
        grad: &Tensor,
        moments: [&mut Tensor; 2],
        clip: &Tensor,
        hyper: &AdamW,
    ) {
        optimiser::adamw(self, param, grad, moments, clip, hyper);
    }

    fn gather_in_memory(&self, tensors: Vec<&mut Tensor>) {
        arena::gather(self, tensors);
    }
    fn adamw_all(
        &self,
        params: Vec<&mut Tensor>,
        grads: Vec<&mut Tensor>,
        moments: Vec<[&mut Tensor; 2]>,
        clip: &Tensor,
        hyper: &[AdamW],
    ) {
        optimiser::adamw_all(self, params, grads, moments, clip, hyper);
    }

    fn linear_gelu(&self, x: &Tensor, p: &Linear<Tensor>) -> (Tensor, Tensor) {
        linear::forward_gelu(self, x, p)
    }

    fn linear_gelu_infer(&self, x: &Tensor, p: &Linear<Tensor>) -> Tensor {
        linear::infer_gelu(self, x, p)
    }

    fn linear_gelu_backward(
        &self,
        dy: &Tensor,
        [pre, act]: [&Tensor; 2],
        p: &Linear<Tensor>,
        dp: &mut Linear<Tensor>,
    ) -> Tensor {
        linear::backward_params(self, dy, act, dp);
        linear::backward_gelu(self, dy, pre, p)
    }

    fn scale_residual_norm(
        &self,
        x: &Tensor,
        branch: &Tensor,
        scale: &Residual<'_, Tensor>,
        p: &Norm<Tensor>,
        eps: f64,
    ) -> (Tensor, Tensor, Tensor) {
        residual_norm::forward(self, x, branch, scale, p, eps)
    }
    fn layer_norm_backward_residual(
        &self,
        d_normed: &Tensor,
        x: &Tensor,
        p: &Norm<Tensor>,
        stats: &Tensor,
        dp: &mut Norm<Tensor>,
        dy: &Tensor,
    ) -> Tensor {
        layer_norm::backward(self, d_normed, x, p, stats, dp, Some(dy))
    }
}
