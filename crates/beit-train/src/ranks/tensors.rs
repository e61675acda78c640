//! Sums that the devices of the ranks make among themselves.

use crate::error::Result;
use beit_ops::Ops;
use std::time::Duration;

/// Devices that add up what they hold without the help of their hosts, by NCCL for example.
pub trait TensorSums<O: Ops> {
    /// Every tensor becomes its sum over the ranks, which all call this with tensors of the same sizes, in the same order. They end with
    /// the same bits. Where it fails in one rank it may have been done in others: [`Ranks`](crate::Ranks) lets them know. Returns how long that took, after what the device had to compute before.
    ///
    /// # Errors
    ///
    /// Whatever ends the run. No rank waits for ever for one that does not come.
    fn sum(&mut self, ops: &O, tensors: Vec<&mut O::Tensor>) -> Result<Duration>;
}
