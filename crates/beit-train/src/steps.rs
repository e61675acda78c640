//! The loop that all training shares: micro-batches, guard, clipping, step, report.

use crate::error::{Error, Result};
use crate::guard::{Measured, Outcome, Pending};
use crate::meter::Meter;
use crate::optimiser::Optimiser;
use crate::progress::{Progress, StepReport};
use beit_data::{Batch, Loader, Sample};
use beit_ops::{Ops, Tree};
use beit_vit::Keep;

/// Who listens to a loop: a person, and whoever writes files.
pub struct Listeners<'a> {
    /// Shows progress.
    pub progress: &'a mut dyn Progress,
    /// Sees every report; what it returns ends the run.
    pub on_report: &'a mut dyn FnMut(&StepReport) -> Result<()>,
}

/// Some steps of a run.
pub(crate) struct Steps<'a, S: Sample> {
    pub(crate) phase: &'static str,
    pub(crate) loader: &'a Loader<S>,
    /// Micro-batches of a step.
    pub(crate) accumulate: u64,
    pub(crate) report_every: u64,
    /// Steps between two looks at what was measured; reports are looks too.
    pub(crate) read_every: u64,
    /// Steps of the whole run.
    pub(crate) total: u64,
    /// Where to stop this time.
    pub(crate) until: u64,
}

impl<S: Sample> Steps<'_, S> {
    /// Trains from the optimiser's step on. `micro_batch(params, batch, grads, meter)` adds gradients and says what it measured.
    ///
    /// Between two looks nothing waits for the device. The optimiser does not take a step whose gradients are not finite, so a
    /// look that comes later finds the parameters unharmed.
    pub(crate) fn run<O: Ops, P: Tree<O::Tensor, Of<O::Tensor> = P>>(
        self,
        ops: &O,
        params: &mut P,
        optimiser: &mut Optimiser<O::Tensor>,
        listeners: &mut Listeners<'_>,
        mut micro_batch: impl FnMut(&P, Batch<S>, &mut P, &mut Meter) -> Result<Outcome<O::Tensor>>,
    ) -> Result<()> {
        let (begin, until) = (optimiser.steps(), self.until.min(self.total));
        let mut batches = self.loader.batches(begin * self.accumulate..until.max(begin) * self.accumulate)?;
        let mut grads = params.map(&mut |p| ops.zeros(ops.shape(p)));
        optimiser.gather(ops, params, &mut grads);
        let mut meter = Meter::new(self.phase, self.total, self.report_every);
        let mut pending = Vec::new();
        listeners.progress.begin(self.phase, begin, self.total);
        for step in begin..until {
            let (mut outcomes, mut epoch) = (Vec::new(), 0);
            for number in step * self.accumulate..(step + 1) * self.accumulate {
                let batch = meter.wait(|| batches.next()).transpose()?;
                let batch =
                    batch.filter(|batch| self.number(batch) == number).ok_or(Error::NoImages { number })?;
                epoch = batch.epoch;
                let images = batch.indices.len();
                let outcome = micro_batch(params, batch, &mut grads, &mut meter)?;
                meter.batch(images, outcome.rows);
                outcomes.push(outcome);
            }
            let clip = optimiser.clip(ops, &grads);
            pending.push(Pending { step, epoch, lr: optimiser.lr(), outcomes, clip: clip.clone() });
            let measured = if self.looks_after(step + 1, until) {
                self.look(ops, &mut pending, &grads)?
            } else {
                Vec::new()
            };
            optimiser.step(ops, params, &mut grads, &clip);
            listeners.progress.step(step + 1);
            for (of, measured) in measured {
                if let Some(report) = meter.step(of.step + 1, of.epoch, of.lr, measured) {
                    listeners.progress.report(&report);
                    (listeners.on_report)(&report)?;
                }
            }
        }
        listeners.progress.end();
        Ok(())
    }

    /// Whether the numbers are read after `done` steps.
    fn looks_after(&self, done: u64, until: u64) -> bool {
        let due = |every: u64| done.is_multiple_of(every.max(1));
        due(self.read_every) || due(self.report_every) || done == until
    }

    /// Reads all steps that were not read, the last of which is not taken yet: its gradients are there.
    fn look<O: Ops>(
        &self,
        ops: &O,
        pending: &mut Vec<Pending<O::Tensor>>,
        grads: &impl Tree<O::Tensor>,
    ) -> Result<Vec<(Pending<O::Tensor>, Measured)>> {
        let last = pending.len() - 1;
        let read = |(i, pending): (usize, Pending<O::Tensor>)| {
            let measured = pending.read(ops, self.phase, (i == last).then_some(grads))?;
            Ok((pending, measured))
        };
        pending.drain(..).enumerate().map(read).collect()
    }

    /// The number of a batch through all epochs. The loader passes over batches of which no image can be decoded.
    fn number(&self, batch: &Batch<S>) -> u64 {
        batch.epoch * self.loader.batches_per_epoch() + batch.number
    }
}

/// What recipes without `read_every` mean.
pub(crate) fn one() -> u64 {
    1
}

/// `recompute` of a recipe, for the model.
pub(crate) fn keep(recompute: bool) -> Keep {
    if recompute { Keep::Inputs } else { Keep::All }
}
