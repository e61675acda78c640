//! The loop of the trainer: micro-batches, guard, clipping, step, report.

use crate::error::{Error, Result};
use crate::guard::{Measured, Pending};
use crate::halves::{Earlier, Halves, Terms};
use crate::hooks::{Hooks, Sums};
use crate::listeners::Listeners;
use crate::meter::Meter;
use crate::recipe::Recipe;
use crate::record::Record;
use crate::spikes::{Spike, SpikeGuard};
use crate::task::{Changes, Moment, Task};
use crate::trainer::Trainer;
use beit_data::{Batch, Batches, Loader, Purpose, Sample, Shard, sample_rng};
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
    /// by [`Hooks::reduce`], over all of them, and divides once by the number of all rows. They are added by halves: those of the
    /// first half of the micro-batches, and those of the second. So the sums of `n` processes of `m` micro-batches each, which are
    /// halves of halves, are those of one process of `n` · `m` to the bit, where `n` is a power of two.
    ///
    /// Where the recipe has a [guard](crate::SpikeGuard) every step is looked at before it is taken. A spike ends the run with
    /// [`Error::Spike`], with everything as it was before that step: it can be saved and looked at, and [`skip`](Trainer::skip) leaves it
    /// out, so that the run can be called again.
    ///
    /// # Errors
    ///
    /// A recipe with numbers that no step can have, the data, the device, a hook, a sink, a spike, or a number that is not finite; the
    /// parameters are then those of the last good step.
    pub fn run(
        &mut self,
        loader: &Loader<K::Sample>,
        until: u64,
        hooks: &mut dyn Hooks<O, K>,
        listeners: &mut Listeners<'_>,
    ) -> Result<()> {
        self.recipe.check()?;
        self.optimiser_of(hooks.shard())?;
        let (phase, total) = (self.task.phase(), self.recipe.hyper.schedule.total);
        let (begin, until) = (self.optimiser.steps(), until.min(total));
        let each = self.recipe.each(hooks.shard().of)?;
        let batches = loader.batches_of(begin..until, each, hooks.shard())?;
        let mut feed = Feed { loader, batches };
        let mut grads = self.params.map(&mut |p| self.ops.zeros(self.ops.shape(p)));
        self.optimiser.gather(self.ops, &mut self.params, &mut grads);
        let mut halves = Halves::new(self.ops);
        let mut meter = Meter::new(phase, total, self.recipe.report_every);
        let mut pending = Vec::new();
        listeners.progress.begin(phase, begin, total);
        for step in begin..until {
            let paused = hooks.pause(step + 1)?;
            let before = self.buffers.map(&mut O::Tensor::clone);
            let (sums, epoch) =
                self.gradients(step, &mut feed, &mut meter, hooks, (&mut grads, &mut halves))?;
            meter.count(&sums);
            let scale = self.scale(&sums);
            let clip = self.optimiser.clip_scaled(self.ops, &grads, scale);
            pending.push(Pending { step, epoch, lr: self.optimiser.lr(), sums, clip: clip.clone() });
            let looks = paused || self.looks_after(step + 1, until);
            let looked = if looks { self.look(&mut pending, &grads) } else { Ok(Vec::new()) };
            let measured = looked.inspect_err(|_| self.buffers = before)?;
            self.optimiser.step(self.ops, &mut self.params, &mut grads, &clip);
            if self.optimiser.shard().of > 1 {
                let params = self.optimiser.by_owner(self.params.leaves_mut());
                meter.exchange(|| hooks.all_gather(self.ops, params))?;
                meter.exchanged(hooks.exchanged());
            }
            if let Some(average) = &mut self.average {
                average.update(self.ops, &self.params, &self.buffers);
            }
            hooks.stepped(self.ops, &self.params, &self.buffers, step + 1)?;
            listeners.progress.step(step + 1);
            for (of, measured) in measured {
                if let Some(mut report) = meter.step(of.step + 1, of.epoch, of.lr, measured) {
                    if self.recipe.spikes.is_some() {
                        report.extra.insert("left_out", self.norms.left_out as f64);
                    }
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

    /// How long a step takes where this process computes all of it: the second of two micro-batches that are computed and not taken,
    /// times their number. Nothing changes.
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
            let moment = Moment { step: number, number, ..self.moment() };
            let changes = Changes { grads: &mut grads, buffers: &mut buffers };
            let outcome =
                self.task.micro_batch(self.ops, &self.params, &batch, &moment, changes, &mut |_| {})?;
            // Reading waits for all that was asked of the device before.
            self.ops.read(&outcome.metrics)?;
            took = begun.elapsed();
        }
        Ok(took * u32::try_from(self.recipe.accumulate).unwrap_or(u32::MAX))
    }

    /// Refuses an optimiser that other processes share than those which train.
    fn optimiser_of(&self, shard: Shard) -> Result<()> {
        match self.optimiser.shard() {
            Shard::WHOLE => Ok(()),
            own if own == shard => Ok(()),
            own => Err(Error::Recipe(format!(
                "the optimiser is that of rank {} of {}, expected that of rank {} of {}",
                own.rank, own.of, shard.rank, shard.of
            ))),
        }
    }

    /// Whether a step has one micro-batch only, in all processes.
    const fn alone(&self) -> bool {
        self.recipe.accumulate == 1
    }

    /// Adds the gradients of step `step`, of all its micro-batches and all processes; also returns the epoch.
    pub(crate) fn gradients(
        &mut self,
        step: u64,
        feed: &mut Feed<'_, K::Sample>,
        meter: &mut Meter,
        hooks: &mut dyn Hooks<O, K>,
        (grads, halves): (&mut K::Params, &mut Halves<'_, O, K>),
    ) -> Result<(Sums<O::Tensor>, u64)> {
        let (Moment { seed, frozen, .. }, alone, shard) = (self.moment(), self.alone(), hooks.shard());
        let each = self.recipe.each(shard.of)?;
        let mut sums = Sums { parts: Vec::new() };
        let (ops, task, params, before) = (self.ops, &self.task, &self.params, &self.buffers);
        let mut buffers = before.map(&mut O::Tensor::clone);
        let last = (step + 1) * each - 1;
        let mut micro_batch = |own: u64,
                               changes: Changes<'_, K::Params, K::Buffers>,
                               earlier: Option<&Earlier<'_, K::Params>>|
         -> Result<()> {
            let number = shard.batch(own, each);
            let mut batch = meter.wait(feed.batches.ready(), || feed.batch(number))?;
            hooks.batch(&mut batch, &mut sample_rng(seed, 0, number, Purpose::Batch));
            let moment = Moment { step, number, seed, alone, frozen };
            // Each begins with what the step before left, so that none depends on another.
            *changes.buffers = before.map(&mut O::Tensor::clone);
            let travel = shard.of > 1 && own == last;
            let terms = Terms::new(&*changes.grads, if travel { earlier } else { None });
            let mut travels = Ok(());
            let mut finished = |grads: Vec<&O::Tensor>| {
                // More is added to the gradients of all but the last micro-batch.
                if travel && travels.is_ok() {
                    travels = hooks.finished(ops, grads.into_iter().map(|grad| terms.of(grad)).collect());
                }
            };
            sums.parts.push(task.micro_batch(ops, params, &batch, &moment, changes, &mut finished)?);
            travels
        };
        let all = Changes { grads: &mut *grads, buffers: &mut buffers };
        halves.add(step * each..(step + 1) * each, all, &mut micro_batch)?;
        let changes = Changes { grads, buffers: &mut buffers };
        if shard.of > 1 {
            meter.exchange(|| hooks.reduce(ops, changes, &mut sums))?;
            meter.exchanged(hooks.exchanged());
        } else {
            hooks.reduce(ops, changes, &mut sums)?;
        }
        let (found, expected) = (sums.parts.len() as u64, self.recipe.accumulate);
        if found != 1 && found != expected {
            return Err(Error::Recipe(format!(
                "a step measured {found} micro-batches, expected {expected}: `accumulate` counts those of all processes"
            )));
        }
        let share = 1.0 / self.recipe.accumulate as f64;
        self.buffers = if alone { buffers } else { buffers.map(&mut |sum| ops.scaled(sum, share)) };
        // That of the last micro-batch, whichever process has it.
        let epoch = ((step + 1) * self.recipe.accumulate - 1) / feed.loader.batches_per_epoch();
        Ok((sums, epoch))
    }

    /// Leaves out the step that comes next, and counts it: the schedule and the data go on, parameters and moments stay as they are.
    ///
    /// # Errors
    ///
    /// [`Error::TooManySpikes`] where the recipe's guard lets no more be left out.
    pub fn skip(&mut self) -> Result<()> {
        let (phase, step) = (self.task.phase(), self.optimiser.steps());
        let most = self.recipe.spikes.map_or(0, |guard| guard.max_spikes);
        if self.norms.left_out >= most {
            return Err(Error::TooManySpikes { phase, step, most });
        }
        self.norms.left_out += 1;
        self.optimiser.pass();
        Ok(())
    }

    /// The next step as one micro-batch that has no others beside it.
    pub(crate) fn moment(&self) -> Moment {
        let (step, Recipe { seed, hyper, .. }) = (self.optimiser.steps(), &self.recipe);
        Moment { step, number: step, seed: *seed, alone: true, frozen: hyper.frozen }
    }

    /// What the gradients of a step are multiplied by.
    pub(crate) fn scale(&self, sums: &Sums<O::Tensor>) -> f32 {
        if self.alone() { 1.0 } else { 1.0 / sums.rows().max(1) as f32 }
    }

    /// Whether the numbers are read after `done` steps.
    fn looks_after(&self, done: u64, until: u64) -> bool {
        let due = |every: u64| done.is_multiple_of(every.max(1));
        let guarded = self.recipe.spikes.is_some();
        guarded || due(self.recipe.read_every) || due(self.recipe.report_every) || done == until
    }

    /// Reads all steps that were not read, the last of which is not taken yet: its gradients are there.
    fn look(
        &mut self,
        pending: &mut Vec<Pending<O::Tensor>>,
        grads: &K::Params,
    ) -> Result<Vec<(Pending<O::Tensor>, Measured)>> {
        let (last, mut all) = (pending.len() - 1, Vec::with_capacity(pending.len()));
        for (i, pending) in pending.drain(..).enumerate() {
            let measured = pending.read(self.ops)?;
            let tensor = measured.broken(self.ops, (i == last).then_some(grads))?;
            match self.recipe.spikes {
                Some(guard) => self.guard(&guard, &pending, &measured, tensor)?,
                None => {
                    let (phase, step) = (self.task.phase(), pending.step);
                    tensor.map_or(Ok(()), |tensor| Err(Error::NotFinite { phase, step, tensor }))?;
                }
            }
            all.push((pending, measured));
        }
        Ok(all)
    }

    /// Counts a step, or refuses it.
    fn guard(
        &mut self,
        guard: &SpikeGuard,
        pending: &Pending<O::Tensor>,
        measured: &Measured,
        tensor: Option<String>,
    ) -> Result<()> {
        let limit = self.norms.limit(guard);
        if tensor.is_none() && measured.grad_norm <= limit {
            self.norms.take(measured.grad_norm);
            return Ok(());
        }
        Err(Error::Spike(Box::new(Spike {
            phase: self.task.phase(),
            step: pending.step,
            epoch: pending.epoch,
            lr: pending.lr,
            loss: measured.loss,
            grad_norm: measured.grad_norm,
            mean_grad_norm: self.norms.mean(),
            limit,
            left_out: self.norms.left_out,
            tensor,
        })))
    }
}

/// The batches of a run, in order.
pub(crate) struct Feed<'a, S: Sample> {
    pub(crate) loader: &'a Loader<S>,
    pub(crate) batches: Batches<S>,
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
