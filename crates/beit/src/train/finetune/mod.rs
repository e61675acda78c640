//! Fine-tuning for classification.

mod start;

use super::{Journal, recipe};
use crate::classifier::Classifier as Door;
use crate::device::{Device, Work};
use crate::error::Result;
use crate::evaluate;
use crate::labelled::Labelled;
use crate::load::ClassifierModel;
use crate::loaders::Loading;
use crate::memory;
use crate::probe::{MOST_PIXELS, pixels_baseline};
use crate::progress::Watch;
use crate::run::{Recorded, Run, data_stamp, newest};
use crate::settings::number::{SHARE, within};
use crate::settings::{
    Batches, CropSettings, DataSettings, HeldOutSettings, LoadSettings, ModelSettings, OptimisationSettings,
    RunSettings,
};
use beit_data::{FinetuneTransform, LabelledSample, Loader, Preprocessing};
use beit_heads::{Classifier, ClassifierConfig, Pooling};
use beit_ops::prelude::*;
use beit_ops::{Ops, Tree};
use beit_train::{Accuracy, Classification, Hyper, Record, Sink, Trainer};
use beit_weights::{save_classifier, write_preprocessing};
use serde::{Deserialize, Serialize};
use start::Start;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The rate of the released ImageNet-1k fine-tuning of the base model.
const LR: f64 = 4e-3;

/// Passes over the images where nothing is said: so many, and more of few images.
const EPOCHS: u64 = 4;
/// Steps where nothing is said, at least.
const STEPS: u64 = 800;

/// Which model is fine-tuned, on what, and how.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default)]
pub struct FinetuneSettings {
    /// Where to start: run, checkpoint folder, file (.safetensors, .pth, .bin), official name or name on the hub
    #[cfg_attr(feature = "clap", arg(long, alias = "finetune", value_name = "MODEL", required_unless_present_any = ["from_scratch", "resume"], conflicts_with = "from_scratch"))]
    pub init: Option<PathBuf>,
    /// Start from random values instead: the baseline
    #[cfg_attr(feature = "clap", arg(long))]
    pub from_scratch: bool,
    /// The images.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub data: DataSettings,
    /// Use only this many labels, equally many of each class, drawn by the seed
    #[cfg_attr(feature = "clap", arg(long, value_name = "N"))]
    pub labels: Option<usize>,
    /// Which images judge it.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub held_out: HeldOutSettings,
    /// The model, where it starts from random values.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub model: ModelSettings,
    /// How the checkpoint is loaded.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub loading: LoadSettings,
    /// The optimiser.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub training: OptimisationSettings,
    /// Learning rate factor between neighbouring layers
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().layer_decay))]
    pub layer_decay: f64,
    /// Label smoothing
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().smoothing))]
    pub smoothing: f32,
    /// The views.
    #[cfg_attr(feature = "clap", command(flatten))]
    #[serde(flatten)]
    pub crop: CropSettings,
    /// Classify by the CLS token instead of the mean of the patches
    #[cfg_attr(feature = "clap", arg(long))]
    pub use_cls: bool,
    /// The folder of the run.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub run: RunSettings,
}

impl Default for FinetuneSettings {
    fn default() -> Self {
        Self {
            init: None,
            from_scratch: false,
            data: DataSettings::default(),
            labels: None,
            held_out: HeldOutSettings::default(),
            model: ModelSettings::default(),
            loading: LoadSettings::default(),
            training: OptimisationSettings::default(),
            layer_decay: 0.65,
            smoothing: 0.1,
            crop: CropSettings::default(),
            use_cls: false,
            run: RunSettings::default(),
        }
    }
}

/// A run of fine-tuning of which everything is checked that can be without a device.
pub struct Finetuning {
    settings: FinetuneSettings,
    images: Labelled,
    hyper: Hyper,
    watch: Watch,
}

/// A classifier that was fine-tuned.
#[derive(Clone, Debug, Serialize)]
pub struct Finetuned {
    /// The folder of the run.
    pub run: PathBuf,
    /// The last checkpoint in it.
    pub checkpoint: PathBuf,
    /// Labelled images that it was trained on.
    pub labels: usize,
    /// Which images it is judged by.
    pub split: String,
    /// How it does on these.
    #[serde(flatten)]
    pub accuracy: Accuracy,
    /// The share of these that logistic regression on the pixels of the same labelled images names rightly; none where those are
    /// too many for seconds of work.
    pub pixels_baseline: Option<f64>,
}

impl FinetuneSettings {
    /// Starting from this model.
    #[must_use]
    pub fn from_model(init: impl Into<PathBuf>) -> Self {
        Self { init: Some(init.into()), ..Self::default() }
    }

    /// Refuses numbers that no run can have.
    fn check(&self) -> Result<()> {
        within("--layer-decay", "a factor", self.layer_decay, SHARE)?;
        within("--smoothing", "a share", self.smoothing, 0.0..1.0)?;
        self.model.check()?;
        self.crop.check()?;
        self.training.check()
    }
}

impl Finetuning {
    /// Checks the settings and opens the data.
    ///
    /// # Errors
    ///
    /// Settings that do not fit together, or data that is not there or has no labels.
    pub fn new(mut settings: FinetuneSettings, watch: &Watch) -> Result<Self> {
        settings.run.folder.settle();
        settings.check()?;
        let data = &settings.data;
        let images = Labelled::open(data, settings.labels, settings.held_out, settings.training.seed, watch)?;
        let n = images.indices.len();
        let batches = Loading::for_training(&settings.training, data, 1, watch).training(n).batches(n)?;
        let epochs = EPOCHS.max(STEPS.div_ceil((batches / settings.training.update_freq).max(1)));
        let training = &mut settings.training;
        training.settle(Batches::LARGE, epochs);
        let layer_decay = (settings.layer_decay < 1.0).then_some(settings.layer_decay);
        let hyper = Hyper { layer_decay, ..training.hyper(batches, LR)? };
        Ok(Self { settings, images, hyper, watch: watch.clone() })
    }

    /// One sentence about data and length, for a person.
    #[must_use]
    pub fn describe(&self) -> String {
        let Self { settings, images: Labelled { source, indices, .. }, hyper, .. } = self;
        format!(
            "{} labelled images from {} in {} classes; {} steps of {} images",
            indices.len(),
            settings.data.data,
            source.class_names().len(),
            hyper.schedule.total,
            settings.training.step_size(),
        )
    }

    /// Loads what training starts from, so that everything is known to fit; returns the number of steps.
    ///
    /// # Errors
    ///
    /// A model that cannot be loaded, or a folder that is in use.
    pub fn check(&self, device: &Device) -> Result<u64> {
        device.run(Check(self))?;
        Run::check(&self.settings.run)?;
        Ok(self.hyper.schedule.total)
    }

    /// Trains, or goes on, to the end, and judges the classifier by images that were held out.
    ///
    /// # Errors
    ///
    /// The data, the model to start from, the folder, the device, or a number that is not finite.
    pub fn run(&self, device: &Device) -> Result<Finetuned> {
        device.run(Job(self))
    }

    /// The files and folders that it reads.
    fn inputs(&self) -> Vec<&Path> {
        self.settings.init.as_deref().into_iter().chain(self.settings.data.folder()).collect()
    }

    /// The checkpoint of this very run to go on from.
    fn newest(&self) -> Option<PathBuf> {
        self.settings.run.resumed().and_then(newest)
    }

    /// Refuses what the machine has no memory for.
    fn refuse_beyond(&self, device: &Device, config: &ClassifierConfig) -> Result<()> {
        let (vit, training) = (&config.vit, &self.settings.training);
        let batch = training.batch_size();
        let what = format!("a step of {batch} images of {}x{}", vit.image[0], vit.image[1]);
        let lower = "--batch-size or --image-size, or take --recompute";
        memory::refuse_beyond(device, &what, memory::least_of_vit(vit, batch), lower)?;
        let planned = memory::plan(device.footprint(), batch, |ops, batch| {
            let params = Classifier::shapes(config).map(&mut |shape| ops.zeros(*shape));
            // Gradients and two moments.
            let mut kept: Vec<_> = (0..3).map(|_| params.clone()).collect();
            let images = ops.zeros(vit.images(batch));
            let input = beit_vit::Input { images: &images, mask: None, drop_path: None };
            let (logits, saved) = params.forward(ops, &input, training.keep());
            params.backward(ops, &input, &logits, saved, &mut kept[0]);
        });
        memory::refuse_beyond(device, &what, planned.bytes, lower)
    }

    fn classes(&self) -> usize {
        self.images.source.class_names().len()
    }

    fn pooling(&self) -> Pooling {
        if self.settings.use_cls { Pooling::Cls } else { Pooling::Mean }
    }
}

struct Check<'a>(&'a Finetuning);

impl Work for Check<'_> {
    type Output = ();

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, device: &Device) -> Result<()> {
        let start = self.0.start(&**ops, device)?;
        self.0.watch.note(&start.report);
        Ok(())
    }
}

struct Job<'a>(&'a Finetuning);

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
        let recipe = recipe(&settings.training, &settings.run, job.hyper, device);
        let mut trainer = Trainer::new(&**ops, task, recipe, params);
        if let Some(newest) = run.newest() {
            trainer.load_state(&newest)?;
        }
        let step = trainer.optimiser.steps();
        let mut journal = Journal::open(&mut run, watch, "finetune", step)?;
        let names = job.images.source.class_names();
        let save = |trainer: &Trainer<'_, O, _>, dir: &Path| save(trainer, &preprocessing, names, dir);
        let checkpoint = journal.train_to_the_end(&mut trainer, &loader, &settings.run, save)?;

        let loader = loading.labelled(&job.images.held_out, preprocessing, |class| class)?;
        let model = ClassifierModel { params: trainer.params, class_names: names.to_vec(), preprocessing };
        let classifier = Door::on(ops, model, device);
        let evaluation = classifier.engine().evaluate(&loader, None, &mut |_| Ok(()))?;
        let (split, accuracy) = (job.images.split.to_string(), evaluation.accuracy());
        journal.metrics.record(&Record::Classes { split: &split, accuracy: &accuracy })?;
        let pixels_baseline = pixels_baseline(&job.images, preprocessing, &loading)?;
        Ok(Finetuned {
            run: run.dir.clone(),
            checkpoint,
            labels: job.images.indices.len(),
            split,
            accuracy,
            pixels_baseline,
        })
    }
}

impl Finetuned {
    /// One line for a person.
    #[must_use]
    pub fn sentence(&self) -> String {
        evaluate::sentence(&self.split, &self.accuracy)
    }

    /// What the pixels alone are good for, as one line for a person.
    #[must_use]
    pub fn baseline_sentence(&self) -> String {
        match self.pixels_baseline {
            Some(top1) => format!("the same with logistic regression on pixels: top-1 {top1:.4}"),
            None => format!("no logistic regression on pixels beside it: more than {MOST_PIXELS} values"),
        }
    }
}

/// Saves a run so that it can go on.
fn save<O: Ops>(
    trainer: &Trainer<'_, O, Classification>,
    preprocessing: &Preprocessing,
    class_names: &[String],
    dir: &Path,
) -> Result<()> {
    save_classifier(trainer.ops, dir, &trainer.params, class_names, |dir: &Path| -> Result<()> {
        write_preprocessing(dir, preprocessing)?;
        Ok(trainer.save_state(dir)?)
    })
}
