//! Fine-tuning for classification on a device.

use super::start::Start;
use super::{Finetuned, Finetuning, Judged};
use crate::classifier::Classifier as Door;
use crate::device::{Device, Work};
use crate::error::Result;
use crate::load::ClassifierModel;
use crate::loaders::Loading;
use crate::probe::pixels_baseline;
use crate::run::{Recorded, Run, data_stamp};
use crate::train::Journal;
use beit_data::{FinetuneTransform, LabelledSample, Loader, Preprocessing};
use beit_ops::Ops;
use beit_train::{Classification, Record, Sink, Trainer};
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
        if !settings.run.resume {
            watch.note(&report);
        }
        let loading = Loading::for_training(&settings.training, &settings.data, device.workers(), watch);
        let usual = preprocessing.finetune();
        let transform = FinetuneTransform { crop: settings.crop.or(usual.crop), ..usual };
        let loader: Loader<LabelledSample> =
            loading.finetune(&job.images.source, job.images.indices.clone(), transform)?;

        let recorded = Recorded::new(settings, device).with("data", data_stamp(job.images.source.as_ref()));
        let mut run = Run::begin_or_resume(&settings.run, "finetune", &job.inputs(), &recorded, watch)?;
        let task = Classification { smoothing: settings.smoothing, recompute: settings.training.recompute };
        let mut trainer = Trainer::new(&**ops, task, job.recipe(device), params);
        if let Some(newest) = run.newest() {
            trainer.load_state(&newest)?;
        }
        let step = trainer.optimiser.steps();
        let mut journal = Journal::open(&mut run, watch, "finetune", step)?;
        let names = job.images.source.class_names();
        let save = |trainer: &Trainer<'_, O, _>, dir: &Path| save(trainer, &preprocessing, names, dir);
        let checkpoint = journal.train_to_the_end(&mut trainer, &loader, &settings.run, save)?;

        let loader = loading.labelled(&job.images.held_out, preprocessing, |class| class)?;
        let (params, ()) = trainer.into_model();
        let model = ClassifierModel { params, class_names: names.to_vec(), preprocessing };
        let classifier = Door::on(ops, model, device);
        let evaluation = classifier.engine().evaluate(&loader, None, &mut |_| Ok(()))?;
        let (split, accuracy) = (job.images.split.to_string(), evaluation.accuracy());
        journal.metrics.record(&Record::Classes { split: &split, accuracy: &accuracy })?;
        let pixels_baseline = pixels_baseline(&job.images, preprocessing, &loading)?;
        let judged = Judged::Classes { accuracy, pixels_baseline };
        let labels = job.images.indices.len();
        Ok(Finetuned { run: run.dir.clone(), checkpoint, labels, split, judged })
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
