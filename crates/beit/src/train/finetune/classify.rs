//! Fine-tuning for classification on a device.

use super::start::Start;
use super::{Finetuned, Finetuning, Judged};
use crate::classifier::Classifier as Door;
use crate::device::{Device, Work};
use crate::error::Result;
use crate::load::ClassifierModel;
use crate::loaders::Loading;
use crate::probe::pixels_baseline;
use crate::settings::{BestMetric, Crops};
use crate::train::best::Standing;
use crate::train::replay::{KeptStep, Replay};
use beit_data::{FinetuneTransform, LabelledSample, Loader, Preprocessing};
use beit_heads::Classifier;
use beit_ops::Ops;
use beit_train::{Classification, Evaluation, Record, Sink, Trainer};
use beit_weights::{save_classifier, write_preprocessing};
use std::path::Path;
use std::rc::Rc;

pub(super) struct Job<'a>(pub(super) &'a Finetuning);

impl Work for Job<'_> {
    type Output = Finetuned;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, device: &Device) -> Result<Finetuned> {
        let Self(job) = self;
        let (settings, watch) = (&job.settings, &job.watch);
        let Start { params, preprocessing, report } = job.start(&**ops, device)?;
        if !settings.run.resumes() {
            watch.note(&report);
        }
        let loading = job.loading(device);
        let loader = job.classified(&loading, preprocessing)?;
        let mut trainer = job.classifying(&**ops, device, params);
        let names = job.images.source.class_names();
        let save = |trainer: &Trainer<'_, O, _>, best: Option<&Standing>, dir: &Path| {
            save(trainer, (&preprocessing, best), names, dir)
        };
        let judging = loading.labelled(&job.images.held_out, (preprocessing, Crops::One), |class| class)?;
        let door = |params| {
            let model = ClassifierModel { params, class_names: names.to_vec(), preprocessing };
            Door::on(ops, model, device)
        };
        let mut judge = |trainer: &Trainer<'_, O, Classification>| {
            let (classifier, ranks) = (door(trainer.model().0.clone()), &mut *device.team().ranks());
            let evaluation = classifier.engine().evaluate(ranks, &judging, None, &mut |_| Ok(()))?;
            let accuracy = evaluation.accuracy();
            Ok(if settings.best.keep_best == Some(BestMetric::Loss) { accuracy.loss } else { accuracy.top1 })
        };
        let mut trained = job.train(device, &mut trainer, &loader, &mut judge, save)?;

        let (params, ()) = trainer.into_model();
        let classifier = door(params);
        let evaluation = job.watched(&trained, |seen| {
            let batch_size = loading.batch_size as u64;
            let mut seen = |state: &Evaluation| seen(state.batches * batch_size);
            classifier.engine().evaluate(&mut *device.team().ranks(), &judging, None, &mut seen)
        })?;
        let (split, accuracy) = (job.images.split.to_string(), evaluation.accuracy());
        trained.metrics.record(&Record::Classes { split: &split, accuracy: &accuracy })?;
        job.unless_stopped(device, &trained)?;
        // Who follows has nobody to tell it.
        let pixels_baseline = match trained.run.follows() {
            true => None,
            false => pixels_baseline(&job.images, preprocessing, &loading)?,
        };
        Ok(job.finetuned(trained, split, Judged::Classes { accuracy, pixels_baseline }))
    }
}

impl Finetuning {
    /// Augmented images with their classes.
    fn classified(&self, loading: &Loading, preprocessing: Preprocessing) -> Result<Loader<LabelledSample>> {
        let Self { settings, images, .. } = self;
        let usual = preprocessing.finetune();
        let transform =
            settings.augment.or(FinetuneTransform { crop: settings.crop.or(usual.crop), ..usual });
        loading.finetune(&images.source, images.indices.clone(), transform, settings.augment.copies())
    }

    /// The trainer of a run.
    fn classifying<'a, O: Ops>(
        &self,
        ops: &'a O,
        device: &Device,
        params: Classifier<O::Tensor>,
    ) -> Trainer<'a, O, Classification> {
        let settings = &self.settings;
        let task = Classification {
            smoothing: settings.smoothing,
            mixing: settings.mixing.mixing(),
            recompute: settings.training.recompute,
        };
        let shard = settings.training.moments(device.team().shard());
        Trainer::new(ops, task, self.recipe(device), params).sharded(shard)
    }
}

/// Computes a step again that a run has kept.
pub(super) struct ReplayJob<'a>(pub(super) &'a Finetuning, pub(super) &'a KeptStep);

impl Work for ReplayJob<'_> {
    type Output = Replay;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, device: &Device) -> Result<Replay> {
        let Self(job, kept) = self;
        kept.same_run(&job.recorded(device))?;
        let Start { params, preprocessing, .. } = job.start_from_own(&**ops, &kept.folder)?;
        let loader = job.classified(&job.loading(device), preprocessing)?;
        let mut trainer = job.classifying(&**ops, device, params);
        trainer.load_state(&kept.folder)?;
        kept.replayed(&mut trainer, &loader, job.images.source.as_ref())
    }
}

/// Saves a run so that it can go on.
fn save<O: Ops>(
    trainer: &Trainer<'_, O, Classification>,
    (preprocessing, best): (&Preprocessing, Option<&Standing>),
    class_names: &[String],
    dir: &Path,
) -> Result<()> {
    let (params, ()) = trainer.model();
    save_classifier(trainer.ops, dir, params, class_names, |dir: &Path| -> Result<()> {
        write_preprocessing(dir, preprocessing)?;
        trainer.save_state(dir)?;
        best.map_or(Ok(()), |best| best.write(dir))
    })
}
