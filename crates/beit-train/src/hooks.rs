//! Places in a step where others may join in.

use crate::error::Result;
use crate::task::{Changes, Outcome, Task};
use beit_data::{Batch, SampleRng, Shard};
use beit_ops::Ops;
use std::time::Duration;

/// What happens in a step besides the task's own work. Every method does nothing unless it is overridden.
pub trait Hooks<O: Ops, K: Task<O>> {
    /// Which of how many processes this is. Each sees [its batches](beit_data::Loader::batches_of) of a step.
    fn shard(&self) -> Shard {
        Shard::WHOLE
    }

    /// Whether [`run`](crate::Trainer::run) is to return once `step` steps are done, before the step that it was asked for: to
    /// save, or because somebody wants it to stop. It can be called again and goes on as if it had not returned.
    ///
    /// # Errors
    ///
    /// Whatever ends the run.
    fn pause(&mut self, step: u64) -> Result<bool> {
        let _ = step;
        Ok(false)
    }

    /// Changes a micro-batch before the task sees it, and mixes it if it does. The random numbers are a function of the seed and the
    /// [number of the micro-batch](crate::Moment::number), and nobody else draws them.
    fn batch(&mut self, batch: &mut Batch<K::Sample>, rng: &mut SampleRng) {
        let _ = (batch, rng);
    }

    /// Sees gradients of this process to which nothing more is added in this step, while earlier layers are still computed: they may
    /// begin to travel. Those of a step are then [reduced](Hooks::reduce) with the others.
    ///
    /// Each is given as what it is the sum of: the gradient of the last micro-batch, what that is added to, what the sum is added to, and so
    /// on. The last of them is the tensor that gets the sum.
    ///
    /// # Errors
    ///
    /// Whatever ends the run.
    fn finished(&mut self, ops: &O, grads: Vec<Vec<&O::Tensor>>) -> Result<()> {
        let _ = (ops, grads);
        Ok(())
    }

    /// How long adding up has taken since this was asked last, at the same time as something else or not; none where there is nothing to
    /// add up.
    fn exchanged(&mut self) -> Option<Duration> {
        None
    }

    /// Adds up a step over all processes, before its gradients are divided by the rows of all of them and clipped.
    ///
    /// The gradients are sums over the rows of this process, and become the sums over the rows of all; the buffers are sums of what its
    /// micro-batches wrote, and become those of all. `sums` gets the [`parts`](Sums::parts) of the others, or one part in place of all.
    ///
    /// # Errors
    ///
    /// Whatever ends the run.
    fn reduce(
        &mut self,
        ops: &O,
        sum: Changes<'_, K::Params, K::Buffers>,
        sums: &mut Sums<O::Tensor>,
    ) -> Result<()> {
        let _ = (ops, sum, sums);
        Ok(())
    }

    /// Gives every process what the others have written: `by_rank` are the tensors of each, the same in all of them, and each has
    /// written its own. Where the optimiser is [sharded](crate::Trainer::sharded) these are the parameters, after every step.
    ///
    /// # Errors
    ///
    /// Whatever ends the run.
    fn all_gather(&mut self, ops: &O, by_rank: Vec<Vec<&mut O::Tensor>>) -> Result<()> {
        let _ = (ops, by_rank);
        Ok(())
    }

    /// Sees parameters and buffers after every step, of which `step` are done; keeps an average of them, for example. Where numbers
    /// are read seldom, a step that was not finite is seen too: the parameters are then those of the step before.
    /// A clone shares its memory with the parameters, so that the next step has to copy them: keep numbers of your own.
    ///
    /// # Errors
    ///
    /// Whatever ends the run.
    fn stepped(&mut self, ops: &O, params: &K::Params, buffers: &K::Buffers, step: u64) -> Result<()> {
        let _ = (ops, params, buffers, step);
        Ok(())
    }
}

/// Nobody joins in.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHooks;

impl<O: Ops, K: Task<O>> Hooks<O, K> for NoHooks {}

/// What a step measured, micro-batch by micro-batch.
///
/// Counts are known to the host, losses are on the device. A loss of the step is the mean of the parts' losses weighed by their
/// rows; it is taken where reports are made, so adding parts waits for nothing.
#[derive(Clone, Debug)]
pub struct Sums<T> {
    /// The micro-batches.
    pub parts: Vec<Outcome<T>>,
}

impl<T> Sums<T> {
    /// Rows of all parts: what gradients and losses are divided by.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.parts.iter().map(|part| part.rows).sum()
    }

    /// Images of all parts.
    #[must_use]
    pub fn images(&self) -> usize {
        self.parts.iter().map(|part| part.images).sum()
    }
}
