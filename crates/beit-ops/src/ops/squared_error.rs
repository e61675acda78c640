//! The loss of regression.

use super::Device;
use crate::plan::{Plan, Planned, same};

/// The mean squared error.
pub trait SquaredErrorOps: Device {
    /// The mean over all elements of `(y - target)²`, `y [M, C]`, `target [M, C]`. Returns `[1]`.
    fn squared_error(&self, y: &Self::Tensor, target: &Self::Tensor) -> Self::Tensor;
    /// Returns `dy [M, C]` of `scale` times the mean.
    fn squared_error_backward(&self, y: &Self::Tensor, target: &Self::Tensor, scale: f32) -> Self::Tensor;
}

impl SquaredErrorOps for Plan {
    fn squared_error(&self, y: &Planned, target: &Planned) -> Planned {
        same(y, target);
        self.tensor([1])
    }
    fn squared_error_backward(&self, y: &Planned, target: &Planned, _: f32) -> Planned {
        same(y, target);
        self.activation(y.shape)
    }
}
