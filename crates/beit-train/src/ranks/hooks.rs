//! How a rank takes part in a step.

use super::{Communicator, part, sum};
use crate::error::{Error, Result};
use crate::hooks::{Hooks, Sums};
use crate::task::{Changes, Task};
use beit_data::{Batch, SampleRng, Shard};
use beit_ops::{Ops, Tree};

/// A rank in the steps of a run, around what else happens in them. The ranks end a step with the same bits, and where one pauses, all
/// do.
pub struct Ranks<'a, C: ?Sized, H: ?Sized> {
    /// How it talks to the others.
    pub ranks: &'a mut C,
    /// What else happens.
    pub hooks: &'a mut H,
}

impl<O, K, C, H> Hooks<O, K> for Ranks<'_, C, H>
where
    O: Ops,
    K: Task<O>,
    C: Communicator,
    H: Hooks<O, K> + ?Sized,
{
    fn shard(&self) -> Shard {
        self.ranks.shard()
    }

    fn pause(&mut self, step: u64) -> Result<bool> {
        let own = self.hooks.pause(step)?;
        let all = self.ranks.gather(&[f64::from(u8::from(own))])?;
        Ok(all.into_iter().flatten().any(|wanted| wanted > 0.0))
    }

    fn batch(&mut self, batch: &mut Batch<K::Sample>, rng: &mut SampleRng) {
        self.hooks.batch(batch, rng);
    }

    fn reduce(
        &mut self,
        ops: &O,
        all: Changes<'_, K::Params, K::Buffers>,
        sums: &mut Sums<O::Tensor>,
    ) -> Result<()> {
        let Changes { grads, buffers } = all;
        let leaves = || grads.leaves().into_iter().chain(buffers.leaves());
        let mut numbers = Vec::new();
        for leaf in leaves() {
            numbers.extend(ops.read(leaf)?);
        }
        sum(self.ranks, &mut numbers)?;
        let mut rest = &numbers[..];
        for leaf in grads.leaves_mut().into_iter().chain(buffers.leaves_mut()) {
            let shape = ops.shape(leaf);
            let (own, others) = rest.split_at(shape.elements());
            (*leaf, rest) = (ops.upload(shape, own), others);
        }
        self.share(ops, sums)?;
        self.hooks.reduce(ops, Changes { grads, buffers }, sums)
    }

    fn stepped(&mut self, ops: &O, params: &K::Params, buffers: &K::Buffers, step: u64) -> Result<()> {
        self.hooks.stepped(ops, params, buffers, step)
    }
}

impl<C: Communicator, H: ?Sized> Ranks<'_, C, H> {
    /// Gives every rank what each has measured, in the order of the micro-batches.
    fn share<O: Ops>(&mut self, ops: &O, sums: &mut Sums<O::Tensor>) -> Result<()> {
        let Shard { rank, .. } = self.ranks.shard();
        let records = self.ranks.gather(&part::written(ops, &sums.parts)?)?;
        let Some(like) = sums.parts.first() else { return Ok(()) };
        let mut parts = Vec::new();
        for (other, record) in records.iter().enumerate() {
            parts.extend(part::parts(ops, record, like).ok_or_else(|| Error::Ranks {
                rank,
                other,
                problem: "measures something else: expected the same task with the same settings".to_owned(),
            })?);
        }
        sums.parts = parts;
        Ok(())
    }
}
