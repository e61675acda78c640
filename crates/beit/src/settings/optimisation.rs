use super::Batches;
use super::batches;
use super::number::{RATE, within};
use crate::error::{Result, setting, unfit};
use beit_data::Shard;
use beit_train::{Decay, Hyper, Schedule};
use beit_vit::Keep;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The rate at the end in the released recipes.
const MIN_LR: f64 = 1e-5;
/// Published recipes decay by 0.3 and less; weights are gone in a few steps of this.
const MOST_DECAY: f64 = 10.0;

/// How the parameters of a transformer are trained.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default)]
pub struct OptimisationSettings {
    /// Passes over the images; where not given, in fine-tuning 4, and of few images as many as make 800 steps (in segmentation 2,000, or 1,000 of small pictures), in pre-training what is usual for the preset
    #[cfg_attr(feature = "clap", arg(long))]
    pub epochs: Option<u64>,
    /// Optimiser steps, instead of epochs
    #[cfg_attr(feature = "clap", arg(long))]
    pub steps: Option<u64>,
    /// Images of a micro-batch.
    #[cfg_attr(feature = "clap", command(flatten))]
    #[serde(flatten)]
    pub batches: Batches,
    /// Micro-batches of a step, over all processes; as many as there are processes where not given
    #[cfg_attr(feature = "clap", arg(long))]
    pub update_freq: Option<u64>,
    /// Images of a step, over all processes: --batch-size and --update-freq follow where they are not given, so that a recipe holds for any
    /// number of processes
    #[cfg_attr(feature = "clap", arg(long, value_name = "IMAGES"))]
    pub global_batch: Option<u64>,
    /// Keep the inputs of the blocks only and compute the rest again for the gradients: the same numbers, less memory, more time
    #[cfg_attr(feature = "clap", arg(long))]
    pub recompute: bool,
    /// Leave the embeddings and so many of the first blocks as they are in --init, and train what is above them; 0 for none
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().freeze, value_name = "BLOCKS", requires = "init"))]
    pub freeze: usize,
    /// Each of several processes keeps the optimiser's moments of a share of the parameters, and steps only them: the same numbers, less memory, more to send
    #[cfg_attr(
        feature = "clap",
        arg(long, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set, value_name = "true|false", hide_default_value = true, hide_possible_values = true)
    )]
    pub shard_optimiser: bool,
    /// Peak learning rate; where not given, 4e-3 in fine-tuning (in segmentation 7e-4, or 1.6e-2 of small pictures), in pre-training what is usual for the preset
    #[cfg_attr(feature = "clap", arg(long))]
    pub lr: Option<f64>,
    /// Learning rate at the end; where not given 0 in segmentation, else 1e-5, or the peak where that is lower
    #[cfg_attr(feature = "clap", arg(long))]
    pub min_lr: Option<f64>,
    /// Epochs of warm-up; 5 % of the run where not given
    #[cfg_attr(feature = "clap", arg(long))]
    pub warmup_epochs: Option<f64>,
    /// Steps of warm-up, instead of epochs
    #[cfg_attr(feature = "clap", arg(long))]
    pub warmup_steps: Option<u64>,
    /// Limit of the global norm of the gradients; 0 for none
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().clip_grad))]
    pub clip_grad: f32,
    /// Weight decay
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().weight_decay))]
    pub weight_decay: f64,
    /// Seed of everything random
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 0, value_parser = super::seeds()))]
    pub seed: u64,
}

impl Default for OptimisationSettings {
    fn default() -> Self {
        Self {
            epochs: None,
            steps: None,
            batches: Batches::default(),
            update_freq: None,
            global_batch: None,
            recompute: false,
            freeze: 0,
            shard_optimiser: false,
            lr: None,
            min_lr: None,
            warmup_epochs: None,
            warmup_steps: None,
            clip_grad: 3.0,
            weight_decay: 0.05,
            seed: 0,
        }
    }
}

impl OptimisationSettings {
    /// Images of a micro-batch.
    #[must_use]
    pub fn batch_size(&self) -> usize {
        self.batches.or(Batches::LARGE)
    }

    /// Micro-batches of a step, over all processes.
    #[must_use]
    pub fn update_freq(&self) -> u64 {
        self.update_freq.unwrap_or(1)
    }

    /// Images of a step.
    #[must_use]
    pub fn step_size(&self) -> u64 {
        self.batch_size() as u64 * self.update_freq()
    }

    /// Micro-batches of an epoch of so many images, as the loader counts: whole ones, and one where there are fewer images than it has,
    /// which are seen several times.
    pub(crate) fn batches_of(&self, images: usize) -> u64 {
        (images / self.batch_size().max(1)).max(1) as u64
    }

    /// Steps of an epoch of so many micro-batches: whole ones, and at least one.
    pub(crate) fn steps_of(&self, batches_per_epoch: u64) -> u64 {
        (batches_per_epoch / self.update_freq().max(1)).max(1)
    }

    /// Steps of the run, where its length is given in steps or in epochs of so many micro-batches.
    pub(crate) fn total(&self, batches_per_epoch: u64) -> Option<u64> {
        let epochs = || Some(self.epochs?.saturating_mul(self.steps_of(batches_per_epoch)));
        self.steps.or_else(epochs)
    }

    /// Divides the images of a step, where these are given, into micro-batches that so many processes can share.
    ///
    /// # Errors
    ///
    /// Numbers that do not divide; those that do are named.
    pub fn divide(&mut self, ranks: usize) -> Result<()> {
        if let Some(images) = self.global_batch {
            let found =
                batches::divide(images, ranks.max(1) as u64, self.batches.batch_size, self.update_freq)?;
            (self.batches, self.update_freq) = (found.0.into(), Some(found.1));
        }
        Ok(())
    }

    /// How often one of so many processes keeps as many numbers as the model has, besides the model: gradients, two moments or its
    /// share of them, a sum for each time that its micro-batches of a step are halved, and an average of the weights where there is one.
    pub(crate) fn kept(&self, average: Option<f64>, ranks: usize) -> usize {
        let own = self.update_freq().div_ceil(ranks.max(1) as u64);
        let halvings = u64::BITS - own.saturating_sub(1).leading_zeros();
        let moments = if self.shard_optimiser { 2_usize.div_ceil(ranks.max(1)) } else { 2 };
        1 + moments + halvings as usize + average.is_some() as usize
    }

    /// The part that a process has of the optimiser's moments.
    pub(crate) const fn moments(&self, shard: Shard) -> Shard {
        if self.shard_optimiser { shard } else { Shard::WHOLE }
    }

    /// Puts the usual numbers in the place of those that were not given, so that they are written down with the run.
    pub(crate) fn settle(&mut self, batch_size: usize, epochs: u64) {
        self.batches = self.batches.or(batch_size).into();
        self.update_freq.get_or_insert(1);
        if self.steps.is_none() {
            self.epochs.get_or_insert(epochs);
        }
    }

    /// Refuses to leave more blocks as they are than a model has, or those of a model that is random.
    pub(crate) fn check_frozen(&self, depth: usize, init: Option<&Path>) -> Result<()> {
        match (self.freeze, init) {
            (0, _) => Ok(()),
            (freeze, None) => {
                setting!("--freeze {freeze} without --init: random blocks would stay as they are")
            }
            (freeze, Some(init)) if freeze > depth => {
                unfit!("--freeze {freeze}: {} has {depth} blocks, expected at most as many", init.display())
            }
            _ => Ok(()),
        }
    }

    /// Refuses numbers that no run can have.
    pub(crate) fn check(&self) -> Result<()> {
        for (flag, rate) in [("--lr", self.lr), ("--min-lr", self.min_lr)] {
            rate.map_or(Ok(()), |rate| within(flag, "a learning rate", rate, RATE))?;
        }
        within("--weight-decay", "a decay", self.weight_decay, 0.0..=MOST_DECAY)?;
        within("--clip-grad", "a norm", self.clip_grad, 0.0..)?;
        within("--warmup-epochs", "a number", self.warmup_epochs.unwrap_or(0.0), 0.0..)?;
        if self.update_freq() == 0 || self.batch_size() == 0 {
            setting!(
                "nothing to train: steps of {} micro-batches of {} images; --update-freq and --batch-size must be at least 1",
                self.update_freq(),
                self.batch_size()
            );
        }
        Ok(())
    }

    /// The optimiser for a loader of so many batches in an epoch, with a learning rate for who gave none.
    pub(crate) fn hyper(&self, batches_per_epoch: u64, lr: f64, decay: Decay) -> Result<Hyper> {
        let total = self.total(batches_per_epoch).unwrap_or(0);
        let batches = total.checked_mul(self.update_freq());
        let images = batches.and_then(|batches| batches.checked_mul(self.batch_size() as u64));
        if total == 0 || images.is_none() {
            setting!(
                "--steps or --epochs: expected at least 1 and no more than can be counted, found {total} steps"
            );
        }
        let warmup = match (self.warmup_steps, self.warmup_epochs) {
            (Some(steps), _) => steps,
            (None, Some(epochs)) => (epochs * self.steps_of(batches_per_epoch) as f64).round() as u64,
            (None, None) => total / 20,
        };
        if warmup >= total {
            setting!("a warm-up of {warmup} steps in a run of {total}: expected fewer");
        }
        let peak = self.lr.unwrap_or(lr);
        let usual = if decay == Decay::Linear { 0.0 } else { MIN_LR };
        let min = self.min_lr.unwrap_or(usual.min(peak));
        if min > peak {
            setting!("--min-lr {min}: expected at most the peak learning rate, --lr {peak}, found {min}");
        }
        let schedule = Schedule { peak, min, warmup, total, decay };
        let clip_grad = (self.clip_grad > 0.0).then_some(self.clip_grad);
        Ok(Hyper { weight_decay: self.weight_decay, clip_grad, frozen: self.freeze, ..Hyper::new(schedule) })
    }

    /// How much a forward keeps for its backward.
    pub(crate) fn keep(&self) -> Keep {
        Keep { inputs_only: self.recompute, frozen: self.freeze }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_halves_take_memory() {
        let of = |update_freq| OptimisationSettings { update_freq: Some(update_freq), ..Default::default() };
        assert_eq!([1, 2, 3, 4, 5, 8].map(|freq| of(freq).kept(None, 1)), [3, 4, 5, 5, 6, 6]);
        assert_eq!([4, 8, 16].map(|freq| of(freq).kept(None, 4)), [3, 4, 5]);
        assert_eq!(OptimisationSettings::default().kept(Some(0.9), 1), 4);
    }

    #[test]
    fn shared_moments_take_less() {
        let shared = OptimisationSettings { shard_optimiser: true, ..Default::default() };
        assert_eq!([1, 2, 8].map(|ranks| shared.kept(None, ranks)), [3, 2, 2]);
    }
}
