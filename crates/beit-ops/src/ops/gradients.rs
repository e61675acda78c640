//! Sums of gradients.

use super::Device;
use crate::plan::{Plan, Planned, same};

/// How gradients add up, from batch to batch and where a forward used a tensor twice.
pub trait GradientOps: Device {
    /// Sets every element to zero.
    fn clear(&self, x: &mut Self::Tensor);
    /// `a += b`
    fn add_assign(&self, a: &mut Self::Tensor, b: &Self::Tensor);
}

impl GradientOps for Plan {
    fn clear(&self, x: &mut Planned) {
        self.changes(x);
    }
    fn add_assign(&self, a: &mut Planned, b: &Planned) {
        same(a, b);
        self.changes(a);
    }
}
