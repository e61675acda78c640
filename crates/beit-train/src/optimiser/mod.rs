//! AdamW over a parameter tree: decay groups, layer-wise learning rates, clipping.

mod moments;

use crate::error::{Error, Result};
use crate::ranks::Communicator;
use crate::schedule::Schedule;
use beit_data::Shard;
use beit_ops::{AdamW, Layer, Leaf, Ops, Role, Shape, Tree};
use moments::{Moments, owners};
use serde::{Deserialize, Serialize};

/// The settings of the optimiser for a whole run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hyper {
    /// Learning rate.
    pub schedule: Schedule,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay of the parameters whose [role](beit_ops::Role::decays) asks for it.
    pub weight_decay: f64,
    /// Limit of the global L2 norm of the gradients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_grad: Option<f32>,
    /// Layer-wise learning rate decay, for fine-tuning: see [`layer_scale`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer_decay: Option<f64>,
    /// So many of the first blocks, the embeddings before them, and a table of relative positions that all blocks share are not trained;
    /// 0 where everything is.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub frozen: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
const fn is_zero(frozen: &usize) -> bool {
    *frozen == 0
}

impl Hyper {
    /// The constants of every recipe of the released code: betas 0.9 and 0.999, eps 1e-8, weight decay 0.05.
    #[must_use]
    pub const fn new(schedule: Schedule) -> Self {
        Self {
            schedule,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.05,
            clip_grad: None,
            layer_decay: None,
            frozen: 0,
        }
    }

    /// Whether a parameter is not trained.
    #[must_use]
    pub fn is_frozen(&self, leaf: &Leaf) -> bool {
        match leaf.layer {
            Layer::Stem => self.frozen > 0,
            Layer::Block(i) => i < self.frozen,
            // The table that all blocks share.
            Layer::Top => self.frozen > 0 && leaf.role == Role::RelativePositions,
        }
    }

    /// Refuses numbers with which no step can be taken.
    ///
    /// # Errors
    ///
    /// [`Error::Recipe`], naming the number, what was found and what was expected.
    pub fn check(&self) -> Result<()> {
        let Schedule { peak, min, .. } = self.schedule;
        let limit = self.clip_grad.map_or(1.0, f64::from);
        let numbers = [
            ("the peak learning rate", peak, peak >= 0.0, "at least 0"),
            ("the learning rate at the end", min, (0.0..=peak).contains(&min), "0 up to the peak"),
            ("beta1", self.beta1, (0.0..1.0).contains(&self.beta1), "at least 0 and less than 1"),
            ("beta2", self.beta2, (0.0..1.0).contains(&self.beta2), "at least 0 and less than 1"),
            ("eps", self.eps, self.eps > 0.0, "more than 0"),
            ("the weight decay", self.weight_decay, self.weight_decay >= 0.0, "at least 0"),
            ("the limit of the gradients", limit, limit > 0.0, "more than 0"),
            (
                "the layer decay",
                self.layer_decay.unwrap_or(1.0),
                self.layer_decay != Some(0.0),
                "more than 0",
            ),
        ];
        match numbers.iter().find(|(_, value, fits, _)| !(*fits && value.is_finite())) {
            None => Ok(()),
            Some((name, value, _, expected)) => {
                Err(Error::Recipe(format!("{name} is {value}, expected a finite number, {expected}")))
            }
        }
    }
}

/// The factor of a parameter's learning rate, `decay^(depth + 1 - id)`: id 0 for tokens, positions and the patch embedding, i + 1
/// for block i, depth + 1 (factor 1) for everything else (`beit/optim_factory.py`, `get_num_layer_for_vit`).
#[must_use]
pub fn layer_scale(layer: Layer, depth: usize, decay: f64) -> f64 {
    let id = match layer {
        Layer::Stem => 0,
        Layer::Block(i) => i + 1,
        Layer::Top => depth + 1,
    };
    decay.powi((depth + 1 - id) as i32)
}

/// What the optimiser keeps of one parameter.
struct Slot<T> {
    name: String,
    decays: bool,
    lr_scale: f64,
    shape: Shape,
    /// The process that keeps the moments and takes the steps.
    owner: usize,
    moments: Moments<T>,
}

/// AdamW and its moments.
pub struct Optimiser<T> {
    hyper: Hyper,
    slots: Vec<Slot<T>>,
    shard: Shard,
    step: u64,
}

impl<T: Clone> Optimiser<T> {
    /// With moments of zero. `depth` is the number of blocks, for the layer-wise decay.
    pub fn new<O: Ops<Tensor = T>>(ops: &O, params: &impl Tree<T>, hyper: Hyper, depth: usize) -> Self {
        Self::sharded(ops, params, hyper, depth, Shard::WHOLE)
    }

    /// One of several processes, each of which keeps the moments of some parameters and [steps](Optimiser::step) only them.
    pub fn sharded<O: Ops<Tensor = T>>(
        ops: &O,
        params: &impl Tree<T>,
        hyper: Hyper,
        depth: usize,
        shard: Shard,
    ) -> Self {
        let leaves = params.described();
        let size = |(leaf, param): &(Leaf, &T)| match hyper.is_frozen(leaf) {
            true => 0,
            false => ops.shape(param).elements(),
        };
        let sizes: Vec<usize> = leaves.iter().map(size).collect();
        let slot = |((leaf, param), owner): ((Leaf, &T), usize)| {
            let shape = ops.shape(param);
            Slot {
                decays: leaf.role.decays(),
                lr_scale: hyper.layer_decay.map_or(1.0, |decay| layer_scale(leaf.layer, depth, decay)),
                moments: match owner == shard.rank {
                    _ if hyper.is_frozen(&leaf) => Moments::None,
                    true => Moments::Here([ops.zeros(shape), ops.zeros(shape)]),
                    false => Moments::Elsewhere(None),
                },
                name: leaf.name,
                shape,
                owner,
            }
        };
        let slots = leaves.into_iter().zip(owners(&sizes, shard.of)).map(slot).collect();
        Self { hyper, slots, shard, step: 0 }
    }

    /// Which of how many processes this is, which share the moments.
    #[must_use]
    pub const fn shard(&self) -> Shard {
        self.shard
    }

    pub(crate) fn drop_moments(&mut self) {
        self.slots.clear();
    }

    /// Steps taken.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Steps of the whole schedule.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.hyper.schedule.total
    }

    /// The learning rate of the next step.
    #[must_use]
    pub fn lr(&self) -> f64 {
        self.hyper.schedule.at(self.step)
    }

    /// `[norm, factor]` of the gradients, on the device: what [`step`](Optimiser::step) clips with.
    pub fn clip<O: Ops<Tensor = T>>(&self, ops: &O, grads: &impl Tree<T>) -> T {
        self.clip_scaled(ops, grads, 1.0)
    }

    /// [`clip`](Optimiser::clip) for gradients that are to be multiplied by `scale` first, as those of a sum over rows by
    /// 1 / rows. [`step`](Optimiser::step) then takes both from the factor.
    pub fn clip_scaled<O: Ops<Tensor = T>>(&self, ops: &O, grads: &impl Tree<T>, scale: f32) -> T {
        ops.clip_factor(&grads.leaves(), self.hyper.clip_grad, scale)
    }

    /// One step with gradients scaled by `clip`; the gradients are cleared for the next one. Parameters whose moments another process
    /// keeps are left as they are.
    ///
    /// # Panics
    ///
    /// If the trees are not of the shape that the optimiser was made for.
    pub fn step<O: Ops<Tensor = T>, P: Tree<T>>(&mut self, ops: &O, params: &mut P, grads: &mut P, clip: &T) {
        let lr = self.lr();
        self.step += 1;
        let (params, grads) = (params.leaves_mut(), grads.leaves_mut());
        assert!(params.len() == self.slots.len() && grads.len() == self.slots.len(), "trees of one shape");
        let hyper: Vec<_> = self.slots.iter().map(|slot| self.adamw(lr, slot)).collect();
        let (mut own_params, mut own_grads, mut own_moments, mut settings) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (((slot, param), grad), hyper) in self.slots.iter_mut().zip(params).zip(grads).zip(hyper) {
            slot.moments.forget();
            if let Some(moments) = slot.moments.here_mut() {
                own_params.push(param);
                own_grads.push(grad);
                own_moments.push(moments.each_mut());
                settings.push(hyper);
            } else {
                ops.clear(grad);
            }
        }
        ops.adamw_all(own_params, own_grads, own_moments, clip, &settings);
    }

    /// Counts a step that is not taken.
    pub(crate) const fn pass(&mut self) {
        self.step += 1;
    }

    /// The parameters by the process that steps them.
    pub fn by_owner<'p>(&self, params: Vec<&'p mut T>) -> Vec<Vec<&'p mut T>> {
        let mut by_owner: Vec<Vec<&mut T>> = (0..self.shard.of).map(|_| Vec::new()).collect();
        self.slots.iter().zip(params).for_each(|(slot, param)| by_owner[slot.owner].push(param));
        by_owner
    }

    /// The settings of one parameter in this step.
    fn adamw(&self, lr: f64, slot: &Slot<T>) -> AdamW {
        AdamW {
            lr: lr * slot.lr_scale,
            beta1: self.hyper.beta1,
            beta2: self.hyper.beta2,
            eps: self.hyper.eps,
            weight_decay: if slot.decays { self.hyper.weight_decay } else { 0.0 },
            step: self.step,
        }
    }

    /// Tells the device that parameters, gradients and moments are passed over together.
    pub fn gather<O: Ops<Tensor = T>, P: Tree<T>>(&mut self, ops: &O, params: &mut P, grads: &mut P) {
        for tensors in [params.leaves_mut(), grads.leaves_mut()] {
            self.by_owner(tensors).into_iter().for_each(|tensors| ops.gather_in_memory(tensors));
        }
        for moment in 0..2 {
            let here = self.slots.iter_mut().filter_map(|slot| slot.moments.here_mut());
            ops.gather_in_memory(here.map(|moments| &mut moments[moment]).collect());
        }
    }

    /// Brings the moments that other processes keep to rank 0, where they stay until the next step, to be [saved](Optimiser::state).
    /// All processes call it.
    ///
    /// # Errors
    ///
    /// The device, or those of the communicator.
    pub fn collect<O: Ops<Tensor = T>>(&mut self, ops: &O, ranks: &mut dyn Communicator) -> Result<()> {
        let one = |slot: &mut Slot<T>| slot.moments.collect(ops, (slot.owner, slot.shape.elements()), ranks);
        self.slots.iter_mut().try_for_each(one)
    }

    /// The moments with their names, `NAME.first` and `NAME.second`, their extents and their numbers, for a checkpoint.
    ///
    /// # Errors
    ///
    /// The device, or moments that another process keeps and that were not [collected](Optimiser::collect).
    pub fn state<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
    ) -> impl Iterator<Item = Result<(String, Shape, Vec<f32>)>> {
        let kept = self.slots.iter().filter(|slot| !matches!(slot.moments, Moments::None));
        kept.flat_map(|Slot { name, shape, owner, moments, .. }| {
            let read = moments.read(ops).and_then(|read| read.ok_or(Error::Elsewhere(*owner)));
            let named = |(suffix, numbers)| Ok((format!("{name}.{suffix}"), *shape, numbers));
            match read {
                Ok(read) => ["first", "second"].into_iter().zip(read).map(named).collect(),
                Err(error) => vec![Err(error)],
            }
        })
    }

    /// Continues after `step` steps with the moments that `find(name, shape)` returns. It is asked for those that this process keeps.
    ///
    /// # Errors
    ///
    /// The first that `find` returns.
    pub fn restore<O: Ops<Tensor = T>, E>(
        &mut self,
        ops: &O,
        step: u64,
        mut find: impl FnMut(&str, Shape) -> std::result::Result<Vec<f32>, E>,
    ) -> std::result::Result<(), E> {
        for Slot { name, shape, moments, .. } in &mut self.slots {
            moments.forget();
            for (moment, suffix) in moments.here_mut().into_iter().flatten().zip(["first", "second"]) {
                *moment = ops.upload(*shape, &find(&format!("{name}.{suffix}"), *shape)?);
            }
        }
        self.step = step;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
