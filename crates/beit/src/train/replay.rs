//! A step that a run did not take, computed again: which images and which parameters made it leap.

use super::spikes::Kept;
use super::{FinetuneSettings, Finetuning, PretrainSettings, Pretraining};
use crate::device::Device;
use crate::error::{Error, Result, unfit};
use crate::progress::Watch;
use crate::run::{Recorded, merged, run_of, settings_file};
use crate::settings::{DeviceSettings, Resume, RunSettings};
use beit_data::{Loader, Source};
use beit_ops::Ops;
use beit_train::{Replayed, Task, Trainer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// What a step that was not taken measures when it is computed again. A number that is not finite is none.
#[derive(Clone, Debug, Serialize)]
pub struct Replay {
    /// Steps before it.
    pub step: u64,
    /// Why it was not taken.
    pub reason: String,
    /// Its mean loss.
    pub loss: Option<f64>,
    /// The norm of its gradients, before clipping.
    pub grad_norm: Option<f64>,
    /// What the run measured, where it read it.
    pub loss_of_run: Option<f64>,
    /// What the run measured, where it read it.
    pub grad_norm_of_run: Option<f64>,
    /// The parameters, those with the largest gradients first, and before them those that are not finite.
    pub tensors: Vec<ReplayedTensor>,
    /// The images, each computed by itself, in the same order. They are mixed with no other.
    pub images: Vec<ReplayedImage>,
}

/// A parameter in a step.
#[derive(Clone, Debug, Serialize)]
pub struct ReplayedTensor {
    /// Its name.
    pub name: String,
    /// The norm of its gradient.
    pub grad_norm: Option<f64>,
}

/// An image in a step.
#[derive(Clone, Debug, Serialize)]
pub struct ReplayedImage {
    /// Its number in the data.
    pub index: usize,
    /// Its file.
    pub name: String,
    /// Its loss.
    pub loss: Option<f64>,
    /// The norm of the gradients of that loss.
    pub grad_norm: Option<f64>,
}

/// A step that a run kept, with the settings of the run.
pub struct Replaying {
    kept: KeptStep,
    settings: Settings,
    device: DeviceSettings,
}

/// Of which kind the run was.
enum Settings {
    Pretrain(Box<PretrainSettings>),
    Finetune(Box<FinetuneSettings>),
}

impl Replaying {
    /// Opens `RUN/spikes/step-N`. The device is the run's where `is_given` does not say that one was asked for.
    ///
    /// # Errors
    ///
    /// A folder that is no such step, or is damaged.
    pub fn open(folder: &Path, device: &DeviceSettings, is_given: impl Fn(&str) -> bool) -> Result<Self> {
        let kept = KeptStep::open(folder)?;
        let (settings, device) = match kept.said.phase.as_str() {
            "pretrain" => {
                let (settings, device) = of_run::<PretrainSettings>(&kept.run, device, is_given)?;
                let run = kept.resumed(&settings.run);
                (Settings::Pretrain(Box::new(PretrainSettings { run, ..settings })), device)
            }
            "finetune" => {
                let (settings, device) = of_run::<FinetuneSettings>(&kept.run, device, is_given)?;
                let run = kept.resumed(&settings.run);
                (Settings::Finetune(Box::new(FinetuneSettings { run, ..settings })), device)
            }
            other => unfit!(
                "{}: `phase` is {other}, expected pretrain or finetune",
                kept.folder.with_extension("json").display()
            ),
        };
        Ok(Self { kept, settings, device })
    }

    /// Where it computes.
    #[must_use]
    pub const fn device(&self) -> &DeviceSettings {
        &self.device
    }

    /// Computes the step again. Nothing is written but indices of images.
    ///
    /// # Errors
    ///
    /// Data, settings or a tokenizer that are not those of the run any more, or the device.
    pub fn run(&self, device: &Device, watch: &Watch) -> Result<Replay> {
        match &self.settings {
            Settings::Pretrain(settings) => {
                Pretraining::new((**settings).clone(), watch)?.replay(&self.kept, device)
            }
            Settings::Finetune(settings) => {
                Finetuning::new((**settings).clone(), watch)?.replay(&self.kept, device)
            }
        }
    }
}

/// The settings that a run has written down.
fn of_run<S: Default + Serialize + DeserializeOwned>(
    run: &Path,
    device: &DeviceSettings,
    is_given: impl Fn(&str) -> bool,
) -> Result<(S, DeviceSettings)> {
    merged(&S::default(), device, run, |path| path == "device" && is_given(path))
}

/// A step that was not taken, as a run has kept it.
pub(super) struct KeptStep {
    /// The folder of the run.
    pub(super) run: PathBuf,
    /// What stood before the step.
    pub(super) folder: PathBuf,
    said: Kept,
}

impl KeptStep {
    fn open(folder: &Path) -> Result<Self> {
        let Some(run) = run_of(folder) else {
            unfit!(
                "{}: not in the folder of a run; expected a step that a run has kept, RUN/spikes/step-N",
                folder.display()
            );
        };
        let path = folder.with_extension("json");
        let text = std::fs::read(&path).map_err(Error::file("read", &path))?;
        let damaged = |error| Error::Unfit(format!("{} is damaged: {error}", path.display()));
        let said = serde_json::from_slice(&text).map_err(damaged)?;
        if !folder.is_dir() {
            unfit!(
                "{}: only the newest steps are kept whole (--keep), and of this one {} alone is left",
                folder.display(),
                path.display()
            );
        }
        Ok(Self { run: run.to_owned(), folder: folder.to_owned(), said })
    }

    /// The settings of a run that goes on, whatever folder it was written to when it began.
    fn resumed(&self, run: &RunSettings) -> RunSettings {
        let mut run = RunSettings { resume: Resume::Always, ..run.clone() };
        run.folder.out = Some(self.run.clone());
        run
    }

    /// Refuses data and settings that are not the run's.
    pub(super) fn same_run(&self, recorded: &Recorded<'_, impl Serialize + Default>) -> Result<()> {
        recorded.refuse_other(&settings_file(&self.run))
    }

    /// Computes the step that comes next.
    pub(super) fn replayed<O: Ops, K: Task<O>>(
        &self,
        trainer: &mut Trainer<'_, O, K>,
        loader: &Loader<K::Sample>,
        source: &dyn Source,
    ) -> Result<Replay> {
        let Replayed { loss, grad_norm, tensors } = trainer.replay(loader)?;
        let tensors =
            tensors.into_iter().map(|(name, norm)| ReplayedTensor { name, grad_norm: finite(norm) });
        let mut tensors: Vec<_> = tensors.collect();
        tensors.sort_by(|a, b| largest_first(a.grad_norm, b.grad_norm));
        Ok(Replay {
            step: trainer.optimiser.steps(),
            reason: self.said.reason.clone(),
            loss: finite(loss),
            grad_norm: finite(grad_norm),
            loss_of_run: self.said.loss,
            grad_norm_of_run: self.said.grad_norm,
            tensors,
            images: images(trainer, loader, source)?,
        })
    }
}

/// The images of the step that comes next.
fn images<O: Ops, K: Task<O>>(
    trainer: &Trainer<'_, O, K>,
    loader: &Loader<K::Sample>,
    source: &dyn Source,
) -> Result<Vec<ReplayedImage>> {
    let (step, each) = (trainer.optimiser.steps(), trainer.recipe.accumulate);
    let mut images = Vec::new();
    for number in step * each..(step + 1) * each {
        for batch in loader.one_by_one(number) {
            let [loss, norm] = trainer.measure(&batch, number)?;
            let index = batch.indices[0];
            let (loss, grad_norm) = (finite(loss), finite(norm));
            images.push(ReplayedImage { index, name: source.name(index), loss, grad_norm });
        }
    }
    images.sort_by(|a, b| largest_first(a.grad_norm, b.grad_norm));
    Ok(images)
}

fn finite(number: f64) -> Option<f64> {
    Some(number).filter(|number| number.is_finite())
}

/// What is not finite comes before everything.
fn largest_first(a: Option<f64>, b: Option<f64>) -> std::cmp::Ordering {
    let size = |number: Option<f64>| number.unwrap_or(f64::INFINITY);
    size(b).total_cmp(&size(a))
}
