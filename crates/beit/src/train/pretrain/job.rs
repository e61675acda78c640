//! A run of masked image modelling on a device.

use super::course::Course;
use super::{PretrainSettings, Pretrained, Pretraining};
use crate::any_tokenizer::AnyTokenizer;
use crate::device::{Device, Work};
use crate::error::{Result, unfit};
use crate::files;
use crate::load::{self, MimModel};
use crate::loaders::Loading;
use crate::masked::{MaskedModel, write_masks};
use crate::report;
use crate::run::{Recorded, Run, training_stamp};
use crate::tokenizer::Tokenizer;
use crate::train::advice::duration_sentence;
use crate::train::best::{Best, BestCheckpoint, Standing};
use crate::train::replay::{KeptStep, Replay};
use crate::train::tokenizer::{REMEDIES, sentence};
use crate::train::tokenizer_kinds::Job as TokenizerJob;
use crate::train::{Journal, recipe, same_model, tokenizer_state};
use beit_data::{Loader, Preprocessing, PretrainSample, Source};
use beit_heads::Mim;
use beit_ops::prelude::*;
use beit_tokenizer::{Codebook, VisualTokens};
use beit_train::{
    MaskedImages, Record, Sink, TokenizerQuality, Trainer, checkpoint_step, evaluate_tokens, token_baselines,
};
use beit_weights::{save_mim, write_preprocessing};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

pub(super) struct Job<'a>(pub(super) &'a Pretraining);

impl Work for Job<'_> {
    type Output = Pretrained;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, device: &Device) -> Result<Pretrained> {
        let Self(job) = self;
        let (settings, watch) = (&job.settings, &job.watch);
        let loading = Loading::for_training(&settings.training, &settings.data, device.workers(), watch);
        let loader = job.loader(&job.source, &loading, true)?;
        // Before anything is written, so that what cannot be read costs nothing.
        let given = match &settings.tokenizer {
            Some(name) => Some(Rc::new(load::tokenizer(&**ops, name, watch)?)),
            None => None,
        };
        let params = match &job.start {
            Some(start) => start.params(&**ops, job)?,
            None => Mim::init(&**ops, &job.config, settings.training.seed),
        };
        let stamp = training_stamp(job.source.as_ref(), settings.data.shuffle.into());
        let mut recorded = Recorded::new(settings, device).with("data", stamp);
        if let Some(tokenizer) = &given {
            recorded = recorded.with("tokenizer", checksum(&**ops, &**tokenizer)?);
        }
        let (verb, inputs, team) = ("pretrain", job.inputs(), device.team());
        let mut run = Run::of_team(team, &settings.run, verb, &inputs, &recorded, watch)?;
        let newest = run.newest();
        let step = newest.as_deref().map(checkpoint_step).transpose()?.unwrap_or(0);
        // Asked of all before anybody trains one: the folder is the same.
        let untrained = team.any(given.is_none() && !run.has_tokenizer())?;
        let (phase, step) = match &job.tokenizer {
            Some(plan) if untrained => ("tokenizer", tokenizer_state::steps(&run, plan)?),
            _ => (verb, step),
        };
        let mut journal = Journal::open(&mut run, watch, team, phase, step)?;
        let tokenizer = match given {
            Some(tokenizer) => tokenizer,
            None => Rc::new(self.own_tokenizer(&**ops, device, &loading, (&mut journal, untrained))?),
        };
        if settings.tokenizer.is_none() {
            recorded = recorded.with("tokenizer", checksum(&**ops, &*tokenizer)?);
            journal.run.same_or_write(team, &recorded, newest.is_none(), &settings.run.folder)?;
        }
        self.judge(ops, device, &tokenizer, (&loading, &mut journal), newest.is_none())?;

        let baseline = self.baseline(ops, device, &tokenizer, &loading)?;
        let mut trainer = job.trainer(&**ops, device, (&*tokenizer, baseline), params);
        if let Some(newest) = &newest {
            resume(&mut trainer, newest)?;
        }
        let left = trainer.recipe.hyper.schedule.total.saturating_sub(trainer.optimiser.steps());
        let mut step = None;
        if left > 0 {
            let took = trainer.step_time(&loader)? / u32::try_from(team.shard().of).unwrap_or(u32::MAX);
            watch.note(&duration_sentence(left, took));
            step = Some(took);
        }
        let seen = newest.is_some().then(|| trainer.optimiser.steps());
        let (here, folder) = ((ops, device), (&*journal.run, &loading));
        let mut course = Course::new(job, here, &tokenizer, folder, (seen, step))?;
        let looking = (&mut journal, &mut course);
        let ended = self.to_the_end(device, &mut trainer, (&loader, &loading), looking)?;
        let (params, ()) = trainer.into_model();
        self.finish(ops, device, (params, &tokenizer), (&loading, &mut journal), ended)
    }
}

impl Pretraining {
    /// The trainer of a run. `baseline` is the accuracy that needs no model.
    fn trainer<'a, O: Ops>(
        &self,
        ops: &'a O,
        device: &Device,
        (tokenizer, baseline): (&'a AnyTokenizer<O::Tensor>, f64),
        params: Mim<O::Tensor>,
    ) -> Trainer<'a, O, PretrainTask<'a, O>> {
        let PretrainSettings { training, average, guard, run, .. } = &self.settings;
        let recipe = recipe((training, average, guard), run, self.hyper, device);
        let task = MaskedImages { tokenizer, recompute: training.recompute, baseline };
        Trainer::new(ops, task, recipe, params).sharded(training.moments(device.team().shard()))
    }

    /// Computes the step again before which a checkpoint of the run was kept.
    pub(in crate::train) fn replay(&self, kept: &KeptStep, device: &Device) -> Result<Replay> {
        device.run(ReplayJob { job: self, kept })
    }
}

struct ReplayJob<'a> {
    job: &'a Pretraining,
    kept: &'a KeptStep,
}

impl Work for ReplayJob<'_> {
    type Output = Replay;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, device: &Device) -> Result<Replay> {
        let Self { job, kept } = self;
        let (settings, watch) = (&job.settings, &job.watch);
        let own = kept.run.join("tokenizer");
        let name = settings.tokenizer.as_deref().unwrap_or(&own);
        let tokenizer = load::tokenizer(&**ops, name, watch)?;
        kept.same_run(
            &Recorded::new(settings, device)
                .with("data", training_stamp(job.source.as_ref(), settings.data.shuffle.into()))
                .with("tokenizer", checksum(&**ops, &tokenizer)?),
        )?;
        let loading = Loading::for_training(&settings.training, &settings.data, device.workers(), watch);
        let loader = job.loader(&job.source, &loading, true)?;
        let params = Mim::init(&**ops, &job.config, 0);
        let mut trainer = job.trainer(&**ops, device, (&tokenizer, 0.0), params);
        resume(&mut trainer, &kept.folder)?;
        kept.replayed(&mut trainer, &loader, job.source.as_ref())
    }
}

impl Job<'_> {
    /// Trains to the end, and keeps the best checkpoint where that is asked for; returns the last and that.
    fn to_the_end<O: Ops + 'static>(
        &self,
        device: &Device,
        trainer: &mut Trainer<'_, O, PretrainTask<'_, O>>,
        (loader, loading): (&Loader<PretrainSample>, &Loading),
        (journal, course): (&mut Journal<'_>, &mut Course<'_, O>),
    ) -> Result<(PathBuf, Option<BestCheckpoint>)> {
        let Self(job) = self;
        let (settings, watch) = (&job.settings, &job.watch);
        let save = |trainer: &Trainer<'_, O, _>, best: Option<&Standing>, dir: &Path| {
            save(trainer, (&job.preprocessing, best), dir)
        };
        let (held_out, split) = settings.measure.held_out(&settings.data)?;
        let judging = job.loader(&held_out, loading, false)?;
        let mut judge = |trainer: &Trainer<'_, O, PretrainTask<'_, O>>| {
            let (ranks, params) = (&mut *device.team().ranks(), trainer.model().0);
            Ok(evaluate_tokens(ranks, trainer.ops, params, trainer.task.tokenizer, &judging)?.accuracy)
        };
        let mut best = Best::new(settings.best, (journal.run, watch), split.to_string(), &mut judge)?;
        let kept = (&settings.run, &mut best);
        let checkpoint = journal.train_to_the_end(trainer, loader, (kept, course), save)?;
        Ok((checkpoint, best.answer(journal.run)))
    }

    /// The tokenizer in the run folder, or a new one.
    fn own_tokenizer<O: Ops + 'static>(
        &self,
        ops: &O,
        device: &Device,
        loading: &Loading,
        (journal, untrained): (&mut Journal<'_>, bool),
    ) -> Result<AnyTokenizer<O::Tensor>> {
        let Self(job) = self;
        let (settings, watch, size) = (&job.settings, &job.watch, job.token_size());
        let own = journal.run.tokenizer();
        match &job.tokenizer {
            Some(plan) if untrained => {
                watch.note("no --tokenizer: training one on these images first");
                let (seed, accumulate) = (settings.training.seed, settings.training.update_freq());
                let training = TokenizerJob { plan, size, seed, accumulate, run: &settings.run };
                training.train(ops, device, (&job.source, loading), journal)
            }
            _ => load::tokenizer(ops, &own, watch),
        }
    }

    /// Measures the tokenizer on images that were held out, and refuses one that is of no use.
    fn judge<O: Ops + 'static>(
        &self,
        ops: &Rc<O>,
        device: &Device,
        tokenizer: &Rc<AnyTokenizer<O::Tensor>>,
        (loading, journal): (&Loading, &mut Journal<'_>),
        first: bool,
    ) -> Result<()> {
        let Self(job) = self;
        let (settings, watch) = (&job.settings, &job.watch);
        let folder = settings.tokenizer.clone().unwrap_or_else(|| journal.run.tokenizer());
        same_tokens(&folder, VisualTokens::<O>::codebook(&**tokenizer), job.codebook)?;
        let door = Tokenizer::on(ops, tokenizer, device);
        if !door.draws() {
            watch.note("the tokenizer has no decoder: no reconstructions are drawn");
        }
        if !first {
            // It was judged when the run began, and its checksum is the same.
            return Ok(());
        }
        let (held_out, split) = settings.measure.held_out(&settings.data)?;
        watch.notes_of(held_out.as_ref());
        watch.note(&format!("measuring the tokenizer on {} {split} images", held_out.len()));
        let quality = door.quality(job.token_size(), &held_out, loading)?;
        watch.note(&format!("tokenizer on {} {split} images: {}", quality.images, sentence(&quality)));
        journal.metrics.record(&Record::Tokenizer { split: &split.to_string(), quality: &quality })?;
        self.accept(&folder, &quality)
    }

    /// The share of masked patches of held-out images whose token is named without a model: what accuracy is compared with while
    /// the model learns.
    fn baseline<O: Ops + 'static>(
        &self,
        ops: &Rc<O>,
        device: &Device,
        tokenizer: &Rc<AnyTokenizer<O::Tensor>>,
        loading: &Loading,
    ) -> Result<f64> {
        let Self(job) = self;
        let (held_out, _) = job.settings.measure.held_out(&job.settings.data)?;
        let loader = job.loader(&held_out, loading, false)?;
        let (mut ranks, vit) = (device.team().ranks(), &job.config.vit);
        Ok(token_baselines(&mut *ranks, &**ops, vit, &**tokenizer, &loader)?.baseline())
    }

    /// Refuses tokens that are of no use as targets, unless they were asked for.
    fn accept(&self, folder: &Path, quality: &TokenizerQuality) -> Result<()> {
        let Self(job) = self;
        match quality.fault() {
            Some(fault) if job.settings.accept_tokenizer => {
                job.watch.note(&format!("going on with --accept-tokenizer: {fault}"));
                Ok(())
            }
            Some(fault) => unfit!(
                "the tokenizer {} is of no use on these images: {fault}; {REMEDIES}, or go on with --accept-tokenizer",
                folder.display()
            ),
            None => Ok(()),
        }
    }

    /// Measures on images that were held out, and draws pictures.
    fn finish<O: Ops + 'static>(
        &self,
        ops: &Rc<O>,
        device: &Device,
        (params, tokenizer): (Mim<O::Tensor>, &Rc<AnyTokenizer<O::Tensor>>),
        (loading, journal): (&Loading, &mut Journal<'_>),
        (checkpoint, best): (PathBuf, Option<BestCheckpoint>),
    ) -> Result<Pretrained> {
        let Self(job) = self;
        let (settings, watch) = (&job.settings, &job.watch);
        let (held_out, split) = settings.measure.held_out(&settings.data)?;
        watch.notes_of(held_out.as_ref());
        // Held-out images, augmented as in training, but the same way in every evaluation.
        let loader = job.loader(&held_out, loading, false)?;
        let tokens = evaluate_tokens(&mut *device.team().ranks(), &**ops, &params, &**tokenizer, &loader)?;
        let split = split.to_string();
        journal.metrics.record(&Record::Tokens { split: &split, tokens: &tokens })?;

        let pictures = journal.run.pictures();
        if !journal.run.follows() {
            self.draw(ops, device, (params, tokenizer), &held_out, &pictures)?;
        }
        report::draw(journal.run, watch);
        Ok(Pretrained { run: journal.run.dir.clone(), checkpoint, best, tokens, split, pictures })
    }

    /// Draws masks, and what the model makes of masked images.
    fn draw<O: Ops + 'static>(
        &self,
        ops: &Rc<O>,
        device: &Device,
        (params, tokenizer): (Mim<O::Tensor>, &Rc<AnyTokenizer<O::Tensor>>),
        held_out: &Arc<dyn Source>,
        pictures: &Path,
    ) -> Result<()> {
        let Self(job) = self;
        let (settings, watch, grid) = (&job.settings, &job.watch, job.config.vit.grid());
        files::make_folder(pictures)?;
        write_masks(&pictures.join("masks.png"), held_out, &job.preprocessing, &settings.mask, grid, watch)?;
        let door = Tokenizer::on(ops, tokenizer, device);
        if door.draws() {
            let model = MaskedModel::on(ops, MimModel { params, preprocessing: job.preprocessing });
            let (path, seed) = (pictures.join("reconstruction.png"), settings.training.seed);
            model.write_reconstructions(&path, held_out, &door, &settings.mask, 8, seed, watch)?;
        }
        Ok(())
    }
}

/// A checksum of a tokenizer's parameters, wherever they come from.
fn checksum<O: Ops>(ops: &O, tokenizer: &AnyTokenizer<O::Tensor>) -> Result<String> {
    match tokenizer {
        AnyTokenizer::Dvae(params) => crate::checksum::parameters(ops, &**params),
        AnyTokenizer::Encoder(params) => crate::checksum::parameters(ops, &**params),
        AnyTokenizer::KMeans(params) => crate::checksum::parameters(ops, &**params),
    }
}

/// The task of a run, whatever the kind of its tokenizer.
pub(super) type PretrainTask<'a, O> = MaskedImages<'a, AnyTokenizer<<O as beit_ops::Device>::Tensor>>;

/// Refuses the tokenizer of a run that began with other flags.
fn same_tokens(folder: &Path, found: Codebook, expected: Codebook) -> Result<()> {
    if found != expected {
        unfit!(
            "{} is another tokenizer than this run's; found {found:?}, expected {expected:?}; resume with the flags of the run",
            folder.display()
        );
    }
    Ok(())
}

/// Saves a run so that it can go on.
fn save<O: Ops>(
    trainer: &Trainer<'_, O, PretrainTask<'_, O>>,
    (preprocessing, best): (&Preprocessing, Option<&Standing>),
    dir: &Path,
) -> Result<()> {
    let (params, ()) = trainer.model();
    save_mim(trainer.ops, dir, params, |dir: &Path| -> Result<()> {
        write_preprocessing(dir, preprocessing)?;
        trainer.save_state(dir)?;
        best.map_or(Ok(()), |best| best.write(dir))
    })
}

/// Continues a run.
fn resume<O: Ops>(trainer: &mut Trainer<'_, O, PretrainTask<'_, O>>, dir: &Path) -> Result<()> {
    let loaded = beit_weights::load_mim(trainer.ops, dir)?;
    same_model(dir, &loaded.params.config(), &trainer.params.config())?;
    trainer.params = loaded.params;
    Ok(trainer.load_state(dir)?)
}
