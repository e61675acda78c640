//! The best checkpoint of a run: which it is so far, by what is measured whenever one is saved.
//!
//! It is written down in every checkpoint, so that a run that goes on from any of them keeps the same.

use super::Journal;
use crate::error::{Error, Result};
use crate::progress::Watch;
use crate::run::Run;
use crate::settings::{BestMetric, BestSettings};
use beit_ops::Ops;
use beit_train::{Record, Sink, TRAINING, Task, Trainer};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// In the `training/` of a checkpoint.
const BEST: &str = "best.json";

/// The best checkpoint of a run.
#[derive(Clone, Debug, Serialize)]
pub struct BestCheckpoint {
    /// Its folder, to which `best` leads.
    pub checkpoint: PathBuf,
    /// Steps done in it.
    pub step: u64,
    /// By what it is the best.
    pub metric: BestMetric,
    /// How it does.
    pub value: f64,
}

impl BestCheckpoint {
    /// One line for a person.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self { checkpoint, step, metric, value } = self;
        format!("best checkpoint: {}, {metric} {value:.4} after {step} steps", checkpoint.display())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Measured {
    step: u64,
    value: f64,
}

/// `best.json`: what was measured so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Standing {
    metric: BestMetric,
    newest: Measured,
    best: Measured,
}

impl Standing {
    /// What stands in a checkpoint; none where nothing was measured yet.
    fn read(checkpoint: &Path) -> Result<Option<Self>> {
        let path = checkpoint.join(TRAINING).join(BEST);
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(Error::file("read", &path))?,
        };
        let damaged = |error| Error::Unfit(format!("{} is damaged: {error}", path.display()));
        serde_json::from_slice(&text).map(Some).map_err(damaged)
    }

    /// Writes it into a checkpoint.
    pub(super) fn write(&self, checkpoint: &Path) -> Result<()> {
        let path = checkpoint.join(TRAINING).join(BEST);
        let text = serde_json::to_vec_pretty(self).map_err(std::io::Error::other);
        text.and_then(|text| std::fs::write(&path, text)).map_err(Error::file("write", &path))
    }

    /// The same, after one more.
    fn after(before: Option<Self>, metric: BestMetric, newest: Measured) -> Self {
        let best = match before {
            Some(before) if !metric.is_better(newest.value, before.best.value) => before.best,
            _ => newest,
        };
        Self { metric, newest, best }
    }
}

/// Measures a model on images that were held out.
pub(super) type Judging<'j, O, K> = dyn FnMut(&Trainer<'_, O, K>) -> Result<f64> + 'j;

/// Keeps the best checkpoint, where that is asked for.
pub(super) struct Best<'j, O: Ops, K: Task<O>> {
    metric: Option<BestMetric>,
    pub(super) standing: Option<Standing>,
    /// Which images judge.
    split: String,
    judge: &'j mut Judging<'j, O, K>,
}

impl<'j, O: Ops, K: Task<O>> Best<'j, O, K> {
    /// As it stands in the checkpoint that a run goes on from.
    pub(super) fn new(
        settings: BestSettings,
        (run, watch): (&Run, &Watch),
        split: String,
        judge: &'j mut Judging<'j, O, K>,
    ) -> Result<Self> {
        let metric = settings.keep_best;
        let standing = match (metric, run.newest()) {
            (Some(_), Some(newest)) => Standing::read(&newest)?,
            _ => None,
        };
        let gone = standing.map(|standing| run.checkpoint(standing.best.step)).filter(|best| !best.is_dir());
        if let Some(best) = &gone {
            let best = best.display();
            watch.note(&format!(
                "the best checkpoint so far is gone, {best}: the best of those to come is kept"
            ));
        }
        Ok(Self { metric, standing: standing.filter(|_| gone.is_none()), split, judge })
    }

    /// The step of the best checkpoint.
    pub(super) fn step(&self) -> Option<u64> {
        self.standing.map(|standing| standing.best.step)
    }

    /// Measures what will be saved, unless that was done before. All processes call it.
    pub(super) fn measure(&mut self, journal: &mut Journal<'_>, trainer: &Trainer<'_, O, K>) -> Result<()> {
        let (Some(metric), step) = (self.metric, trainer.optimiser.steps()) else { return Ok(()) };
        if self.standing.is_some_and(|standing| standing.newest.step == step) {
            return Ok(());
        }
        let newest = Measured { step, value: (self.judge)(trainer)? };
        let standing = Standing::after(self.standing, metric, newest);
        self.standing = Some(standing);
        let (Measured { value, .. }, best, split) = (newest, standing.best, &self.split);
        let place = match best.step == step {
            true => "the best so far".to_owned(),
            false => format!("{:.4} after {} steps is the best", best.value, best.step),
        };
        journal.watch.note(&format!("{metric} on {split} images after {step} steps: {value:.4}, {place}"));
        let (of, metric, best) = (trainer.task.phase(), metric.name(), best.step);
        journal.metrics.record(&Record::Checkpoint { of, step, split, metric, value, best })?;
        Ok(())
    }

    /// The answer.
    pub(super) fn answer(&self, run: &Run) -> Option<BestCheckpoint> {
        self.standing.map(|Standing { metric, best: Measured { step, value }, .. }| BestCheckpoint {
            checkpoint: run.checkpoint(step),
            step,
            metric,
            value,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equally_good_ones_the_first_is_the_best() {
        let all = [(5, 0.5), (10, 0.7), (15, 0.7), (20, 0.6)].map(|(step, value)| Measured { step, value });
        let mut standing = None;
        let best = all.map(|newest| {
            standing = Some(Standing::after(standing, BestMetric::Accuracy, newest));
            standing.map(|standing| standing.best.step)
        });
        assert_eq!(best, [Some(5), Some(10), Some(10), Some(10)]);

        let dir = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(dir.path().join(TRAINING)).expect("a folder");
        assert_eq!(Standing::read(dir.path()).expect("none is there"), None);
        standing.expect("four were measured").write(dir.path()).expect("the disk has room");
        assert_eq!(Standing::read(dir.path()).expect("it was written so"), standing);
        std::fs::write(dir.path().join(TRAINING).join(BEST), "{").expect("a file");
        assert!(Standing::read(dir.path()).expect_err("half").to_string().contains("best.json is damaged"));
    }
}
