//! Sums of gradients.

use super::Device;
use crate::plan::{Plan, Planned, is, same};

/// How gradients add up, from batch to batch and where a forward used a tensor twice.
pub trait GradientOps: Device {
    /// Sets every element to zero.
    fn clear(&self, x: &mut Self::Tensor);
    /// `a += b`
    fn add_assign(&self, a: &mut Self::Tensor, b: &Self::Tensor);
    /// `into [C] += Σ_m x[m, C]`: the gradient of a bias that was added to each row of `x [M, C]`.
    fn add_column_sums(&self, x: &Self::Tensor, into: &mut Self::Tensor);
}

impl GradientOps for Plan {
    fn clear(&self, x: &mut Planned) {
        self.changes(x);
    }
    fn add_assign(&self, a: &mut Planned, b: &Planned) {
        same(a, b);
        self.changes(a);
    }
    fn add_column_sums(&self, x: &Planned, into: &mut Planned) {
        is(into, [x.last()]);
        self.changes(into);
    }
}
