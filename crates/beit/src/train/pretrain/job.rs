//! A run of masked image modelling on a device.

use super::course::Course;
use super::goal::Goal;
use super::pixels::Pixels;
use super::tokens::{Tokens, checksum};
use super::{Pretrained, Pretraining, Samples};
use crate::any_tokenizer::AnyTokenizer;
use crate::device::{Device, Work};
use crate::error::Result;
use crate::load;
use crate::loaders::Loading;
use crate::run::{Recorded, Run, training_stamp};
use crate::settings::TargetKind;
use crate::train::replay::{KeptStep, Replay};
use crate::train::{Journal, tokenizer_state};
use beit_heads::{Mim, PixelMim};
use beit_ops::Ops;
use beit_train::checkpoint_step;
use std::path::PathBuf;
use std::rc::Rc;

pub(super) struct Job<'a>(pub(super) &'a Pretraining);

/// What is read before anything is written, so that what cannot be read costs nothing.
enum Begun<T> {
    Tokens {
        params: Mim<T>,
        /// The tokenizer that was given.
        given: Option<Rc<AnyTokenizer<T>>>,
    },
    Pixels(PixelMim<T>),
}

impl Work for Job<'_> {
    type Output = Pretrained;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, device: &Device) -> Result<Pretrained> {
        let Self(job) = self;
        let (settings, watch) = (&job.settings, &job.watch);
        let loading = Loading::for_training(&settings.training, &settings.data, device.workers(), watch);
        let loader = job.loader(&job.source, &loading, true)?;
        let begun = job.begin(&**ops)?;
        let stamp = training_stamp(job.source.as_ref(), settings.data.shuffle.into());
        let mut recorded = Recorded::new(settings, device).with("data", stamp);
        let given = match &begun {
            Begun::Tokens { given, .. } => given.as_deref(),
            Begun::Pixels(_) => None,
        };
        if let Some(tokenizer) = given {
            recorded = recorded.with("tokenizer", checksum(&**ops, tokenizer)?);
        }
        let (verb, inputs, team) = ("pretrain", job.inputs(), device.team());
        let mut run = Run::of_team(team, &settings.run, verb, &inputs, &recorded, watch)?;
        let newest = run.newest();
        let step = newest.as_deref().map(checkpoint_step).transpose()?.unwrap_or(0);
        // Asked of all before anybody trains one: the folder is the same.
        let untrained = team.any(job.tokenizer.is_some() && !run.has_tokenizer())?;
        let (phase, step) = match &job.tokenizer {
            Some(plan) if untrained => ("tokenizer", tokenizer_state::steps(&run, plan)?),
            _ => (verb, step),
        };
        let mut journal = Journal::open(&mut run, watch, team, phase, step)?;
        match begun {
            Begun::Tokens { params, given } => {
                let tokenizer = match given {
                    Some(tokenizer) => tokenizer,
                    None => {
                        Rc::new(job.own_tokenizer(&**ops, device, &loading, (&mut journal, untrained))?)
                    }
                };
                if settings.tokenizer.is_none() {
                    recorded = recorded.with("tokenizer", checksum(&**ops, &*tokenizer)?);
                    journal.run.same_or_write(team, &recorded, newest.is_none(), &settings.run.folder)?;
                }
                job.judge(ops, device, &tokenizer, (&loading, &mut journal), newest.is_none())?;
                let baseline = job.baseline(ops, device, &tokenizer, &loading)?;
                let goal = Tokens { tokenizer, baseline };
                let course = job.course((ops, device), &goal, (&loader, &loading));
                course.run(params, newest.as_deref(), &mut journal)
            }
            Begun::Pixels(params) => job.course((ops, device), &Pixels, (&loader, &loading)).run(
                params,
                newest.as_deref(),
                &mut journal,
            ),
        }
    }
}

impl Pretraining {
    /// The parameters that a run begins with, and the tokenizer that is given.
    fn begin<O: Ops>(&self, ops: &O) -> Result<Begun<O::Tensor>> {
        let (settings, seed) = (&self.settings, self.settings.training.seed);
        Ok(match settings.objective.predict {
            TargetKind::Tokens => {
                let given = settings.tokenizer.as_ref();
                let given = given.map(|name| load::tokenizer(ops, name, &self.watch)).transpose()?;
                let params = match &self.start {
                    Some(start) => start.params(ops, self)?,
                    None => Mim::init(ops, &self.config, seed),
                };
                Begun::Tokens { params, given: given.map(Rc::new) }
            }
            TargetKind::Pixels => Begun::Pixels(match &self.start {
                Some(start) => start.pixel_params(ops, self)?,
                None => PixelMim::init(ops, &self.config.vit, seed),
            }),
        })
    }

    fn course<'a, O: Ops + 'static, G: Goal<O>>(
        &'a self,
        (ops, device): (&'a Rc<O>, &'a Device),
        goal: &'a G,
        (loader, loading): (&'a Samples, &'a Loading),
    ) -> Course<'a, O, G> {
        Course { job: self, ops, device, goal, loader, loading }
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
        let settings = &job.settings;
        let stamp = training_stamp(job.source.as_ref(), settings.data.shuffle.into());
        let recorded = Recorded::new(settings, device).with("data", stamp);
        match settings.objective.predict {
            TargetKind::Tokens => {
                let tokenizer = load::tokenizer(&**ops, &self.tokenizer(), &job.watch)?;
                kept.same_run(&recorded.with("tokenizer", checksum(&**ops, &tokenizer)?))?;
                let goal = Tokens { tokenizer: Rc::new(tokenizer), baseline: 0.0 };
                self.towards(&goal, (ops, device), Mim::init(&**ops, &job.config, 0))
            }
            TargetKind::Pixels => {
                kept.same_run(&recorded)?;
                self.towards(&Pixels, (ops, device), PixelMim::init(&**ops, &job.config.vit, 0))
            }
        }
    }
}

impl ReplayJob<'_> {
    fn tokenizer(&self) -> PathBuf {
        self.job.settings.tokenizer.clone().unwrap_or_else(|| self.kept.run.join("tokenizer"))
    }

    fn towards<O: Ops + 'static, G: Goal<O>>(
        &self,
        goal: &G,
        (ops, device): (&Rc<O>, &Device),
        params: G::Params,
    ) -> Result<Replay> {
        let Self { job, kept } = self;
        let settings = &job.settings;
        let loading = Loading::for_training(&settings.training, &settings.data, device.workers(), &job.watch);
        let loader = job.loader(&job.source, &loading, true)?;
        let course = job.course((ops, device), goal, (&loader, &loading));
        let mut trainer = course.trainer(params);
        course.resume(&mut trainer, &kept.folder)?;
        kept.replayed(&mut trainer, &loader, job.source.as_ref())
    }
}
