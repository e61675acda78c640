//! What a device must be able to do, and nothing more.
//!
//! Dimensions: B images, N patches, T = N + 1 tokens, C channels, H heads, D head size, M rows, V classes or visual tokens.
//! Feature maps of convolutions are channels-last, `[B, height, width, C]`, so that a 1x1 convolution is a linear map.
//!
//! A backward operation *adds* to parameter gradients and *returns* activation gradients.

use crate::Shape;
use crate::params::{Conv2d, Linear, Norm};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// A device: layer-sized operations in pairs, each forward beside its backward.
///
/// Launches return nothing; what went wrong on a device surfaces at [`read`](Ops::read). Wrong shapes are bugs of the
/// caller: [`Plan`](crate::Plan) finds them without data, and the other devices may panic.
pub trait Ops {
    /// A tensor on the device. Shape and element type travel inside.
    type Tensor: Clone;
    /// Unsigned integers on the device: row numbers, classes, visual tokens.
    type Ids: Clone;
    /// What [`layer_norm`](Ops::layer_norm) keeps: mean and reciprocal deviation per row.
    type Stats;
    /// What [`attention`](Ops::attention) keeps of the softmax.
    type Probs;

    // ----- transfer ----------------------------------------------------------------------------------------------

    /// Copies `data` (row-major) to the device.
    fn upload(&self, shape: impl Into<Shape>, data: &[f32]) -> Self::Tensor;
    /// Copies integers to the device.
    fn upload_ids(&self, ids: &[u32]) -> Self::Ids;
    /// Copies a tensor from the device, row-major.
    fn read(&self, x: &Self::Tensor) -> Result<Vec<f32>, DeviceError>;
    /// Copies integers from the device.
    fn read_ids(&self, ids: &Self::Ids) -> Result<Vec<u32>, DeviceError>;
    /// The shape of a tensor.
    fn shape(&self, x: &Self::Tensor) -> Shape;
    /// A tensor of zeros.
    fn zeros(&self, shape: impl Into<Shape>) -> Self::Tensor;
    /// The same elements under another shape.
    fn reshape(&self, x: Self::Tensor, shape: impl Into<Shape>) -> Self::Tensor;
    /// Sets every element to zero.
    fn clear(&self, x: &mut Self::Tensor);
    /// `a += b`
    fn add_assign(&self, a: &mut Self::Tensor, b: &Self::Tensor);

    // ----- the transformer ---------------------------------------------------------------------------------------

    /// `x [M, C] · weight [N, C]ᵀ + bias [N] -> y [M, N]`
    fn linear(&self, x: &Self::Tensor, p: &Linear<Self::Tensor>) -> Self::Tensor;
    /// Returns `dx [M, C]`.
    fn linear_backward(
        &self,
        dy: &Self::Tensor,
        x: &Self::Tensor,
        p: &Linear<Self::Tensor>,
        dp: &mut Linear<Self::Tensor>,
    ) -> Self::Tensor;
    /// [`linear_backward`](Ops::linear_backward) where nobody needs `dx`: the first layer of a model.
    fn linear_backward_params(&self, dy: &Self::Tensor, x: &Self::Tensor, dp: &mut Linear<Self::Tensor>);

    /// `(x - mean) / sqrt(var + eps) · weight + bias` over each row of `x [M, C]`.
    fn layer_norm(&self, x: &Self::Tensor, p: &Norm<Self::Tensor>, eps: f64) -> (Self::Tensor, Self::Stats);
    /// Returns `dx [M, C]`.
    fn layer_norm_backward(
        &self,
        dy: &Self::Tensor,
        x: &Self::Tensor,
        p: &Norm<Self::Tensor>,
        stats: &Self::Stats,
        dp: &mut Norm<Self::Tensor>,
    ) -> Self::Tensor;

    /// `x Φ(x) = x/2 · (1 + erf(x/√2))`, the exact form.
    fn gelu(&self, x: &Self::Tensor) -> Self::Tensor;
    /// `dx = dy · (Φ(x) + x φ(x))`
    fn gelu_backward(&self, dy: &Self::Tensor, x: &Self::Tensor) -> Self::Tensor;

    /// `max(x, 0)`
    fn relu(&self, x: &Self::Tensor) -> Self::Tensor;
    /// `dx = dy` where `x > 0`, else 0.
    fn relu_backward(&self, dy: &Self::Tensor, x: &Self::Tensor) -> Self::Tensor;

    /// Multi-head self-attention between the two projections: `qkv [B·T, 3C] -> context [B·T, C]`.
    ///
    /// Rows of `qkv` are `q | k | v`, each H heads of D. `softmax((q + q_bias) D^-1/2 · kᵀ + R) · (v + v_bias)`, where
    /// `R [H, T, T]` is read from the relative position tables; two tables add up. The key has no bias.
    fn attention(
        &self,
        qkv: &Self::Tensor,
        bias: &QkvBias<'_, Self::Tensor>,
        shape: AttentionShape,
    ) -> (Self::Tensor, Self::Probs);
    /// Returns `d_qkv [B·T, 3C]`.
    fn attention_backward(
        &self,
        d_context: &Self::Tensor,
        qkv: &Self::Tensor,
        bias: &QkvBias<'_, Self::Tensor>,
        probs: &Self::Probs,
        shape: AttentionShape,
        d_bias: &mut QkvBiasGrad<'_, Self::Tensor>,
    ) -> Self::Tensor;

    /// `y = x + keep_b · gamma ⊙ branch`, all `[M, C]`; `keep_b` belongs to the image the row is part of.
    fn scale_residual(
        &self,
        x: &Self::Tensor,
        branch: &Self::Tensor,
        scale: &Residual<'_, Self::Tensor>,
    ) -> Self::Tensor;
    /// Returns `d_branch [M, C]`; `dx` is `dy` itself.
    fn scale_residual_backward(
        &self,
        dy: &Self::Tensor,
        branch: &Self::Tensor,
        scale: &Residual<'_, Self::Tensor>,
        d_gamma: Option<&mut Self::Tensor>,
    ) -> Self::Tensor;

    /// `images [B, 3, height, width] -> patches [B·N, 3·h·w]`, patches row-major, elements in the order (channel, y, x).
    fn patchify(&self, images: &Self::Tensor, patch: [usize; 2]) -> Self::Tensor;

    /// `patches [B·N, C] -> tokens [B·T, C]`: masked patches become the mask token, \[CLS\] goes in front of each image,
    /// positions are added last. `mask [B, N]` is 1 where a patch is masked, else 0.
    fn embed(
        &self,
        patches: &Self::Tensor,
        p: &Embeddings<Self::Tensor>,
        mask: Option<&Self::Tensor>,
        tokens: usize,
    ) -> Self::Tensor;
    /// Returns `d_patches [B·N, C]`.
    fn embed_backward(
        &self,
        d_tokens: &Self::Tensor,
        mask: Option<&Self::Tensor>,
        tokens: usize,
        dp: &mut Embeddings<Self::Tensor>,
    ) -> Self::Tensor;

    /// `x [M, C] -> y [rows, C]`: the named rows.
    fn gather_rows(&self, x: &Self::Tensor, rows: &Self::Ids) -> Self::Tensor;
    /// Returns `dx [M, C]`, zero in the rows that were not named; no row is named twice.
    fn gather_rows_backward(&self, dy: &Self::Tensor, rows: &Self::Ids, m: usize) -> Self::Tensor;

    /// `x [B·T, C] -> y [B, C]`: the mean of each image's patch tokens, \[CLS\] left out.
    fn mean_pool(&self, x: &Self::Tensor, tokens: usize) -> Self::Tensor;
    /// Returns `dx [B·T, C]`.
    fn mean_pool_backward(&self, dy: &Self::Tensor, tokens: usize) -> Self::Tensor;

    // ----- losses ------------------------------------------------------------------------------------------------

    /// `logits [M, V] -> ([mean loss, rows whose largest logit is the target's], log-sum-exp [M])`
    fn cross_entropy(
        &self,
        logits: &Self::Tensor,
        targets: &Targets<'_, Self>,
    ) -> (Self::Tensor, Self::Tensor);
    /// Returns `d_logits [M, V]` of `scale` times the mean loss.
    fn cross_entropy_backward(
        &self,
        logits: &Self::Tensor,
        targets: &Targets<'_, Self>,
        lse: &Self::Tensor,
        scale: f32,
    ) -> Self::Tensor;

    /// The column of the largest element of each row of `x [M, V]`; the first of equals.
    fn argmax_rows(&self, x: &Self::Tensor) -> Self::Ids;

    // ----- the tokenizer -----------------------------------------------------------------------------------------

    /// `[B, C, height, width] -> [B, height, width, C]`
    fn channels_last(&self, x: &Self::Tensor) -> Self::Tensor;

    /// `x [B, h, w, I] -> y [B, h, w, O]`, stride 1, zero padding `(k-1)/2`.
    fn conv2d(&self, x: &Self::Tensor, p: &Conv2d<Self::Tensor>) -> Self::Tensor;
    /// Returns `dx [B, h, w, I]`.
    fn conv2d_backward(
        &self,
        dy: &Self::Tensor,
        x: &Self::Tensor,
        p: &Conv2d<Self::Tensor>,
        dp: &mut Conv2d<Self::Tensor>,
    ) -> Self::Tensor;
    /// [`conv2d_backward`](Ops::conv2d_backward) where nobody needs `dx`.
    fn conv2d_backward_params(&self, dy: &Self::Tensor, x: &Self::Tensor, dp: &mut Conv2d<Self::Tensor>);

    /// `x [B, h, w, C] -> y [B, h/2, w/2, C]`: the largest of each 2x2 square; `h` and `w` are even.
    fn max_pool2(&self, x: &Self::Tensor) -> Self::Tensor;
    /// Returns `dx [B, h, w, C]`; the first of equals takes the gradient.
    fn max_pool2_backward(&self, dy: &Self::Tensor, x: &Self::Tensor) -> Self::Tensor;

    /// `x [B, h, w, C] -> y [B, 2h, 2w, C]`: every element four times (nearest neighbour).
    fn upsample2(&self, x: &Self::Tensor) -> Self::Tensor;
    /// Returns `dx [B, h, w, C]`.
    fn upsample2_backward(&self, dy: &Self::Tensor) -> Self::Tensor;

    /// `y = a + scale · b`, the residual sum of the dVAE (its post gain).
    fn add_scaled(&self, a: &Self::Tensor, b: &Self::Tensor, scale: f64) -> Self::Tensor;
    /// `scale · x`, the gradient of `b` in [`add_scaled`](Ops::add_scaled).
    fn scaled(&self, x: &Self::Tensor, scale: f64) -> Self::Tensor;

    /// `softmax((logits + g) / tau)` over each row of `logits [M, V]`, `g` standard Gumbel noise.
    fn gumbel_softmax(&self, logits: &Self::Tensor, noise: GumbelNoise, tau: f64) -> Self::Tensor;
    /// `y` is what the forward returned. Returns `d_logits [M, V]`.
    fn gumbel_softmax_backward(&self, dy: &Self::Tensor, y: &Self::Tensor, tau: f64) -> Self::Tensor;

    /// Two divergences from the uniform distribution over V, in nats, of the posteriors `q = softmax(logits [M, V])`:
    /// `[mean over rows of KL(q_m ‖ U), KL(mean of q_m ‖ U)]`. Also returns `q [M, V]` and its mean `[V]`.
    fn posterior_kl(&self, logits: &Self::Tensor) -> (Self::Tensor, [Self::Tensor; 2]);
    /// Returns `d_logits [M, V]` of `weights[0] · KL of each + weights[1] · KL of the mean`.
    fn posterior_kl_backward(&self, saved: &[Self::Tensor; 2], weights: [f64; 2]) -> Self::Tensor;

    /// The logit-Laplace negative log-likelihood (arXiv 2102.12092, appendix A.3), averaged over all elements:
    /// `ln(2 b x (1-x)) + |logit(x) - mu| / b`, with `params [M, 2C] = mu | ln b` and pixels `x [M, C]` in (0, 1).
    /// Returns `[1]`.
    fn logit_laplace(&self, params: &Self::Tensor, x: &Self::Tensor) -> Self::Tensor;
    /// Returns `d_params [M, 2C]` of the mean.
    fn logit_laplace_backward(&self, params: &Self::Tensor, x: &Self::Tensor) -> Self::Tensor;

    // ----- the optimiser -----------------------------------------------------------------------------------------

    /// `[norm, factor]` of `scale` times the gradients: the L2 norm of all of them together, and what to multiply a gradient
    /// with, `scale · min(1, max_norm / (norm + 1e-6))` (`scale` without a limit). The factor is not a number where the norm is
    /// not finite. With `scale` = 1 / rows, gradients of a sum over rows become those of the mean.
    fn clip_factor(&self, grads: &[&Self::Tensor], max_norm: Option<f32>, scale: f32) -> Self::Tensor;
    /// One step of AdamW with decoupled weight decay; `clip` is what [`clip_factor`](Ops::clip_factor) returned. Where its
    /// factor is not a number, parameter and moments stay as they are.
    fn adamw(
        &self,
        param: &mut Self::Tensor,
        grad: &Self::Tensor,
        moments: [&mut Self::Tensor; 2],
        clip: &Self::Tensor,
        hyper: &AdamW,
    );

    // ----- fusions: the default is the definition, an override is only faster ------------------------------------

    /// Tells that these tensors will be passed over together, in this order: a device may move them next to each other.
    fn gather_in_memory(&self, tensors: Vec<&mut Self::Tensor>) {
        let _ = tensors;
    }

    /// [`adamw`](Ops::adamw) for all parameters; the gradients are then cleared.
    fn adamw_all(
        &self,
        params: Vec<&mut Self::Tensor>,
        grads: Vec<&mut Self::Tensor>,
        moments: Vec<[&mut Self::Tensor; 2]>,
        clip: &Self::Tensor,
        hyper: &[AdamW],
    ) {
        for (((param, grad), moments), hyper) in params.into_iter().zip(grads).zip(moments).zip(hyper) {
            self.adamw(param, grad, moments, clip, hyper);
            self.clear(grad);
        }
    }

    /// `(pre, gelu(pre))` with `pre = x Wᵀ + b`.
    fn linear_gelu(&self, x: &Self::Tensor, p: &Linear<Self::Tensor>) -> (Self::Tensor, Self::Tensor) {
        let pre = self.linear(x, p);
        let act = self.gelu(&pre);
        (pre, act)
    }

    /// [`linear_gelu`](Ops::linear_gelu) where no backward follows: `gelu(x Wᵀ + b)` alone.
    fn linear_gelu_infer(&self, x: &Self::Tensor, p: &Linear<Self::Tensor>) -> Self::Tensor {
        self.linear_gelu(x, p).1
    }

    /// [`linear_backward`](Ops::linear_backward) of a layer whose input was `act = gelu(pre)`: returns `d_pre`.
    fn linear_gelu_backward(
        &self,
        dy: &Self::Tensor,
        [pre, act]: [&Self::Tensor; 2],
        p: &Linear<Self::Tensor>,
        dp: &mut Linear<Self::Tensor>,
    ) -> Self::Tensor {
        let d_act = self.linear_backward(dy, act, p, dp);
        self.gelu_backward(&d_act, pre)
    }

    /// [`scale_residual`](Ops::scale_residual) and the [`layer_norm`](Ops::layer_norm) that follows it:
    /// `(y, norm(y), statistics of y)`.
    fn scale_residual_norm(
        &self,
        x: &Self::Tensor,
        branch: &Self::Tensor,
        scale: &Residual<'_, Self::Tensor>,
        p: &Norm<Self::Tensor>,
        eps: f64,
    ) -> (Self::Tensor, Self::Tensor, Self::Stats) {
        let y = self.scale_residual(x, branch, scale);
        let (normed, stats) = self.layer_norm(&y, p, eps);
        (y, normed, stats)
    }

    /// [`layer_norm_backward`](Ops::layer_norm_backward) plus the gradient `dy` that reaches `x` past the branch.
    #[allow(clippy::too_many_arguments)]
    fn layer_norm_backward_residual(
        &self,
        d_normed: &Self::Tensor,
        x: &Self::Tensor,
        p: &Norm<Self::Tensor>,
        stats: &Self::Stats,
        dp: &mut Norm<Self::Tensor>,
        dy: &Self::Tensor,
    ) -> Self::Tensor {
        let mut dx = self.layer_norm_backward(d_normed, x, p, stats, dp);
        self.add_assign(&mut dx, dy);
        dx
    }
}

/// How the rows of an attention belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    /// H
    pub heads: usize,
    /// T
    pub tokens: usize,
    /// Height and width of the patch grid, `T = height · width + 1`; read only when there is a relative position table.
    pub window: [usize; 2],
}

/// What attention adds to its inputs.
#[derive(Clone, Copy, Debug)]
pub struct QkvBias<'a, T> {
    /// `[C]`
    pub q: &'a T,
    /// `[C]`
    pub v: &'a T,
    /// The layer's relative position table `[R, H]`.
    pub table: Option<&'a T>,
    /// The relative position table `[R, H]` that all layers share.
    pub shared: Option<&'a T>,
}

/// The gradients of [`QkvBias`].
#[derive(Debug)]
pub struct QkvBiasGrad<'a, T> {
    /// `[C]`
    pub q: &'a mut T,
    /// `[C]`
    pub v: &'a mut T,
    /// `[R, H]`
    pub table: Option<&'a mut T>,
    /// `[R, H]`
    pub shared: Option<&'a mut T>,
}

/// What scales the branch of a residual sum.
#[derive(Clone, Copy, Debug)]
pub struct Residual<'a, T> {
    /// LayerScale `[C]`.
    pub gamma: Option<&'a T>,
    /// Drop path `[B]`: 0 for a dropped image, else `1 / (1 - rate)`.
    pub keep: Option<&'a T>,
}

crate::tree! {
    /// What turns patch embeddings into tokens.
    pub struct Embeddings {
        /// `[1, 1, C]`
        pub cls_token: T = leaf "cls_token" as ClassToken,
        /// `[1, 1, C]`
        pub mask_token: Option<T> = maybe_leaf "mask_token" as MaskToken,
        /// Absolute positions `[1, T, C]`, the \[CLS\] slot first.
        pub pos_embed: Option<T> = maybe_leaf "pos_embed" as Positions,
    }
}

/// What a row of logits should have been.
#[derive(Debug)]
pub enum Targets<'a, O: Ops + ?Sized> {
    /// One class a row; `smoothing` of the probability is spread evenly over all classes.
    Classes {
        /// `[M]`
        ids: &'a O::Ids,
        /// 0 to 1.
        smoothing: f32,
    },
    /// A distribution a row, `[M, V]`.
    Probabilities(&'a O::Tensor),
}

/// Which Gumbel noise: a position in the counter-based stream of [`philox`](crate::philox), equal on every device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GumbelNoise {
    /// The key.
    pub seed: u64,
    /// The optimiser step, or whatever else must draw anew.
    pub step: u64,
}

/// The settings of one AdamW step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate of this parameter in this step.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay, multiplied by the learning rate.
    pub weight_decay: f64,
    /// 1 in the first step.
    pub step: u64,
}

/// What a device reported: lost, out of memory, or a kernel that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceError(pub String);

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "device error: {}", self.0)
    }
}

impl core::error::Error for DeviceError {}
