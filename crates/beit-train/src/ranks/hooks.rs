//! How a rank takes part in a step.

use super::all_gather::gather_tensors;
use super::{Communicator, TensorSums, disagrees, gather_numbers, part, sum_over_ranks};
use crate::error::Result;
use crate::hooks::{Hooks, Sums};
use crate::task::{Changes, Task};
use beit_data::{Batch, SampleRng, Shard};
use beit_ops::{Ops, Tree};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// A rank in the steps of a run, around what else happens in them. The ranks end a step with the same bits, and where one pauses, all
/// do.
///
/// Gradients travel as f32, those of a block as soon as they are finished where the communicator [sums in the
/// background](Communicator::background). On a GPU each rank reads and writes all of them in every step, unless the devices [add up by
/// themselves](Ranks::on_the_devices).
pub struct Ranks<'a, C: ?Sized, H: ?Sized, O: Ops> {
    ranks: &'a mut C,
    hooks: &'a mut H,
    /// Where gradients and buffers do not travel by `ranks`.
    devices: Option<&'a mut (dyn TensorSums<O> + 'static)>,
    /// Sums that were begun in this step: the leaves of each.
    begun: Vec<Vec<Leaf>>,
    /// What sums have taken.
    took: Duration,
}

impl<'a, C: Communicator + ?Sized, H: ?Sized, O: Ops> Ranks<'a, C, H, O> {
    /// Talks to the others by `ranks`; `hooks` is what else happens.
    pub const fn new(ranks: &'a mut C, hooks: &'a mut H) -> Self {
        Self { ranks, hooks, devices: None, begun: Vec::new(), took: Duration::ZERO }
    }

    /// The same, whose gradients and buffers are added up by the devices themselves, where there is something that makes them do so.
    /// Measures and pauses still travel from host to host.
    #[must_use]
    pub fn on_the_devices(self, devices: Option<&'a mut (dyn TensorSums<O> + 'static)>) -> Self {
        Self { devices, ..self }
    }
}

/// A leaf of the gradients or buffers, which stays where it is while a step lasts.
struct Leaf {
    place: usize,
    numbers: usize,
}

fn place<T>(leaf: &T) -> usize {
    std::ptr::from_ref(leaf).addr()
}

/// The numbers of leaves, one after another.
fn read<'t, O: Ops>(ops: &O, leaves: impl Iterator<Item = &'t O::Tensor>) -> Result<(Vec<Leaf>, Vec<f32>)>
where
    O::Tensor: 't,
{
    let (mut read, mut values) = (Vec::new(), Vec::new());
    for leaf in leaves {
        let numbers = ops.read(leaf)?;
        read.push(Leaf { place: place(leaf), numbers: numbers.len() });
        values.extend(numbers);
    }
    Ok((read, values))
}

/// The second and the first, then the third and what they make, and so on, as [`Hooks::finished`] says.
fn sum_of<O: Ops>(ops: &O, terms: &[&O::Tensor]) -> Result<Vec<f32>> {
    let add = |sum: O::Tensor, term: O::Tensor| {
        let mut next = term;
        ops.add_assign(&mut next, &sum);
        next
    };
    let sum = terms.iter().map(|&term| term.clone()).reduce(add);
    Ok(sum.map(|sum| ops.read(&sum)).transpose()?.unwrap_or_default())
}

/// The numbers of each leaf, of those of all.
fn parts<'v>(leaves: &[Leaf], mut all: &'v [f32]) -> Vec<(usize, &'v [f32])> {
    let next = |leaf: &Leaf| {
        let (own, rest) = all.split_at(leaf.numbers);
        all = rest;
        (leaf.place, own)
    };
    leaves.iter().map(next).collect()
}

impl<O, K, C, H> Hooks<O, K> for Ranks<'_, C, H, O>
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

    fn finished(&mut self, ops: &O, grads: Vec<Vec<&O::Tensor>>) -> Result<()> {
        if self.devices.is_some() {
            return Ok(());
        }
        if let Some(sums) = self.ranks.background() {
            let (mut leaves, mut values) = (Vec::new(), Vec::new());
            for terms in grads {
                let Some(&leaf) = terms.last() else { continue };
                let sum = sum_of(ops, &terms)?;
                leaves.push(Leaf { place: place(leaf), numbers: sum.len() });
                values.extend(sum);
            }
            sums.begin(values);
            self.begun.push(leaves);
        }
        Ok(())
    }

    fn exchanged(&mut self) -> Option<Duration> {
        Some(std::mem::take(&mut self.took))
    }

    fn reduce(
        &mut self,
        ops: &O,
        sum: Changes<'_, K::Params, K::Buffers>,
        sums: &mut Sums<O::Tensor>,
    ) -> Result<()> {
        let Changes { grads, buffers } = sum;
        if self.devices.is_some() {
            // First: a rank that has failed is heard of here, and would be waited for there.
            self.share(ops, sums)?;
            self.add_on_the_devices(ops, grads.leaves_mut())?;
            self.add_on_the_devices(ops, buffers.leaves_mut())?;
        } else if self.ranks.shard().of > 1 {
            self.add(ops, grads, buffers)?;
            self.share(ops, sums)?;
        }
        self.hooks.reduce(ops, Changes { grads, buffers }, sums)
    }

    fn all_gather(&mut self, ops: &O, by_rank: Vec<Vec<&mut O::Tensor>>) -> Result<()> {
        if self.devices.is_some() {
            self.gather_on_the_devices(ops, by_rank)
        } else {
            let begun = Instant::now();
            gather_tensors(self.ranks, ops, by_rank)?;
            self.took += begun.elapsed();
            Ok(())
        }
    }

    fn stepped(&mut self, ops: &O, params: &K::Params, buffers: &K::Buffers, step: u64) -> Result<()> {
        self.hooks.stepped(ops, params, buffers, step)
    }
}

impl<C: Communicator + ?Sized, H: ?Sized, O: Ops> Ranks<'_, C, H, O> {
    /// Adds up what the devices of the ranks have, where it is. Devices do not tell who failed, so the hosts tell each other afterwards.
    fn add_on_the_devices(&mut self, ops: &O, leaves: Vec<&mut O::Tensor>) -> Result<()> {
        let Some(devices) = self.devices.as_mut().filter(|_| !leaves.is_empty()) else { return Ok(()) };
        let summed = devices.sum(ops, leaves);
        let all = self.ranks.gather(&[u8::from(summed.is_err())])?;
        self.took += summed?;
        match all.iter().position(|failed| failed != &[0]) {
            Some(other) => {
                Err(disagrees(self.ranks.shard(), other, "failed in a sum of the devices; it says why"))
            }
            None => Ok(()),
        }
    }

    /// Gives every rank the tensors of each, where they are: a sum in which all others have zeros, which makes 0 of -0.
    fn gather_on_the_devices(&mut self, ops: &O, by_rank: Vec<Vec<&mut O::Tensor>>) -> Result<()> {
        // A rank that has failed since the last sum is heard of here, and would be waited for there.
        self.ranks.gather(&[])?;
        let own = self.ranks.shard().rank;
        let mut all = Vec::new();
        for (rank, tensors) in by_rank.into_iter().enumerate() {
            for tensor in tensors {
                if rank != own {
                    ops.clear(tensor);
                }
                all.push(tensor);
            }
        }
        self.add_on_the_devices(ops, all)
    }

    /// Adds up what the ranks have.
    fn add<P, B>(&mut self, ops: &O, grads: &mut P, buffers: &mut B) -> Result<()>
    where
        P: Tree<O::Tensor>,
        B: Tree<O::Tensor>,
    {
        let mut begun = std::mem::take(&mut self.begun);
        let travels: HashSet<usize> = begun.iter().flatten().map(|leaf| leaf.place).collect();
        let all = grads.leaves().into_iter().chain(buffers.leaves());
        let (leaves, values) = read(ops, all.filter(|&leaf| !travels.contains(&place(leaf))))?;
        begun.push(leaves);
        let sums = self.sums(values, begun.len())?;
        let parts: HashMap<usize, &[f32]> =
            begun.iter().zip(&sums).flat_map(|(leaves, sum)| parts(leaves, sum)).collect();
        let sum = |leaf: &O::Tensor| *parts.get(&place(leaf)).expect("every leaf travels");
        for leaf in grads.leaves_mut().into_iter().chain(buffers.leaves_mut()) {
            ops.overwrite(leaf, sum(leaf));
        }
        Ok(())
    }

    /// The sums that were begun, and that of the values which are left: so many.
    fn sums(&mut self, mut left: Vec<f32>, count: usize) -> Result<Vec<Vec<f32>>> {
        let Some(sums) = self.ranks.background() else {
            let begun = Instant::now();
            sum_over_ranks(self.ranks, &mut left)?;
            self.took += begun.elapsed();
            return Ok(vec![left]);
        };
        sums.begin(left);
        let mut all = Vec::with_capacity(count);
        for _ in 0..count {
            let (sum, took) = sums.end()?;
            self.took += took;
            all.push(sum);
        }
        Ok(all)
    }

    /// Gives every rank what each has measured, in the order of the micro-batches.
    fn share(&mut self, ops: &O, sums: &mut Sums<O::Tensor>) -> Result<()> {
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
