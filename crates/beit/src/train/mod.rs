//! Training: runs in folders, which save, go on and are measured.

mod advice;
mod finetune;
mod pretrain;
mod tokenizer;
mod tokenizer_kinds;

pub use finetune::{FinetuneSettings, Finetuned, Finetuning};
pub use pretrain::{PlannedRun, PretrainSettings, Pretrained, Pretraining};
pub use tokenizer::{TokenizerSettings, TokenizerTraining, TrainedTokenizer, sentence as quality_sentence};
pub use tokenizer_kinds::{config_for as tokenizer_for, kmeans_for};

use crate::device::Device;
use crate::error::Result;
use crate::progress::Watch;
use crate::run::Run;
use crate::settings::{OptimisationSettings, RunSettings};
use beit_data::Loader;
use beit_ops::Ops;
use beit_train::{Hyper, Listeners, Metrics, NoHooks, Recipe, Task, Trainer};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// What a run is written down as: its settings, and where it computed.
#[derive(Serialize)]
struct Recorded<'a, S> {
    #[serde(flatten)]
    settings: &'a S,
    device: Computed<'a>,
}

#[derive(Serialize)]
struct Computed<'a> {
    device: &'a str,
    precision: &'a str,
}

impl<'a, S> Recorded<'a, S> {
    fn new(settings: &'a S, device: &'a Device) -> Self {
        Self { settings, device: Computed { device: device.flag(), precision: device.precision() } }
    }
}

/// The recipe of a transformer.
fn recipe(optimisation: &OptimisationSettings, run: &RunSettings, hyper: Hyper, device: &Device) -> Recipe {
    let report_every = run.folder.report_every();
    Recipe {
        accumulate: optimisation.update_freq,
        hyper,
        report_every,
        read_every: device.read_every(report_every),
        seed: optimisation.seed,
    }
}

/// A folder, where its metrics go, and who watches.
struct Journal<'a> {
    run: &'a Run,
    metrics: Metrics,
    watch: &'a Watch,
}

impl<'a> Journal<'a> {
    fn open(run: &'a Run, watch: &'a Watch) -> Result<Self> {
        Ok(Self { run, metrics: Metrics::append(&run.path("metrics.jsonl"))?, watch })
    }

    /// Trains up to step `until`.
    fn train<O: Ops, K: Task<O>>(
        &mut self,
        trainer: &mut Trainer<'_, O, K>,
        loader: &Loader<K::Sample>,
        until: u64,
    ) -> Result<()> {
        let mut watch = self.watch.clone();
        let mut listeners = Listeners { progress: &mut watch, sinks: &mut self.metrics };
        Ok(trainer.run(loader, until, &mut NoHooks, &mut listeners)?)
    }

    /// Trains to the end and saves on the way; returns the last checkpoint.
    fn train_to_the_end<O: Ops, K: Task<O>>(
        &mut self,
        trainer: &mut Trainer<'_, O, K>,
        loader: &Loader<K::Sample>,
        settings: &RunSettings,
        save: impl Fn(&Trainer<'_, O, K>, &Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let total = trainer.recipe.hyper.schedule.total;
        loop {
            let until = settings.next_stop(trainer.optimiser.steps(), total);
            self.train(trainer, loader, until)?;
            let checkpoint = self.run.checkpoint(trainer.optimiser.steps())?;
            save(trainer, &checkpoint)?;
            self.run.set_last(&checkpoint, settings.keep)?;
            if until >= total {
                return Ok(checkpoint);
            }
        }
    }
}

/// Refuses to go on with another model than the run's.
fn same_model<C: PartialEq + std::fmt::Debug>(dir: &Path, found: &C, expected: &C) -> Result<()> {
    if found != expected {
        crate::error::unfit!(
            "{} holds another model than this run's; found {found:?}, expected {expected:?}; resume with the flags of the run",
            dir.display()
        );
    }
    Ok(())
}
