//! Frozen features of the model, judged while it is trained.

use super::Pretraining;
use super::goal::Goal;
use crate::error::Result;
use crate::loaders::Loading;
use crate::probe::{Accuracies, Again, Few};
use crate::ranks::Team;
use crate::train::Journal;
use beit_ops::Ops;
use beit_train::{FeatureReport, Peak, Record, Sink, Task, Trainer};
use std::time::{Duration, Instant};

/// Judges the features after so many steps, before the first and after the last.
pub(super) struct Features<'a> {
    every: u64,
    few: &'a Few,
    again: Again<'a>,
    /// The newest step at which they were judged, or of the checkpoint that the run goes on from: it was judged before that was saved.
    seen: Option<u64>,
    /// What a step takes, where it is known.
    step: Option<Duration>,
    /// Whether it was said what judging costs.
    said: bool,
}

impl<'a> Features<'a> {
    /// Where that is asked for, of a run that goes on after `seen` steps or begins; `step` is what one takes, where it is known.
    pub(super) fn asked_for(
        job: &'a Pretraining,
        loading: &Loading,
        team: &'a Team,
        (seen, step): (Option<u64>, Option<Duration>),
    ) -> Option<Self> {
        let (every, few) = job.settings.probe_every.zip(job.few.as_ref())?;
        let again = Again::new(few, job.preprocessing, loading, team);
        Some(Self { every, few, again, seen, step, said: false })
    }

    fn is_due(&self, step: u64, total: u64) -> bool {
        (step.is_multiple_of(self.every) || step >= total) && self.seen.is_none_or(|seen| step > seen)
    }

    fn judged<'t, O: Ops + 'static, G: Goal<O> + 't>(
        &mut self,
        trainer: &Trainer<'_, O, G::Task<'t>>,
    ) -> Result<FeatureReport> {
        let begun = Instant::now();
        let Accuracies { images, pixels, blocks } =
            self.again.accuracies(trainer.ops, G::vit(&trainer.params))?;
        let average = match trainer.recipe.ema {
            Some(_) => Some(self.again.accuracies(trainer.ops, G::vit(trainer.model().0))?.blocks),
            None => None,
        };
        Ok(FeatureReport {
            of: Task::<O>::phase(&trainer.task),
            step: trainer.optimiser.steps(),
            images,
            pixels,
            blocks,
            average,
            seconds: begun.elapsed().as_secs_f64(),
        })
    }

    /// Says once, of a judging that is like all to come, what share of the run it takes.
    fn say_costs(&mut self, journal: &Journal<'_>, report: &FeatureReport) {
        // The first one judges the pixels as well.
        let Some(step) = self.step.filter(|_| !self.said && report.step > 0) else { return };
        self.said = true;
        let between = step.as_secs_f64() * self.every as f64;
        journal.watch.note(&format!(
            "--probe-every {}: judging takes {:.1} s, about {:.1} % of the time of the run",
            self.every,
            report.seconds,
            100.0 * report.seconds / (between + report.seconds)
        ));
    }

    /// The first step after so many at which they are judged.
    pub(super) fn next(&self, step: u64) -> u64 {
        (step / self.every + 1).saturating_mul(self.every)
    }

    /// Judges them, where it is time to.
    pub(super) fn look<'t, O: Ops + 'static, G: Goal<O> + 't>(
        &mut self,
        journal: &mut Journal<'_>,
        trainer: &Trainer<'_, O, G::Task<'t>>,
    ) -> Result<()> {
        let (step, total) = (trainer.optimiser.steps(), trainer.recipe.hyper.schedule.total);
        if !self.is_due(step, total) {
            return Ok(());
        }
        let report = self.judged::<O, G>(trainer)?;
        journal.watch.note(&sentence(&report, self.few.neighbours()));
        self.say_costs(journal, &report);
        self.seen = Some(step);
        journal.metrics.record(&Record::Features(&report))?;
        journal.draw();
        Ok(())
    }
}

/// A line for a person.
fn sentence(report: &FeatureReport, neighbours: usize) -> String {
    let FeatureReport { step, images: [learnt, judging], pixels, average, .. } = report;
    let mut text = format!(
        "features after {step} steps, by {neighbours} of {learnt} neighbours on {judging} training images"
    );
    if let Some(Peak { best_block, best, blocks, last, .. }) = report.peak() {
        text += &format!(": block {best_block} of {blocks} {best:.3}, the last {last:.3}");
    }
    if let Some(Peak { best_block, best, last, .. }) =
        average.as_ref().and_then(|blocks| Peak::of(blocks, *judging))
    {
        text += &format!("; of the average block {best_block} {best:.3}, the last {last:.3}");
    }
    if let Some(pixels) = pixels {
        text += &format!("; pixels {pixels:.3}");
    }
    text
}
