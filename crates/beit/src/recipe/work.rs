//! What a recipe takes, by its numbers alone.

use super::layers::{Asked, Layered, Merged, merge};
use super::{About, Recipe};
use crate::error::{Result, unfit};
use crate::settings::{DeviceSettings, OptimisationSettings};
use crate::train::{
    FinetuneSettings, FinetunedShape, PretrainSettings, planned_pretraining, pretrained_parameters,
};
use beit_heads::MimConfig;
use beit_ops::Footprint;
use serde::Serialize;

/// Visual tokens of the discrete VAE that the released models were trained with.
const DALLE_VOCAB: usize = beit_tokenizer::Config::dalle().vocab;

/// What a run by a recipe takes, on the images that it is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Work {
    /// Numbers that are trained.
    pub parameters: usize,
    /// Optimiser steps.
    pub steps: u64,
    /// Images of a step.
    pub images_per_step: u64,
    /// Floating-point operations of an image, forward and backward, without the tokenizer's.
    pub flops_per_image: u64,
}

impl Work {
    /// Floating-point operations of the run.
    #[must_use]
    pub fn flops(&self) -> f64 {
        self.steps as f64 * self.images_per_step as f64 * self.flops_per_image as f64
    }

    /// Hours of the run where so many floating-point operations a second are done.
    #[must_use]
    pub fn hours(&self, flops_per_second: f64) -> f64 {
        self.flops() / flops_per_second / 3600.0
    }
}

impl Recipe {
    /// The settings of the recipe over what is usual.
    ///
    /// # Errors
    ///
    /// Those of [`merge`].
    pub fn settings<S: Layered>(&self) -> Result<S> {
        let asked = Asked { recipe: Some(self), changes: &[], is_flag: &|_| false };
        let Merged { settings, .. } = merge(S::default(), &DeviceSettings::default(), asked)?;
        Ok(settings)
    }

    /// What a run takes, by shapes alone: no data and no checkpoint is opened.
    ///
    /// # Errors
    ///
    /// A recipe that does not say which images it is meant for, or settings that describe no run.
    pub fn work(&self) -> Result<Work> {
        let Some(about) = &self.about else {
            unfit!("{}: it has no [recipe] that says how many images it is meant for", self.name)
        };
        match about.verb.as_str() {
            PretrainSettings::VERB => pretraining(&self.settings()?, about),
            _ => finetuning(&self.settings()?, about),
        }
    }
}

fn pretraining(settings: &PretrainSettings, about: &About) -> Result<Work> {
    let training = one_process(&settings.training)?;
    let vit = settings.model.config_for(&settings.data)?;
    let masker = settings.mask.masker(vit.grid())?;
    let predicted = settings.predicted(&vit, &masker);
    let config = MimConfig { vit, vocab: DALLE_VOCAB };
    let planned = planned_pretraining(&config, predicted, &training, Footprint::default(), 1);
    Ok(work(&training, about, planned.flops, pretrained_parameters(&config)))
}

fn finetuning(settings: &FinetuneSettings, about: &About) -> Result<Work> {
    let training = one_process(&settings.training)?;
    let settings = FinetuneSettings { training, ..settings.clone() };
    settings.check()?;
    let shape = FinetunedShape::of(&settings, about.trained_on.classes)?;
    let planned = shape.planned(&settings, Footprint::default(), 1);
    Ok(work(&settings.training, about, planned.flops, shape.parameters()))
}

/// The numbers of one process that makes the whole step.
fn one_process(training: &OptimisationSettings) -> Result<OptimisationSettings> {
    let mut training = training.clone();
    training.divide(1)?;
    training.check()?;
    Ok(training)
}

fn work(training: &OptimisationSettings, about: &About, micro_batch: u64, parameters: usize) -> Work {
    let images_per_step = training.step_size();
    let batches = training.batches_of(about.trained_on.images);
    let steps = training.total(batches).unwrap_or_else(|| training.steps_of(batches));
    Work { parameters, steps, images_per_step, flops_per_image: micro_batch / training.batch_size() as u64 }
}
