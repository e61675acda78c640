//! Frozen features of the model, judged while it is trained.

use super::job::PretrainTask;
use crate::error::Result;
use crate::probe::{Again, Few};
use crate::train::Journal;
use crate::train::onlooker::Onlooker;
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
    /// Of a run that goes on after `seen` steps, if it does.
    pub(super) fn new(
        every: u64,
        few: &'a Few,
        again: Again<'a>,
        seen: Option<u64>,
        step: Option<Duration>,
    ) -> Self {
        Self { every, few, again, seen, step, said: false }
    }

    fn is_due(&self, step: u64, total: u64) -> bool {
        (step.is_multiple_of(self.every) || step >= total) && self.seen.is_none_or(|seen| step > seen)
    }

    fn judged<O: Ops>(&mut self, trainer: &Trainer<'_, O, PretrainTask<'_, O>>) -> Result<FeatureReport> {
        let begun = Instant::now();
        let (pixels, blocks) = self.again.accuracies(trainer.ops, &trainer.params.vit)?;
        let average = match trainer.recipe.ema {
            Some(_) => Some(self.again.accuracies(trainer.ops, &trainer.model().0.vit)?.1),
            None => None,
        };
        Ok(FeatureReport {
            of: Task::<O>::phase(&trainer.task),
            step: trainer.optimiser.steps(),
            images: self.few.images(),
            pixels,
            blocks,
            average,
            seconds: begun.elapsed().as_secs_f64(),
        })
    }

    /// Says once, of a judging that is like all to come, what share of the run it takes.
    fn say_costs(&mut self, journal: &Journal<'_>, report: &FeatureReport) {
        let first = self.seen.is_none_or(|seen| seen == 0) && report.step == 0;
        let Some(step) = self.step.filter(|_| !self.said && !first) else { return };
        self.said = true;
        let between = step.as_secs_f64() * self.every as f64;
        journal.watch.note(&format!(
            "--probe-every {}: judging takes {:.1} s, about {:.1} % of the time of the run",
            self.every,
            report.seconds,
            100.0 * report.seconds / (between + report.seconds)
        ));
    }
}

impl<O: Ops> Onlooker<O, PretrainTask<'_, O>> for Option<Features<'_>> {
    fn next(&self, step: u64) -> Option<u64> {
        let Features { every, .. } = self.as_ref()?;
        Some((step / every + 1).saturating_mul(*every))
    }

    fn look(
        &mut self,
        journal: &mut Journal<'_>,
        trainer: &Trainer<'_, O, PretrainTask<'_, O>>,
    ) -> Result<()> {
        let (step, total) = (trainer.optimiser.steps(), trainer.recipe.hyper.schedule.total);
        let Some(features) = self.as_mut().filter(|features| features.is_due(step, total)) else {
            return Ok(());
        };
        let report = features.judged(trainer)?;
        journal.watch.note(&sentence(&report, features.few.neighbours()));
        features.say_costs(journal, &report);
        features.seen = Some(step);
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
