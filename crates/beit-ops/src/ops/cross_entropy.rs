//! The loss of both heads.

use super::Device;
use crate::plan::{Plan, Planned, is, same};

/// Cross-entropy against classes, smoothed classes, distributions, or labels of which some are to be ignored.
pub trait CrossEntropyOps: Device {
    /// `logits [M, V] -> ([mean loss, rows whose largest logit is the target's], log-sum-exp [M])`. A row with NaN makes the loss
    /// NaN and is not among the right ones.
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
}

/// What a row of logits should have been.
#[derive(Debug)]
pub enum Targets<'a, O: Device + ?Sized> {
    /// One class a row; `smoothing` of the probability is spread evenly over all classes.
    Classes {
        /// `[M]`
        ids: &'a O::Ids,
        /// 0 to 1.
        smoothing: f32,
    },
    /// A distribution a row, `[M, V]`.
    Probabilities(&'a O::Tensor),
    /// One class a row, or none: rows whose number is no class are ignored. They have no loss and no gradient, and none of them is
    /// right.
    Labels {
        /// `[M]`
        ids: &'a O::Ids,
        /// What the sum of the losses is divided by, at least 1: the rows that have a class, or all rows.
        counted: usize,
    },
}

impl CrossEntropyOps for Plan {
    fn cross_entropy(&self, logits: &Planned, targets: &Targets<'_, Self>) -> (Planned, Planned) {
        match targets {
            Targets::Classes { ids, .. } | Targets::Labels { ids, .. } => {
                assert_eq!(ids.len(), logits.rows(), "a class for each row")
            }
            Targets::Probabilities(p) => same(p, logits),
        }
        (self.tensor([2]), self.tensor([logits.rows()]))
    }
    fn cross_entropy_backward(
        &self,
        logits: &Planned,
        _: &Targets<'_, Self>,
        lse: &Planned,
        _: f32,
    ) -> Planned {
        is(lse, [logits.rows()]);
        self.like(logits, logits.shape)
    }
}
