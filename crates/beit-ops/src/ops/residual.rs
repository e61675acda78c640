//! The residual stream: the layer norm before a branch, and the scaled sum after it.

use super::{Device, GradientOps};
use crate::params::Norm;
use crate::plan::{Plan, Planned, is, same};

/// Layer norms and residual sums, forward.
pub trait ResidualOps: Device {
    /// `(x - mean) / sqrt(var + eps) · weight + bias` over each row of `x [M, C]`.
    fn layer_norm(&self, x: &Self::Tensor, p: &Norm<Self::Tensor>, eps: f64) -> Self::Tensor;

    /// `y = x + keep_b · gamma ⊙ branch`, all `[M, C]`; `keep_b` belongs to the image the row is part of.
    fn scale_residual(
        &self,
        x: &Self::Tensor,
        branch: &Self::Tensor,
        scale: &Residual<'_, Self::Tensor>,
    ) -> Self::Tensor;

    /// [`scale_residual`](ResidualOps::scale_residual) and the [`layer_norm`](ResidualOps::layer_norm) that follows it:
    /// `(y, norm(y))`.
    fn scale_residual_norm(
        &self,
        x: &Self::Tensor,
        branch: &Self::Tensor,
        scale: &Residual<'_, Self::Tensor>,
        p: &Norm<Self::Tensor>,
        eps: f64,
    ) -> (Self::Tensor, Self::Tensor) {
        let y = self.scale_residual(x, branch, scale);
        let normed = self.layer_norm(&y, p, eps);
        (y, normed)
    }
}

/// The forward that keeps statistics, and the gradients.
pub trait ResidualTraining: ResidualOps + GradientOps {
    /// What [`layer_norm_forward`](ResidualTraining::layer_norm_forward) keeps: mean and reciprocal deviation per row.
    type Stats;

    /// [`layer_norm`](ResidualOps::layer_norm) before a backward, with the statistics of `x`.
    fn layer_norm_forward(
        &self,
        x: &Self::Tensor,
        p: &Norm<Self::Tensor>,
        eps: f64,
    ) -> (Self::Tensor, Self::Stats);
    /// Returns `dx [M, C]`.
    fn layer_norm_backward(
        &self,
        dy: &Self::Tensor,
        x: &Self::Tensor,
        p: &Norm<Self::Tensor>,
        stats: &Self::Stats,
        dp: &mut Norm<Self::Tensor>,
    ) -> Self::Tensor;

    /// The mirror of [`scale_residual`](ResidualOps::scale_residual); returns `d_branch [M, C]`, and `dx` is `dy` itself. Adds to `into`.
    fn scale_residual_backward(
        &self,
        dy: &Self::Tensor,
        branch: &Self::Tensor,
        scale: &Residual<'_, Self::Tensor>,
        into: BranchGrads<'_, Self::Tensor>,
    ) -> Self::Tensor;

    /// [`scale_residual_norm`](ResidualOps::scale_residual_norm) before a backward: `(y, norm(y), statistics of y)`.
    fn scale_residual_norm_forward(
        &self,
        x: &Self::Tensor,
        branch: &Self::Tensor,
        scale: &Residual<'_, Self::Tensor>,
        p: &Norm<Self::Tensor>,
        eps: f64,
    ) -> (Self::Tensor, Self::Tensor, Self::Stats) {
        let y = self.scale_residual(x, branch, scale);
        let (normed, stats) = self.layer_norm_forward(&y, p, eps);
        (y, normed, stats)
    }
    /// [`layer_norm_backward`](ResidualTraining::layer_norm_backward) plus the gradient `dy` that reaches `x` past the branch.
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
    /// The mirror of [`scale_residual_norm_forward`](ResidualTraining::scale_residual_norm_forward): `(dx, d_branch)`, where `grads` are
    /// those that reach the norm and, past it, the sum. Adds to `dp` and `into`.
    fn scale_residual_norm_backward(
        &self,
        grads: SumNormGrads<'_, Self::Tensor>,
        given: &SumNorm<'_, Self::Tensor, Self::Stats>,
        dp: &mut Norm<Self::Tensor>,
        into: BranchGrads<'_, Self::Tensor>,
    ) -> (Self::Tensor, Self::Tensor) {
        let SumNorm { y, stats, branch, scale, norm } = given;
        let dx = self.layer_norm_backward_residual(grads.normed, y, norm, stats, dp, grads.y);
        let d_branch = self.scale_residual_backward(&dx, branch, scale, into);
        (dx, d_branch)
    }
}

/// What the backward of a residual sum and the norm after it is given, besides gradients.
#[derive(Debug)]
pub struct SumNorm<'a, T, S> {
    /// The sum `[M, C]`.
    pub y: &'a T,
    /// Of its rows.
    pub stats: &'a S,
    /// What was added `[M, C]`.
    pub branch: &'a T,
    /// What scaled it.
    pub scale: Residual<'a, T>,
    /// The norm of the sum.
    pub norm: &'a Norm<T>,
}

/// The gradients of a residual sum and of its norm, both `[M, C]`.
#[derive(Debug)]
pub struct SumNormGrads<'a, T> {
    /// Of the norm.
    pub normed: &'a T,
    /// Of the sum, by what reads it besides the norm.
    pub y: &'a T,
}

/// What scales the branch of a residual sum.
#[derive(Clone, Copy, Debug)]
pub struct Residual<'a, T> {
    /// LayerScale `[C]`.
    pub gamma: Option<&'a T>,
    /// Drop path `[B]`: 0 for a dropped image, else `1 / (1 - rate)`.
    pub keep: Option<&'a T>,
}

/// Where the gradients of what made and scaled a branch are added, `[C]` each.
#[derive(Debug)]
pub struct BranchGrads<'a, T> {
    /// Of LayerScale.
    pub gamma: Option<&'a mut T>,
    /// Of the bias of the layer whose result the branch is: the sums over rows of `d_branch`. None where there is no bias, or its
    /// gradient is made elsewhere.
    pub bias: Option<&'a mut T>,
}

impl ResidualOps for Plan {
    fn layer_norm(&self, x: &Planned, p: &Norm<Planned>, eps: f64) -> Planned {
        self.layer_norm_forward(x, p, eps).0
    }
    fn scale_residual(&self, x: &Planned, branch: &Planned, scale: &Residual<'_, Planned>) -> Planned {
        same(x, branch);
        if let Some(gamma) = scale.gamma {
            is(gamma, [x.last()]);
        }
        if let Some(keep) = scale.keep {
            assert!(x.rows().is_multiple_of(keep.last()), "{} images in {}", keep.shape, x.shape);
        }
        self.like(x, x.shape)
    }
}

impl ResidualTraining for Plan {
    type Stats = Planned;

    fn layer_norm_forward(&self, x: &Planned, p: &Norm<Planned>, _: f64) -> (Planned, Planned) {
        is(&p.weight, [x.last()]);
        is(&p.bias, [x.last()]);
        (self.activation(x.shape), self.tensor([2, x.rows()]))
    }
    fn layer_norm_backward(
        &self,
        dy: &Planned,
        x: &Planned,
        p: &Norm<Planned>,
        stats: &Planned,
        dp: &mut Norm<Planned>,
    ) -> Planned {
        same(dy, x);
        same(&p.weight, &dp.weight);
        is(stats, [2, x.rows()]);
        self.like(x, x.shape)
    }
    fn scale_residual_backward(
        &self,
        dy: &Planned,
        branch: &Planned,
        scale: &Residual<'_, Planned>,
        into: BranchGrads<'_, Planned>,
    ) -> Planned {
        same(dy, branch);
        assert_eq!(scale.gamma.map(|g| g.shape), into.gamma.map(|g| g.shape));
        let d_branch = self.like(branch, dy.shape);
        if let Some(bias) = into.bias {
            self.add_column_sums(&d_branch, bias);
        }
        d_branch
    }
}
