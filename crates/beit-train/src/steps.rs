//! The loop that all training shares: micro-batches, guard, clipping, step, report.

use crate::error::{Error, Result};
use crate::guard::measure;
use crate::meter::Meter;
use crate::optimiser::Optimiser;
use crate::progress::{Progress, StepReport};
use beit_data::{Batch, Loader, Sample};
use beit_ops::{Ops, Tree};

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
    /// Steps of the whole run.
    pub(crate) total: u64,
    /// Where to stop this time.
    pub(crate) until: u64,
}

impl<S: Sample> Steps<'_, S> {
    /// Trains from the optimiser's step on. `micro_batch(params, batch, grads, meter)` adds gradients and returns
    /// `[mean loss, rows that are right]` on the device and the number of rows.
    pub(crate) fn run<O: Ops, P: Tree<O::Tensor, Of<O::Tensor> = P>>(
        self,
        ops: &O,
        params: &mut P,
        optimiser: &mut Optimiser<O::Tensor>,
        listeners: &mut Listeners<'_>,
        mut micro_batch: impl FnMut(&P, Batch<S>, &mut P, &mut Meter) -> Result<(O::Tensor, usize)>,
    ) -> Result<()> {
        let (begin, until) = (optimiser.steps(), self.until.min(self.total));
        let mut batches = self.loader.batches(begin * self.accumulate..until.max(begin) * self.accumulate)?;
        let mut grads = params.map(&mut |p| ops.zeros(ops.shape(p)));
        optimiser.gather(ops, params, &mut grads);
        let mut meter = Meter::new(self.phase, self.total, self.report_every);
        listeners.progress.begin(self.phase, begin, self.total);
        for step in begin..until {
            let mut losses = Vec::new();
            let mut epoch = 0;
            for number in step * self.accumulate..(step + 1) * self.accumulate {
                let batch = meter.wait(|| batches.next()).transpose()?;
                let batch =
                    batch.filter(|batch| self.number(batch) == number).ok_or(Error::NoImages { number })?;
                epoch = batch.epoch;
                let images = batch.indices.len();
                let (metrics, rows) = micro_batch(params, batch, &mut grads, &mut meter)?;
                meter.batch(images, rows);
                losses.push(metrics);
            }
            let clip = optimiser.clip(ops, &grads);
            let measured = measure(ops, (self.phase, step), &losses, &clip, &grads)?;
            let lr = optimiser.lr();
            optimiser.step(ops, params, &mut grads, &clip);
            listeners.progress.step(step + 1);
            if let Some(report) = meter.step(step + 1, epoch, lr, measured) {
                listeners.progress.report(&report);
                (listeners.on_report)(&report)?;
            }
        }
        listeners.progress.end();
        Ok(())
    }

    /// The number of a batch through all epochs. The loader passes over batches of which no image can be decoded.
    fn number(&self, batch: &Batch<S>) -> u64 {
        batch.epoch * self.loader.batches_per_epoch() + batch.number
    }
}
