//! A run while it trains: steps, metrics, checkpoints, and stopping.

use crate::error::{Error, Result};
use crate::progress::Watch;
use crate::run::Run;
use crate::settings::RunSettings;
use beit_data::Loader;
use beit_ops::Ops;
use beit_train::{Hooks, Listeners, Metrics, Task, Trainer};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A folder, where its metrics go, and who watches.
pub(super) struct Journal<'a> {
    pub(super) run: &'a mut Run,
    pub(super) metrics: Metrics,
    pub(super) watch: &'a Watch,
}

/// Checkpoints that are due by time are at least so far apart.
const LEAST_BETWEEN: Duration = Duration::from_secs(60);
/// And at least so many times what saving one took: it costs below 1 % of the run.
const COSTS: u32 = 100;

/// When a run returns from its steps.
struct Pauses<'a> {
    watch: &'a Watch,
    /// When the next checkpoint is due.
    due: Option<Instant>,
}

impl<O: Ops, K: Task<O>> Hooks<O, K> for Pauses<'_> {
    fn pause(&mut self, _: u64) -> beit_train::Result<bool> {
        Ok(self.watch.stops() || self.due.is_some_and(|due| Instant::now() >= due))
    }
}

impl<'a> Journal<'a> {
    /// Goes on after `step` steps of `phase`: what was measured after them is taken out of the metrics.
    pub(super) fn open(run: &'a mut Run, watch: &'a Watch, phase: &str, step: u64) -> Result<Self> {
        let metrics = Metrics::resume(&run.path("metrics.jsonl"), phase, step)?;
        Ok(Self { run, metrics, watch })
    }

    /// Takes out what was measured of a phase that begins again.
    pub(super) fn begin_again(&mut self, phase: &str) -> Result<()> {
        self.metrics = Metrics::resume(&self.run.path("metrics.jsonl"), phase, 0)?;
        Ok(())
    }

    /// Trains up to step `until`, of what cannot be gone on with.
    ///
    /// # Errors
    ///
    /// Also where whoever watches wants it to stop.
    pub(super) fn train<O: Ops, K: Task<O>>(
        &mut self,
        trainer: &mut Trainer<'_, O, K>,
        loader: &Loader<K::Sample>,
        until: u64,
    ) -> Result<()> {
        self.steps(trainer, loader, until, None)?;
        match self.watch.stops() {
            true => Err(Error::Stopped("what was learnt in this part of the run is not kept".to_owned())),
            false => Ok(()),
        }
    }

    fn steps<O: Ops, K: Task<O>>(
        &mut self,
        trainer: &mut Trainer<'_, O, K>,
        loader: &Loader<K::Sample>,
        until: u64,
        due: Option<Instant>,
    ) -> Result<()> {
        let mut progress = self.watch.clone();
        let mut listeners = Listeners { progress: &mut progress, sinks: &mut self.metrics };
        let mut pauses = Pauses { watch: self.watch, due };
        Ok(trainer.run(loader, until, &mut pauses, &mut listeners)?)
    }

    /// Trains to the end and saves on the way: after so many steps where that is asked for, else by time; also when it is to stop,
    /// and when the data fail. Returns the last checkpoint.
    pub(super) fn train_to_the_end<O: Ops, K: Task<O>>(
        &mut self,
        trainer: &mut Trainer<'_, O, K>,
        loader: &Loader<K::Sample>,
        settings: &RunSettings,
        save: impl Fn(&Trainer<'_, O, K>, &Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let total = trainer.recipe.hyper.schedule.total;
        let by_time = settings.saves_by_time();
        let mut between = LEAST_BETWEEN;
        loop {
            let begun = trainer.optimiser.steps();
            let until = settings.next_stop(begun, total);
            let ended = self.steps(trainer, loader, until, by_time.then(|| Instant::now() + between));
            let step = trainer.optimiser.steps();
            if let Err(error) = ended {
                self.rescue(trainer, begun, settings, &save, &error);
                return Err(error);
            }
            let saving = Instant::now();
            let checkpoint = self.save(trainer, settings, &save)?;
            between = LEAST_BETWEEN.max(saving.elapsed() * COSTS);
            if step >= total {
                return Ok(checkpoint);
            }
            if self.watch.stops() {
                return Err(Error::Stopped(format!(
                    "{step} of {total} steps are saved in {}; go on with --resume --out {}",
                    checkpoint.display(),
                    self.run.dir.display()
                )));
            }
        }
    }

    fn save<O: Ops, K: Task<O>>(
        &mut self,
        trainer: &Trainer<'_, O, K>,
        settings: &RunSettings,
        save: &impl Fn(&Trainer<'_, O, K>, &Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let checkpoint = self.run.checkpoint(trainer.optimiser.steps())?;
        save(trainer, &checkpoint)?;
        self.run.set_last(&checkpoint, settings.keep)?;
        Ok(checkpoint)
    }

    /// Saves what a run had learnt when its data failed. Numbers that are not finite, or a device that failed, leave nothing that is
    /// worth it.
    fn rescue<O: Ops, K: Task<O>>(
        &mut self,
        trainer: &Trainer<'_, O, K>,
        begun: u64,
        settings: &RunSettings,
        save: &impl Fn(&Trainer<'_, O, K>, &Path) -> Result<()>,
        error: &Error,
    ) {
        let lost = trainer.optimiser.steps() > begun;
        if lost
            && matches!(error, Error::Train(beit_train::Error::Data(_) | beit_train::Error::NoImages { .. }))
        {
            let dir = self.run.dir.display().to_string();
            match self.save(trainer, settings, save) {
                Ok(saved) => self.watch.note(&format!(
                    "saved before it ends: {}; --resume --out {dir} goes on from there",
                    saved.display()
                )),
                Err(error) => self.watch.note(&format!("what was learnt cannot be saved: {error}")),
            }
        }
    }
}
