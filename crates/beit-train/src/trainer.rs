//! The trainer: a task, its parameters, and the optimiser.

use crate::average::Average;
use crate::checkpoint::{self, Settings};
use crate::error::Result;
use crate::optimiser::Optimiser;
use crate::ranks::Communicator;
use crate::recipe::Recipe;
use crate::spikes::Norms;
use crate::task::Task;
use beit_data::Shard;
use beit_ops::Ops;
use std::path::Path;

/// A run: everything that training changes, and what it needs to go on. See [`run`](Trainer::run).
pub struct Trainer<'a, O: Ops, K: Task<O>> {
    /// The device.
    pub ops: &'a O,
    /// What is trained.
    pub task: K,
    /// How it is trained.
    pub recipe: Recipe,
    /// The parameters.
    pub params: K::Params,
    /// What changes without a gradient.
    pub buffers: K::Buffers,
    /// The optimiser and its moments.
    pub optimiser: Optimiser<O::Tensor>,
    /// The average of the weights, if the recipe asks for one.
    pub(crate) average: Option<Average<K::Params, K::Buffers>>,
    /// The norms of the steps so far, where the recipe has a guard.
    pub(crate) norms: Norms,
}

impl<'a, O: Ops, K: Task<O, Buffers = ()>> Trainer<'a, O, K> {
    /// Begins with these parameters, for tasks that have nothing else that changes.
    pub fn new(ops: &'a O, task: K, recipe: Recipe, params: K::Params) -> Self {
        Self::with_buffers(ops, task, recipe, params, ())
    }
}

impl<'a, O: Ops, K: Task<O>> Trainer<'a, O, K> {
    /// Begins with these parameters and buffers.
    pub fn with_buffers(ops: &'a O, task: K, recipe: Recipe, params: K::Params, buffers: K::Buffers) -> Self {
        let optimiser = Optimiser::new(ops, &params, recipe.hyper, task.depth(&params));
        let average = recipe.ema.map(|decay| Average::new(decay, &params, &buffers));
        Self { ops, task, recipe, params, buffers, optimiser, average, norms: Norms::default() }
    }

    /// Begins as one of several processes, each of which keeps the optimiser's moments of some parameters, and steps only them. Then
    /// the [hooks](crate::Hooks::all_gather) must hand the parameters round, and whoever saves must [collect](Trainer::collect) before.
    #[must_use]
    pub fn sharded(mut self, shard: Shard) -> Self {
        let depth = self.task.depth(&self.params);
        // Before the others are allocated.
        self.optimiser.drop_moments();
        self.optimiser = Optimiser::sharded(self.ops, &self.params, self.recipe.hyper, depth, shard);
        self
    }

    /// Brings the moments that other processes keep to rank 0, where they stay until the next step. All processes call it; where
    /// nothing is [sharded](Trainer::sharded) it does nothing.
    ///
    /// # Errors
    ///
    /// The device, or those of the communicator.
    pub fn collect(&mut self, ranks: &mut dyn Communicator) -> Result<()> {
        self.optimiser.collect(self.ops, ranks)
    }

    /// What the run gives so far, to be saved and judged: the average of the weights if the recipe asks for one, else the parameters
    /// and buffers of the last step.
    #[must_use]
    pub fn model(&self) -> (&K::Params, &K::Buffers) {
        match &self.average {
            Some(average) => (&average.params, &average.buffers),
            None => (&self.params, &self.buffers),
        }
    }

    /// [`model`](Trainer::model), when nothing else is needed any more.
    #[must_use]
    pub fn into_model(self) -> (K::Params, K::Buffers) {
        match self.average {
            Some(average) => (average.params, average.buffers),
            None => (self.params, self.buffers),
        }
    }

    /// Writes `training/` into the folder of a checkpoint: all that is needed besides the [model](Trainer::model) to go on as if the
    /// run had not stopped. Everything random is a function of seed, step and image, so that is the step, the moments, the buffers,
    /// the settings, which must be the same, and the parameters where the model is an average of them.
    ///
    /// # Errors
    ///
    /// The device, the disk, or moments that other processes keep and that were not [collected](Trainer::collect).
    pub fn save_state(&self, checkpoint: &Path) -> Result<()> {
        let settings = Settings { recipe: &self.recipe, task: self.task.settings() };
        let norms = self.recipe.spikes.map(|_| self.norms);
        checkpoint::save(self.ops, checkpoint, (&settings, norms), &self.optimiser, &self.buffers)?;
        match &self.average {
            Some(_) => checkpoint::save_params(self.ops, checkpoint, self.optimiser.steps(), &self.params),
            None => Ok(()),
        }
    }

    /// Reads `training/` of a checkpoint. The [model](Trainer::model) is read apart, as any model, into [`params`](Trainer::params)
    /// and [`buffers`](Trainer::buffers), before.
    ///
    /// # Errors
    ///
    /// A checkpoint without it, or of a run with other settings; the message names what differs.
    pub fn load_state(&mut self, checkpoint: &Path) -> Result<()> {
        let settings = Settings { recipe: &self.recipe, task: self.task.settings() };
        self.average = self.recipe.ema.map(|decay| Average::new(decay, &self.params, &self.buffers));
        self.norms =
            checkpoint::load(self.ops, checkpoint, &settings, &mut self.optimiser, &mut self.buffers)?;
        match &self.average {
            Some(_) => checkpoint::load_params(self.ops, checkpoint, &mut self.params),
            None => Ok(()),
        }
    }
}
