//! Batch norm: channels of feature maps, normalised over a batch.

use super::{ConvOps, ConvTraining};
use crate::params::{Norm, Running};
use crate::plan::{Plan, Planned, is, same};

/// The share of a batch in the running statistics, the default of the released code and of PyTorch.
pub const BATCH_NORM_MOMENTUM: f64 = 0.1;

/// Batch norm by what is known from training.
pub trait BatchNormOps: ConvOps {
    /// `(x - mean) / sqrt(variance + eps) · weight + bias` for each channel of `x [..., C]`, with running statistics.
    fn batch_norm(
        &self,
        x: &Self::Tensor,
        p: &Norm<Self::Tensor>,
        running: &Running<Self::Tensor>,
        eps: f64,
    ) -> Self::Tensor;

    /// `relu(batch_norm(x))`
    fn batch_norm_relu(
        &self,
        x: &Self::Tensor,
        p: &Norm<Self::Tensor>,
        running: &Running<Self::Tensor>,
        eps: f64,
    ) -> Self::Tensor {
        self.relu(&self.batch_norm(x, p, running, eps))
    }
}

/// Batch norm by the batch itself, and its gradients.
pub trait BatchNormTraining: BatchNormOps + ConvTraining {
    /// `y = (x - mean) / sqrt(variance + eps) · weight + bias` with mean and biased variance of each channel of `x [..., C]`.
    /// Returns `y` and `[2, C]`, the means and the reciprocal standard deviations. The running statistics move towards those of the
    /// batch by [`BATCH_NORM_MOMENTUM`]; their variance is unbiased, and stays where `x` has one row.
    fn batch_norm_forward(
        &self,
        x: &Self::Tensor,
        p: &Norm<Self::Tensor>,
        running: &mut Running<Self::Tensor>,
        eps: f64,
    ) -> (Self::Tensor, Self::Tensor);

    /// The mirror of [`batch_norm_forward`](BatchNormTraining::batch_norm_forward); returns `dx`.
    fn batch_norm_backward(
        &self,
        dy: &Self::Tensor,
        x: &Self::Tensor,
        stats: &Self::Tensor,
        p: &Norm<Self::Tensor>,
        dp: &mut Norm<Self::Tensor>,
    ) -> Self::Tensor;

    /// `relu` of [`batch_norm_forward`](BatchNormTraining::batch_norm_forward).
    fn batch_norm_relu_forward(
        &self,
        x: &Self::Tensor,
        p: &Norm<Self::Tensor>,
        running: &mut Running<Self::Tensor>,
        eps: f64,
    ) -> (Self::Tensor, Self::Tensor) {
        let (y, stats) = self.batch_norm_forward(x, p, running, eps);
        (self.relu(&y), stats)
    }

    /// The mirror of [`batch_norm_relu_forward`](BatchNormTraining::batch_norm_relu_forward) from its input `x` and its output `y`:
    /// no gradient passes where `y` is zero.
    fn batch_norm_relu_backward(
        &self,
        dy: &Self::Tensor,
        [x, y]: [&Self::Tensor; 2],
        stats: &Self::Tensor,
        p: &Norm<Self::Tensor>,
        dp: &mut Norm<Self::Tensor>,
    ) -> Self::Tensor {
        let d_normed = self.relu_backward(dy, y);
        self.batch_norm_backward(&d_normed, x, stats, p, dp)
    }
}

impl BatchNormOps for Plan {
    fn batch_norm(&self, x: &Planned, p: &Norm<Planned>, running: &Running<Planned>, _: f64) -> Planned {
        for channels in [&p.weight, &p.bias, &running.mean, &running.variance] {
            is(channels, [x.last()]);
        }
        self.like(x, x.shape)
    }
    fn batch_norm_relu(
        &self,
        x: &Planned,
        p: &Norm<Planned>,
        running: &Running<Planned>,
        eps: f64,
    ) -> Planned {
        self.batch_norm(x, p, running, eps)
    }
}

impl BatchNormTraining for Plan {
    fn batch_norm_forward(
        &self,
        x: &Planned,
        p: &Norm<Planned>,
        running: &mut Running<Planned>,
        eps: f64,
    ) -> (Planned, Planned) {
        (self.batch_norm(x, p, running, eps), self.tensor([2, x.last()]))
    }
    fn batch_norm_backward(
        &self,
        dy: &Planned,
        x: &Planned,
        stats: &Planned,
        p: &Norm<Planned>,
        dp: &mut Norm<Planned>,
    ) -> Planned {
        same(dy, x);
        is(stats, [2, x.last()]);
        same(&p.weight, &dp.weight);
        same(&p.bias, &dp.bias);
        self.like(dy, x.shape)
    }
    fn batch_norm_relu_forward(
        &self,
        x: &Planned,
        p: &Norm<Planned>,
        running: &mut Running<Planned>,
        eps: f64,
    ) -> (Planned, Planned) {
        self.batch_norm_forward(x, p, running, eps)
    }
    fn batch_norm_relu_backward(
        &self,
        dy: &Planned,
        [x, y]: [&Planned; 2],
        stats: &Planned,
        p: &Norm<Planned>,
        dp: &mut Norm<Planned>,
    ) -> Planned {
        same(x, y);
        self.batch_norm_backward(dy, x, stats, p, dp)
    }
}
