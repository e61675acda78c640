//! The course of a run, whatever its goal.

use super::glances::Glances;
use super::goal::Goal;
use super::{Pretrained, Pretraining, Samples};
use crate::device::Device;
use crate::error::Result;
use crate::files;
use crate::loaders::Loading;
use crate::masked::write_masks;
use crate::report;
use crate::train::advice::duration_sentence;
use crate::train::best::{Best, BestCheckpoint, Standing};
use crate::train::{Journal, recipe};
use beit_ops::Ops;
use beit_train::{Sink, Trainer};
use beit_weights::write_preprocessing;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A run on a device, towards a goal.
pub(super) struct Course<'a, O, G> {
    pub(super) job: &'a Pretraining,
    pub(super) ops: &'a Rc<O>,
    pub(super) device: &'a Device,
    pub(super) goal: &'a G,
    pub(super) loader: &'a Samples,
    pub(super) loading: &'a Loading,
}

impl<'a, O: Ops + 'static, G: Goal<O>> Course<'a, O, G> {
    /// Trains to the end, from these parameters or from the newest checkpoint, measures the model and draws pictures.
    pub(super) fn run(
        &self,
        params: G::Params,
        newest: Option<&Path>,
        journal: &mut Journal<'_>,
    ) -> Result<Pretrained> {
        let Self { job, device, loader, .. } = self;
        let mut trainer = self.trainer(params);
        if let Some(newest) = newest {
            self.resume(&mut trainer, newest)?;
        }
        let left = trainer.recipe.hyper.schedule.total.saturating_sub(trainer.optimiser.steps());
        let mut step = None;
        if left > 0 {
            let of = device.team().shard().of;
            let took = trainer.step_time(loader)? / u32::try_from(of).unwrap_or(u32::MAX);
            job.watch.note(&duration_sentence(left, took));
            step = Some(took);
        }
        let seen = newest.is_some().then(|| trainer.optimiser.steps());
        let here = (&*journal.run, self.loading);
        let mut glances = Glances::new(job, (self.ops, device), self.goal, here, (seen, step));
        let ended = self.to_the_end(&mut trainer, journal, &mut glances)?;
        let (params, ()) = trainer.into_model();
        self.finish(params, journal, ended)
    }

    /// The trainer of a run that begins.
    pub(super) fn trainer(&self, params: G::Params) -> Trainer<'a, O, G::Task<'a>> {
        let Self { job, device, goal, .. } = *self;
        let super::PretrainSettings { training, average, guard, run, .. } = &job.settings;
        let recipe = recipe((training, average, guard), run, job.hyper, device);
        Trainer::new(&**self.ops, goal.task(job), recipe, params)
            .sharded(training.moments(device.team().shard()))
    }

    /// Continues a run.
    pub(super) fn resume(&self, trainer: &mut Trainer<'_, O, G::Task<'_>>, dir: &Path) -> Result<()> {
        trainer.params = self.goal.load(trainer.ops, dir, &trainer.params)?;
        Ok(trainer.load_state(dir)?)
    }

    /// Trains to the end, and keeps the best checkpoint where that is asked for; returns the last and that.
    fn to_the_end(
        &self,
        trainer: &mut Trainer<'a, O, G::Task<'a>>,
        journal: &mut Journal<'_>,
        glances: &mut Glances<'_, O, G>,
    ) -> Result<(PathBuf, Option<BestCheckpoint>)> {
        let Self { job, device, goal, loader, loading, .. } = *self;
        let (settings, watch) = (&job.settings, &job.watch);
        let save = |trainer: &Trainer<'_, O, G::Task<'a>>, best: Option<&Standing>, dir: &Path| {
            goal.save(trainer.ops, dir, trainer.model().0, &|dir| {
                write_preprocessing(dir, &job.preprocessing)?;
                trainer.save_state(dir)?;
                best.map_or(Ok(()), |best| best.write(dir))
            })
        };
        let (held_out, split) = settings.measure.held_out(&settings.data)?;
        let judging = job.loader(&held_out, loading, false)?;
        let mut judge = |trainer: &Trainer<'_, O, G::Task<'a>>| {
            let (ranks, params) = (&mut *device.team().ranks(), trainer.model().0);
            Ok(goal.measure(ranks, trainer.ops, params, &judging)?.value())
        };
        let mut best = Best::new(settings.best, (journal.run, watch), split.to_string(), &mut judge)?;
        let kept = (&settings.run, &mut best);
        let checkpoint = journal.train_to_the_end(trainer, loader, (kept, glances), save)?;
        Ok((checkpoint, best.answer(journal.run)))
    }

    /// Measures on images that were held out, and draws pictures.
    fn finish(
        &self,
        params: G::Params,
        journal: &mut Journal<'_>,
        (checkpoint, best): (PathBuf, Option<BestCheckpoint>),
    ) -> Result<Pretrained> {
        let Self { job, ops, device, goal, loading, .. } = *self;
        let (settings, watch) = (&job.settings, &job.watch);
        let (held_out, split) = settings.measure.held_out(&settings.data)?;
        watch.notes_of(held_out.as_ref());
        // Held-out images, augmented as in training, but the same way in every evaluation.
        let loader = job.loader(&held_out, loading, false)?;
        let recovered = goal.measure(&mut *device.team().ranks(), ops, &params, &loader)?;
        let split = split.to_string();
        journal.metrics.record(&recovered.record(&split))?;

        let pictures = journal.run.pictures();
        if !journal.run.follows() {
            files::make_folder(&pictures)?;
            let (masks, grid) = (pictures.join("masks.png"), job.config.vit.grid());
            write_masks(&masks, &held_out, &job.preprocessing, &settings.mask, grid, watch)?;
            goal.draw(job, (ops, device), params, (&held_out, &pictures.join("reconstruction.png")))?;
        }
        report::draw(journal.run, watch);
        Ok(Pretrained { run: journal.run.dir.clone(), checkpoint, best, recovered, split, pictures })
    }
}
