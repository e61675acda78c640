//! The terms of the tokenizer's loss, a relaxed evidence lower bound (arXiv 2102.12092, section 2.1).

use super::Device;
use crate::plan::{Plan, Planned, same};

/// The relaxed sample, the divergences of the posterior and the likelihood of the pixels.
pub trait ElboOps: Device {
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
}

/// Which Gumbel noise: a position in the counter-based stream of [`philox`](crate::philox), equal on every device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GumbelNoise {
    /// The key.
    pub seed: u64,
    /// The optimiser step, or whatever else must draw anew.
    pub step: u64,
}

impl ElboOps for Plan {
    fn gumbel_softmax(&self, logits: &Planned, _: GumbelNoise, _: f64) -> Planned {
        self.activation(logits.shape)
    }
    fn gumbel_softmax_backward(&self, dy: &Planned, y: &Planned, _: f64) -> Planned {
        same(dy, y);
        self.activation(y.shape)
    }
    fn posterior_kl(&self, logits: &Planned) -> (Planned, [Planned; 2]) {
        (self.tensor([2]), [self.tensor(logits.shape), self.tensor([logits.last()])])
    }
    fn posterior_kl_backward(&self, saved: &[Planned; 2], _: [f64; 2]) -> Planned {
        self.like(&saved[0], saved[0].shape)
    }
    fn logit_laplace(&self, params: &Planned, x: &Planned) -> Planned {
        assert_eq!(params.shape.elements(), 2 * x.shape.elements());
        self.tensor([1])
    }
    fn logit_laplace_backward(&self, params: &Planned, _: &Planned) -> Planned {
        self.activation(params.shape)
    }
}
