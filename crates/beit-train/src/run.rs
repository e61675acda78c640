//! The loop of the trainer: micro-batches, guard, clipping, step, report.

use crate::error::{Error, Result};
use crate::guard::{Measured, Pending};
use crate::hooks::{Hooks, Sums};
use crate::listeners::Listeners;
use crate::meter::Meter;
use crate::record::Record;
use crate::task::{Changes, Moment, Task};
use crate::trainer::Trainer;
use beit_data::{Batch, Batches, Loader, Purpose, Sample, sample_rng};
use beit_ops::{Ops, Tree};
use std::time::{Duration, Instant};

impl<O: Ops, K: Task<O>> Trainer<'_, O, K> {
    /// Trains from the optimiser's step up to step `until`, or to the end of the schedule if that comes first, or until
    /// [`Hooks::pause`] says so.
    ///
    /// Between two looks at the numbers nothing waits for the device. The optimiser does not take a step whose gradients are not
    /// finite, so a look that comes later finds the parameters unharmed.
    ///
    /// A step of one micro-batch in all takes the mean over its rows. A step of more adds up sums over rows, in this process and,
    /// by [`Hooks::reduce`], over all of them, and divides once by the number of all rows.
    ///
    /// # Errors
    ///
    /// A recipe with numbers that no step can have, the data, the device, a hook, a sink, or a number that is not finite; the parameters are then those of the last good step.
    pub fn run(
        &mut self,
        loader: &Loader<K::Sample>,
        until: u64,
        hooks: &mut dyn Hooks<O, K>,
        listeners: &mut Listeners<'_>,
    ) -> Result<()> {
        self.recipe.check()?;
        let (phase, total) = (self.task.phase(), self.recipe.hyper.schedule.total);
        let (begin, until) = (self.optimiser.steps(), until.min(total));
        let micro_batches = [begin, until.max(begin)].map(|step| step * self.recipe.accumulate);
        let mut feed = Feed { loader, batches: loader.batches(micro_batches[0]..micro_batches[1])? };
        let mut grads = self.params.map(&mut |p| self.ops.zeros(self.ops.shape(p)));
        self.optimiser.gather(self.ops, &mut self.params, &mut grads);
        let mut meter = Meter::new(phase, total, self.recipe.report_every);
        let mut pending = Vec::new();
        listeners.progress.begin(phase, begin, total);
        for step in begin..until {
            let paused = hooks.pause(step + 1);
            let (sums, epoch) = self.gradients(step, &mut feed, &mut meter, hooks, &mut grads)?;
            meter.count(&sums);
            let scale = if self.alone(hooks) { 1.0 } else { 1.0 / sums.rows().max(1) as f32 };
            let clip = self.optimiser.clip_scaled(self.ops, &grads, scale);
            pending.push(Pending { step, epoch, lr: self.optimiser.lr(), sums, clip: clip.clone() });
            let looks = paused || self.looks_after(step + 1, until);
            let measured = if looks { self.look(&mut pending, &grads)? } else { Vec::new() };
            self.optimiser.step(self.ops, &mut self.params, &mut grads, &clip);
            if let Some(average) = &mut self.average {
                average.update(self.ops, &self.params, &self.buffers);
            }
            hooks.stepped(self.ops, &self.params, &self.buffers, step + 1)?;
            listeners.progress.step(step + 1);
            for (of, measured) in measured {
                if let Some(report) = meter.step(of.step + 1, of.epoch, of.lr, measured) {
                    listeners.progress.report(&report);
                    listeners.sinks.record(&Record::Step(&report))?;
                }
            }
            if paused && step + 1 < until {
                return Ok(());
            }
        }
        listeners.progress.end();
        Ok(())
    }

    /// How long a step takes here: the second of two that are computed and not taken. Nothing changes.
    ///
    /// # Errors
    ///
    /// The data or the device.
    pub fn step_time(&self, loader: &Loader<K::Sample>) -> Result<Duration> {
        let zeros = |p: &O::Tensor| self.ops.zeros(self.ops.shape(p));
        let mut grads = self.params.map(&mut |p| zeros(p));
        let mut buffers = self.buffers.map(&mut |p| zeros(p));
        let mut took = Duration::ZERO;
        for (number, batch) in (0..).zip(loader.batches(0..2)?) {
            let (batch, begun) = (batch?, Instant::now());
            let moment = Moment { step: number, number, seed: self.recipe.seed, alone: true };
            let changes = Changes { grads: &mut grads, buffers: &mut buffers };
            let outcome = self.task.micro_batch(self.ops, &self.params, &batch, &moment, changes)?;
            // Reading waits for all that was asked of the device before.
            self.ops.read(&outcome.metrics)?;
            took = begun.elapsed();
        }
        Ok(took * u32::try_from(self.recipe.accumulate).unwrap_or(u32::MAX))
    }

    /// Whether a step has one micro-batch only.
    fn alone(&self, hooks: &dyn Hooks<O, K>) -> bool {
        self.recipe.accumulate == 1 && hooks.shard().of == 1
    }

    /// Adds the gradients of step `step`, of all its micro-batches and all processes; also returns the epoch.
    fn gradients(
        &mut self,
        step: u64,
        feed: &mut Feed<'_, K::Sample>,
        meter: &mut Meter,
        hooks: &mut dyn Hooks<O, K>,
        grads: &mut K::Params,
    ) -> Result<(Sums<O::Tensor>, u64)> {
        let (accumulate, seed) = (self.recipe.accumulate, self.recipe.seed);
        let (alone, shard) = (self.alone(hooks), hooks.shard());
        let (mut sums, mut epoch) = (Sums { parts: Vec::new() }, 0);
        for number in step * accumulate..(step + 1) * accumulate {
            let mut batch = meter.wait(|| feed.batch(number))?;
            let number = number * shard.of as u64 + shard.rank as u64;
            hooks.batch(&mut batch, &mut sample_rng(seed, 0, number, Purpose::Mix));
            let moment = Moment { step, number, seed, alone };
            let changes = Changes { grads: &mut *grads, buffers: &mut self.buffers };
            sums.parts.push(self.task.micro_batch(self.ops, &self.params, &batch, &moment, changes)?);
            epoch = batch.epoch;
        }
        hooks.reduce(self.ops, grads, &mut sums)?;
        if alone && sums.parts.len() > 1 {
            let problem = "a hook that adds up processes must say in `shard` that there are several";
            return Err(Error::Recipe(problem.to_owned()));
        }
        Ok((sums, epoch))
    }

    /// Whether the numbers are read after `done` steps.
    fn looks_after(&self, done: u64, until: u64) -> bool {
        let due = |every: u64| done.is_multiple_of(every.max(1));
        due(self.recipe.read_every) || due(self.recipe.report_every) || done == until
    }

    /// Reads all steps that were not read, the last of which is not taken yet: its gradients are there.
    fn look(
        &self,
        pending: &mut Vec<Pending<O::Tensor>>,
        grads: &K::Params,
    ) -> Result<Vec<(Pending<O::Tensor>, Measured)>> {
        let last = pending.len() - 1;
        let read = |(i, pending): (usize, Pending<O::Tensor>)| {
            let measured = pending.read(self.ops, self.task.phase(), (i == last).then_some(grads))?;
            Ok((pending, measured))
        };
        pending.drain(..).enumerate().map(read).collect()
    }
}

/// The batches of a run, in order.
struct Feed<'a, S: Sample> {
    loader: &'a Loader<S>,
    batches: Batches<S>,
}

impl<S: Sample> Feed<'_, S> {
    /// Micro-batch `number` of this process. The loader passes over batches of which no image can be decoded.
    fn batch(&mut self, number: u64) -> Result<Batch<S>> {
        let per_epoch = self.loader.batches_per_epoch();
        let batch = self.batches.next().transpose()?;
        batch
            .filter(|batch| batch.epoch * per_epoch + batch.number == number)
            .ok_or(Error::NoImages { number })
    }
}
