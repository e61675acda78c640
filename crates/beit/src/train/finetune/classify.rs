//! Fine-tuning for classification on a device.

use super::start::Start;
use super::{Finetuned, Finetuning, Judged};
use crate::classifier::Classifier as Door;
use crate::device::{Device, Work};
use crate::error::Result;
use crate::load::ClassifierModel;
use crate::loaders::Loading;
use crate::probe::pixels_baseline;
use crate::settings::Crops;
use beit_data::{FinetuneTransform, LabelledSample, Loader, Preprocessing};
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
        let loading = Loading::for_training(&settings.training, &settings.data, device.workers(), watch);
        let usual = preprocessing.finetune();
        let transform =
            settings.augment.or(FinetuneTransform { crop: settings.crop.or(usual.crop), ..usual });
        let loader: Loader<LabelledSample> = loading.finetune(
            &job.images.source,
            job.images.indices.clone(),
            transform,
            settings.augment.copies(),
        )?;

        let task = Classification {
            smoothing: settings.smoothing,
            mixing: settings.mixing.mixing(),
            recompute: settings.training.recompute,
        };
        let shard = settings.training.moments(device.team().shard());
        let mut trainer = Trainer::new(&**ops, task, job.recipe(device), params).sharded(shard);
        let names = job.images.source.class_names();
        let save = |trainer: &Trainer<'_, O, _>, dir: &Path| save(trainer, &preprocessing, names, dir);
        let mut trained = job.train(device, &mut trainer, &loader, save)?;

        let loader = loading.labelled(&job.images.held_out, (preprocessing, Crops::One), |class| class)?;
        let (params, ()) = trainer.into_model();
        let model = ClassifierModel { params, class_names: names.to_vec(), preprocessing };
        let classifier = Door::on(ops, model, device);
        let evaluation = job.watched(&trained, |seen| {
            let batch_size = loading.batch_size as u64;
            let mut seen = |state: &Evaluation| seen(state.batches * batch_size);
            classifier.engine().evaluate(&mut *device.team().ranks(), &loader, None, &mut seen)
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

/// Saves a run so that it can go on.
fn save<O: Ops>(
    trainer: &Trainer<'_, O, Classification>,
    preprocessing: &Preprocessing,
    class_names: &[String],
    dir: &Path,
) -> Result<()> {
    let (params, ()) = trainer.model();
    save_classifier(trainer.ops, dir, params, class_names, |dir: &Path| -> Result<()> {
        write_preprocessing(dir, preprocessing)?;
        Ok(trainer.save_state(dir)?)
    })
}
