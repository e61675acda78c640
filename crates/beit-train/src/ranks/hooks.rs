//! How a rank takes part in a step.

use super::{Communicator, disagrees, gather_numbers, part, sum_over_ranks};
use crate::error::Result;
use crate::hooks::{Hooks, Sums};
use crate::task::{Changes, Task};
use beit_data::{Batch, SampleRng, Shard};
use beit_ops::{Ops, Tree};

/// A rank in the steps of a run, around what else happens in them. The ranks end a step with the same bits, and where one pauses, all
/// do.
///
/// Gradients travel as f32. On a GPU each rank reads and writes all of them in every step.
pub struct Ranks<'a, C: ?Sized, H: ?Sized> {
    ranks: &'a mut C,
    hooks: &'a mut H,
    /// Gradients and buffers, one after another.
    numbers: Vec<f32>,
}

impl<'a, C: Communicator + ?Sized, H: ?Sized> Ranks<'a, C, H> {
    /// Talks to the others by `ranks`; `hooks` is what else happens.
    pub const fn new(ranks: &'a mut C, hooks: &'a mut H) -> Self {
        Self { ranks, hooks, numbers: Vec::new() }
    }
}

impl<O, K, C, H> Hooks<O, K> for Ranks<'_, C, H>
where
    O: Ops,
    K: Task<O>,
    C: Communicator + ?Sized,
    H: Hooks<O, K> + ?Sized,
{
    fn shard(&self) -> Shard {
        self.ranks.shard()
    }

    fn pause(&mut self, step: u64) -> Result<bool> {
        let own = self.hooks.pause(step)?;
        let all = gather_numbers(self.ranks, &[step as f64, f64::from(u8::from(own))])?;
        for (other, record) in all.iter().enumerate() {
            if record.first() != Some(&(step as f64)) {
                let problem = format!(
                    "is not at step {step} of the run, but at {}; expected all to begin with the same checkpoint",
                    record.first().unwrap_or(&0.0)
                );
                return Err(disagrees(self.ranks.shard(), other, &problem));
            }
        }
        Ok(all.iter().any(|record| record.get(1).is_some_and(|&wanted| wanted > 0.0)))
    }

    fn batch(&mut self, batch: &mut Batch<K::Sample>, rng: &mut SampleRng) {
        self.hooks.batch(batch, rng);
    }

    fn reduce(
        &mut self,
        ops: &O,
        sum: Changes<'_, K::Params, K::Buffers>,
        sums: &mut Sums<O::Tensor>,
    ) -> Result<()> {
        let Changes { grads, buffers } = sum;
        if self.ranks.shard().of > 1 {
            self.add(ops, grads, buffers)?;
            self.share(ops, sums)?;
        }
        self.hooks.reduce(ops, Changes { grads, buffers }, sums)
    }

    fn stepped(&mut self, ops: &O, params: &K::Params, buffers: &K::Buffers, step: u64) -> Result<()> {
        self.hooks.stepped(ops, params, buffers, step)
    }
}

impl<C: Communicator + ?Sized, H: ?Sized> Ranks<'_, C, H> {
    /// Adds up what the ranks have.
    fn add<O, P, B>(&mut self, ops: &O, grads: &mut P, buffers: &mut B) -> Result<()>
    where
        O: Ops,
        P: Tree<O::Tensor>,
        B: Tree<O::Tensor>,
    {
        self.numbers.clear();
        for leaf in grads.leaves().into_iter().chain(buffers.leaves()) {
            self.numbers.extend(ops.read(leaf)?);
        }
        sum_over_ranks(self.ranks, &mut self.numbers)?;
        let mut rest = &self.numbers[..];
        let mut next = |leaf: &O::Tensor| {
            let shape = ops.shape(leaf);
            let (own, others) = rest.split_at(shape.elements());
            rest = others;
            ops.upload(shape, own)
        };
        for leaf in grads.leaves_mut() {
            // They stay where they are: a device may have laid them out for the optimiser.
            let sum = next(leaf);
            ops.clear(leaf);
            ops.add_assign(leaf, &sum);
        }
        for leaf in buffers.leaves_mut() {
            *leaf = next(leaf);
        }
        Ok(())
    }

    /// Gives every rank what each has measured, in the order of the micro-batches.
    fn share<O: Ops>(&mut self, ops: &O, sums: &mut Sums<O::Tensor>) -> Result<()> {
        let records = gather_numbers(self.ranks, &part::written(ops, &sums.parts)?)?;
        let Some(like) = sums.parts.first() else { return Ok(()) };
        let mut parts = Vec::new();
        for (other, record) in records.iter().enumerate() {
            parts.extend(part::parts(ops, record, like).ok_or_else(|| {
                let problem = "measures something else; expected the same task with the same settings";
                disagrees(self.ranks.shard(), other, problem)
            })?);
        }
        sums.parts = parts;
        Ok(())
    }
}
