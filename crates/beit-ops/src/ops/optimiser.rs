//! The optimiser's step.

use super::GradientOps;
use crate::plan::{Plan, Planned, is, same};
use alloc::vec::Vec;

/// Gradient clipping and AdamW.
pub trait OptimiserOps: GradientOps {
    /// `[norm, factor]` of `scale` times the gradients: the L2 norm of all of them together, and what to multiply a gradient
    /// with, `scale · min(1, max_norm / (norm + 1e-6))` (`scale` without a limit). The factor is not a number where the norm is
    /// not finite. With `scale` = 1 / rows, gradients of a sum over rows become those of the mean.
    fn clip_factor(&self, grads: &[&Self::Tensor], max_norm: Option<f32>, scale: f32) -> Self::Tensor;
    /// One step of AdamW with decoupled weight decay; `clip` is what [`clip_factor`](OptimiserOps::clip_factor) returned. Where
    /// its factor is not a number, parameter and moments stay as they are.
    fn adamw(
        &self,
        param: &mut Self::Tensor,
        grad: &Self::Tensor,
        moments: [&mut Self::Tensor; 2],
        clip: &Self::Tensor,
        hyper: &AdamW,
    );

    /// [`adamw`](OptimiserOps::adamw) for all parameters; the gradients are then cleared.
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

    /// Tells that these tensors will be passed over together, in this order: a device may move them next to each other.
    fn gather_in_memory(&self, tensors: Vec<&mut Self::Tensor>) {
        let _ = tensors;
    }
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

impl OptimiserOps for Plan {
    fn clip_factor(&self, _: &[&Planned], _: Option<f32>, _: f32) -> Planned {
        self.tensor([2])
    }
    fn adamw(
        &self,
        param: &mut Planned,
        grad: &Planned,
        [first, second]: [&mut Planned; 2],
        clip: &Planned,
        _: &AdamW,
    ) {
        same(param, grad);
        same(param, first);
        same(param, second);
        is(clip, [2]);
        self.changes(param);
    }
}
