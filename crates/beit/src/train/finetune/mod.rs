//! Fine-tuning: what all of it shares. `classify` learns the classes of images, `segment` those of pixels; each starts from what its
//! `start` makes.

mod answer;
mod check;
mod classify;
mod head;
mod in_run;
mod segment;
mod segment_start;
mod start;
mod step;

pub use answer::{Finetuned, Judged};
pub use head::{HeadKind, HeadSettings};
pub(crate) use step::Shape;

use crate::device::Device;
use crate::error::{Result, setting};
use crate::labelled::Labelled;
use crate::loaders::Loading;
use crate::memory;
use crate::progress::Watch;
use crate::run::{Recorded, Run, newest, training_stamp};
use crate::settings::number::{SHARE, within};
use crate::settings::{
    AugmentSettings, AverageSettings, Batches, BestMetric, BestSettings, CropSettings, DataSettings,
    GuardSettings, HeldOutSettings, LoadSettings, MixingSettings, ModelSettings, OptimisationSettings,
    RunSettings,
};
use crate::survey::Survey;
use crate::train::replay::{KeptStep, Replay};
use crate::train::{PlannedRun, recipe};
use beit_train::{Decay, Hyper, Recipe};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What is usual where nothing is said.
struct Usual {
    lr: f64,
    decay: Decay,
    batch_size: usize,
    /// At least.
    steps: u64,
}

impl Usual {
    fn of(task: FinetuneTask, images: &Labelled) -> Result<Self> {
        Ok(match task {
            // The rate of the released ImageNet-1k fine-tuning of the base model.
            FinetuneTask::Classify => {
                Self { lr: 4e-3, decay: Decay::Cosine, batch_size: Batches::LARGE, steps: 800 }
            }
            FinetuneTask::Segment if beit_data::is_small(images.first_size()?) => {
                // docs/results/segmentation.md
                Self { lr: 1.6e-2, decay: Decay::Linear, batch_size: 8, steps: 1000 }
            }
            // The released recipe of the base model after pre-training alone.
            FinetuneTask::Segment => Self { lr: 7e-4, decay: Decay::Linear, batch_size: 16, steps: 2000 },
        })
    }
}

/// Passes over the images where nothing is said: so many, and more of few images.
const EPOCHS: u64 = 4;

/// What is learnt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum FinetuneTask {
    /// The classes of images
    #[default]
    Classify,
    /// The classes of pixels: semantic segmentation
    Segment,
}

/// Which model is fine-tuned, on what, and how.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default)]
pub struct FinetuneSettings {
    /// Where to start: run, checkpoint folder, file (.safetensors, .pth, .bin), official name or name on the hub
    #[cfg_attr(
        feature = "clap",
        arg(long, alias = "finetune", value_name = "MODEL", conflicts_with = "from_scratch")
    )]
    pub init: Option<PathBuf>,
    /// Start from random values instead: the baseline
    #[cfg_attr(feature = "clap", arg(long))]
    pub from_scratch: bool,
    /// What is learnt
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t))]
    pub task: FinetuneTask,
    /// The head of a segmenter.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub segmentation: HeadSettings,
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
    /// What else is done to them.
    #[cfg_attr(feature = "clap", command(flatten))]
    #[serde(flatten)]
    pub augment: AugmentSettings,
    /// How images are mixed.
    #[cfg_attr(feature = "clap", command(flatten))]
    #[serde(flatten)]
    pub mixing: MixingSettings,
    /// An average of the weights.
    #[cfg_attr(feature = "clap", command(flatten))]
    #[serde(flatten)]
    pub average: AverageSettings,
    /// Steps that are left out.
    #[cfg_attr(feature = "clap", command(flatten))]
    #[serde(flatten)]
    pub guard: GuardSettings,
    /// Which checkpoint is the best.
    #[cfg_attr(feature = "clap", command(flatten))]
    #[serde(flatten)]
    pub best: BestSettings,
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
            task: FinetuneTask::default(),
            segmentation: HeadSettings::default(),
            data: DataSettings::default(),
            labels: None,
            held_out: HeldOutSettings::default(),
            model: ModelSettings::default(),
            loading: LoadSettings::default(),
            training: OptimisationSettings::default(),
            layer_decay: 0.65,
            smoothing: 0.1,
            crop: CropSettings::default(),
            augment: AugmentSettings::default(),
            mixing: MixingSettings::default(),
            average: AverageSettings::default(),
            guard: GuardSettings::default(),
            best: BestSettings::default(),
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

impl FinetuneSettings {
    /// Starting from this model.
    #[must_use]
    pub fn from_model(init: impl Into<PathBuf>) -> Self {
        Self { init: Some(init.into()), ..Self::default() }
    }

    /// Refuses numbers that no run can have.
    pub(crate) fn check(&self) -> Result<()> {
        if self.data.bands().is_some() && self.augment.changes_colour() {
            setting!("--auto-augment: expected pictures in RGB of 8 bits, not --channels; leave it out");
        }
        within("--layer-decay", "a factor", self.layer_decay, SHARE)?;
        within("--smoothing", "a share", self.smoothing, 0.0..1.0)?;
        self.model.check()?;
        self.crop.check()?;
        self.augment.check()?;
        self.mixing.check(self.training.batch_size())?;
        self.average.check()?;
        self.guard.check()?;
        self.segmentation.check()?;
        self.check_best()?;
        match self.task {
            FinetuneTask::Classify => self.segmentation.check_unused()?,
            FinetuneTask::Segment => self.check_segmentation()?,
        }
        self.training.check()
    }

    /// Refuses to keep a best checkpoint that is not to be had.
    fn check_best(&self) -> Result<()> {
        let (of, measured): (_, &[BestMetric]) = match self.task {
            FinetuneTask::Classify => ("classification", &[BestMetric::Accuracy, BestMetric::Loss]),
            FinetuneTask::Segment => ("segmentation", &[BestMetric::Miou]),
        };
        self.best.check(of, measured, &self.run)?;
        match (self.best.keep_best, self.held_out.validation) {
            (Some(metric), None) => setting!(
                "--keep-best {metric} needs --validation SHARE: the test images must not choose the checkpoint that they judge"
            ),
            _ => Ok(()),
        }
    }

    /// Refuses what belongs to classification.
    fn check_segmentation(&self) -> Result<()> {
        let others = [
            ("--use-cls", self.use_cls),
            ("--smoothing", self.smoothing != Self::default().smoothing),
            ("--min-crop-scale", self.crop.min_crop_scale.is_some()),
        ];
        let others = others.into_iter().chain(self.augment.given()).chain(self.mixing.given());
        match others.into_iter().find(|(_, given)| *given) {
            Some((flag, _)) => setting!("{flag} belongs to classification: leave it out, or --task segment"),
            None => Ok(()),
        }
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
        settings.see_as_init(watch)?;
        settings.training.divide(1)?;
        settings.check()?;
        let data = &settings.data;
        let (labels, seed) = (settings.labels, settings.training.seed);
        let images = match settings.task {
            FinetuneTask::Classify => Labelled::open(data, labels, settings.held_out, seed, watch)?,
            FinetuneTask::Segment => Labelled::open_masks(data, labels, settings.held_out, seed, watch)?,
        };
        watch.notes_of_training(images.source.as_ref(), data);
        if settings.init.is_none() {
            settings.model.settle_statistics(&settings.data, images.source.as_ref(), watch)?;
        }
        let n = images.indices.len();
        let usual = Usual::of(settings.task, &images)?;
        settings.training.batches = settings.training.batches.or(usual.batch_size).into();
        let data = &settings.data;
        let batches = Loading::for_training(&settings.training, data, 1, watch).training(n).batches(n)?;
        let epochs = EPOCHS.max(usual.steps.div_ceil(settings.training.steps_of(batches)));
        let training = &mut settings.training;
        training.settle(usual.batch_size, epochs);
        let layer_decay = (settings.layer_decay < 1.0).then_some(settings.layer_decay);
        let hyper = Hyper { layer_decay, ..training.hyper(batches, usual.lr, usual.decay)? };
        Ok(Self { settings, images, hyper, watch: watch.clone() })
    }

    /// One sentence about data and length, for a person.
    #[must_use]
    pub fn describe(&self) -> String {
        let Self { settings, images: Labelled { indices, .. }, hyper, .. } = self;
        let labelled = match settings.task {
            FinetuneTask::Classify => "labelled images",
            FinetuneTask::Segment => "images with masks",
        };
        format!(
            "{} {labelled} from {} in {} classes; {} steps of {} images",
            indices.len(),
            settings.data.data,
            self.class_names().len(),
            hyper.schedule.total,
            settings.training.step_size(),
        )
    }

    /// Loads what training starts from, so that everything is known to fit, and takes two steps of a few images to see how fast this
    /// device is.
    ///
    /// # Errors
    ///
    /// A model that cannot be loaded, or a folder that is in use.
    pub fn check(&self, device: &Device) -> Result<PlannedRun> {
        Run::check(&self.settings.run)?;
        device.run(check::Check(self))
    }

    /// A look at so many of the training images.
    #[must_use]
    pub fn survey(&self, images: usize) -> Survey {
        Survey::of(self.images.source.as_ref(), images)
    }

    /// Trains, or goes on, to the end, and judges the classifier by images that were held out.
    ///
    /// # Errors
    ///
    /// The data, the model to start from, the folder, the device, or a number that is not finite.
    pub fn run(&self, device: &Device) -> Result<Finetuned> {
        match self.settings.task {
            FinetuneTask::Classify => device.run(classify::Job(self)),
            FinetuneTask::Segment => device.run(segment::Job(self)),
        }
    }

    /// Computes the step again before which a checkpoint of the run was kept.
    pub(in crate::train) fn replay(&self, kept: &KeptStep, device: &Device) -> Result<Replay> {
        match self.settings.task {
            FinetuneTask::Classify => device.run(classify::ReplayJob(self, kept)),
            FinetuneTask::Segment => device.run(segment::ReplayJob(self, kept)),
        }
    }

    /// How its images are loaded.
    fn loading(&self, device: &Device) -> Loading {
        let FinetuneSettings { training, data, .. } = &self.settings;
        Loading::for_training(training, data, device.workers(), &self.watch)
    }

    /// What is written down of it.
    fn recorded(&self, device: &Device) -> Recorded<'_, FinetuneSettings> {
        let stamp = training_stamp(self.images.source.as_ref(), self.settings.data.shuffle.into());
        Recorded::new(&self.settings, device).with("data", stamp)
    }

    /// How it trains.
    fn recipe(&self, device: &Device) -> Recipe {
        let FinetuneSettings { training, run, average, guard, .. } = &self.settings;
        recipe((training, average, guard), run, self.hyper, device)
    }

    /// The files and folders that it reads.
    fn inputs(&self) -> Vec<PathBuf> {
        self.settings.init.iter().cloned().chain(self.settings.data.paths()).collect()
    }

    /// The checkpoint of this very run to go on from.
    fn newest(&self) -> Option<PathBuf> {
        self.settings.run.resumed().and_then(newest)
    }

    /// Refuses what the machine has no memory for.
    fn refuse_beyond(&self, device: &Device, shape: &Shape) -> Result<()> {
        let (vit, batch) = (shape.vit(), self.settings.training.batch_size());
        let what = format!("a step of {batch} images of {}x{}", vit.image[0], vit.image[1]);
        let lower = "--batch-size or --image-size, or take --recompute";
        memory::refuse_beyond(device, &what, memory::least_of_vit(vit, batch), lower)?;
        let planned = shape.planned(&self.settings, device.footprint(), self.copies(device));
        memory::refuse_beyond(device, &what, planned.bytes, lower)
    }

    /// How often training keeps as many numbers as the model has.
    fn copies(&self, device: &Device) -> usize {
        let FinetuneSettings { training, average, .. } = &self.settings;
        training.kept(average.decay(), device.team().shard().of)
    }

    /// The names of the classes that are learnt.
    fn class_names(&self) -> &[String] {
        match self.settings.task {
            FinetuneTask::Classify => self.images.source.class_names(),
            FinetuneTask::Segment => self.images.source.mask_classes(),
        }
    }

    fn classes(&self) -> usize {
        self.class_names().len()
    }
}
