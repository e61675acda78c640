//! Masked image modelling.

mod job;
mod rate;
mod start;

use super::advice::advise;
use super::tokenizer_kinds::Plan as TokenizerPlan;
use crate::device::Device;
use crate::error::{Result, setting};
use crate::load;
use crate::loaders::Loading;
use crate::memory::{self, Planned};
use crate::progress::Watch;
use crate::ranks::Predicted;
use crate::ranks::cluster::Step;
use crate::run::Run;
use crate::settings::number::within;
use crate::settings::{
    AverageSettings, ClusterSettings, CropSettings, DataSettings, GuardSettings, LoadSettings, MaskSettings,
    MeasureSettings, ModelSettings, OptimisationSettings, RunSettings, Size, TokenizerKind,
};
use beit_data::{ColourJitter, Loader, Preprocessing, PretrainSample, PretrainTransform, Source, Split};
use beit_heads::{Mim, MimConfig};
use beit_mask::Masker;
use beit_ops::prelude::*;
use beit_ops::{Footprint, Tree};
use beit_tokenizer::Codebook;
use beit_train::{Decay, Hyper, TokenAccuracy};
use beit_vit::Config;
use beit_weights::Checkpoint;
use serde::{Deserialize, Serialize};
use start::Start;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Which model is pre-trained, on what, and how.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default)]
pub struct PretrainSettings {
    /// The images.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub data: DataSettings,
    /// Go on with a model, instead of random values: run, checkpoint folder, file (.safetensors, .pth, .bin), official name or name on the
    /// hub. Of a run the tokenizer is taken too
    #[cfg_attr(feature = "clap", arg(long, value_name = "MODEL", conflicts_with_all = ["preset", "paper", "abs_pos_emb", "no_abs_pos_emb", "no_rel_pos_bias", "layer_scale_init_value"]))]
    pub init: Option<PathBuf>,
    /// How that is loaded.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub loading: LoadSettings,
    /// The model.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub model: ModelSettings,
    /// The masks.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub mask: MaskSettings,
    /// The optimiser.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub training: OptimisationSettings,
    /// The folder of the run.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub run: RunSettings,
    /// Tokenizer: folder, encoder's file (encoder.pkl, .safetensors), official name (dalle), or name on the hub. Without it, one is trained
    /// on the same images first
    #[cfg_attr(feature = "clap", arg(long, alias = "discrete-vae-weight-path", value_name = "MODEL"))]
    pub tokenizer: Option<PathBuf>,
    /// Train a new tokenizer where that of --init would be taken
    #[cfg_attr(feature = "clap", arg(long, requires = "init", conflicts_with = "tokenizer"))]
    pub new_tokenizer: bool,
    /// Which kind of tokenizer is trained where none is given
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t = Self::default().tokenizer_kind))]
    pub tokenizer_kind: TokenizerKind,
    /// Steps of training the tokenizer where none is given; the recipe's where not given
    #[cfg_attr(feature = "clap", arg(long))]
    pub tokenizer_steps: Option<u64>,
    /// Go on with a tokenizer whose tokens are found to be of no use on these images
    #[cfg_attr(feature = "clap", arg(long))]
    pub accept_tokenizer: bool,
    /// What is measured.
    #[cfg_attr(feature = "clap", command(flatten))]
    #[serde(flatten)]
    pub measure: MeasureSettings,
    /// The views.
    #[cfg_attr(feature = "clap", command(flatten))]
    #[serde(flatten)]
    pub crop: CropSettings,
    /// Colour jitter of the pre-training views; where not given, 0 for the tiny preset and with --channels, 0.4 for others
    #[cfg_attr(feature = "clap", arg(long, alias = "color-jitter"))]
    pub colour_jitter: Option<f64>,
    /// An average of the weights.
    #[cfg_attr(feature = "clap", command(flatten))]
    #[serde(flatten)]
    pub average: AverageSettings,
    /// Steps that are left out.
    #[cfg_attr(feature = "clap", command(flatten))]
    #[serde(flatten)]
    pub guard: GuardSettings,
}

impl Default for PretrainSettings {
    fn default() -> Self {
        Self {
            data: DataSettings::default(),
            init: None,
            loading: LoadSettings::default(),
            model: ModelSettings::default(),
            mask: MaskSettings::default(),
            training: OptimisationSettings::default(),
            run: RunSettings::default(),
            tokenizer: None,
            new_tokenizer: false,
            // Made in seconds, and it cannot fail to learn: the time goes into the transformer (docs/results/recipes.md).
            tokenizer_kind: TokenizerKind::KMeans,
            tokenizer_steps: None,
            accept_tokenizer: false,
            measure: MeasureSettings::default(),
            crop: CropSettings::default(),
            colour_jitter: None,
            average: AverageSettings::default(),
            guard: GuardSettings::default(),
        }
    }
}

impl PretrainSettings {
    /// Refuses numbers that no run can have.
    fn check(&self) -> Result<()> {
        self.training.check()?;
        self.crop.check()?;
        self.average.check()?;
        self.guard.check()?;
        let jitter = self.colour_jitter.unwrap_or(0.0);
        if jitter != 0.0 && self.data.bands().is_some() {
            setting!(
                "--colour-jitter {jitter}: expected pictures in RGB of 8 bits, not --channels; leave it out"
            );
        }
        within("--colour-jitter", "a jitter", jitter, 0.0..=10.0)
    }

    /// How pictures become pixels. A run that goes on has written that down.
    fn preprocessing(&self, vit: &Config, start: Option<&Start>) -> Result<Preprocessing> {
        match (start, self.newest()) {
            (Some(start), _) => start.preprocessing(vit, self),
            (None, Some(own)) if self.init.is_some() => load::preprocessing(&Checkpoint::open(own)?, vit),
            _ => Ok(self.model.preprocessing(vit, self.data.bands())),
        }
    }
}

/// A run of masked image modelling of which everything is checked that can be without a device.
pub struct Pretraining {
    settings: PretrainSettings,
    config: MimConfig,
    /// The model that it goes on with; none where values are random, or the run's own.
    start: Option<Start>,
    codebook: Codebook,
    /// The tokenizer that is trained first; none where one was given.
    tokenizer: Option<TokenizerPlan>,
    preprocessing: Preprocessing,
    masker: Masker,
    hyper: Hyper,
    source: Arc<dyn Source>,
    watch: Watch,
}

/// A model that was pre-trained.
#[derive(Clone, Debug, Serialize)]
pub struct Pretrained {
    /// The folder of the run.
    pub run: PathBuf,
    /// The last checkpoint in it.
    pub checkpoint: PathBuf,
    /// How it names the tokens of masked patches of images that were held out.
    #[serde(flatten)]
    pub tokens: TokenAccuracy,
    /// Which images these are.
    #[serde(skip)]
    pub split: String,
    /// The folder of the pictures.
    #[serde(skip)]
    pub pictures: PathBuf,
}

/// What a run will take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedRun {
    /// Optimiser steps.
    pub steps: u64,
    /// Floating-point operations of a step of all processes, without the tokenizer's.
    pub flops_per_step: u64,
    /// The most bytes that are alive at once, in one process.
    pub peak_bytes: usize,
}

impl Pretraining {
    /// Checks the settings and opens the data.
    ///
    /// # Errors
    ///
    /// Settings that do not fit together, data or a tokenizer that is not there.
    pub fn new(mut settings: PretrainSettings, watch: &Watch) -> Result<Self> {
        let (vit, init) = settings.start(watch)?;
        let usual = Size::of(&vit).unwrap_or(settings.model.preset).usual_pretraining();
        settings.training.settle(usual.batch_size, usual.epochs);
        let jitter = if settings.data.bands().is_some() { 0.0 } else { usual.colour_jitter };
        settings.colour_jitter.get_or_insert(jitter);
        settings.run.folder.settle();
        let masker = settings.mask.masker(vit.grid())?;
        settings.check()?;
        settings.training.check_frozen(vit.depth, settings.init.as_deref())?;
        let source = settings.data.open(Split::Train)?;
        watch.notes_of(source.as_ref());
        if settings.init.is_none() {
            settings.model.settle_statistics(&settings.data, source.as_ref(), watch)?;
        }
        let (codebook, tokenizer) = match &settings.tokenizer {
            Some(name) => (load::codebook_for(name, vit.channels, watch)?, None),
            None => {
                let PretrainSettings { tokenizer_kind, tokenizer_steps, training, .. } = &settings;
                let plan = TokenizerPlan::for_vit(*tokenizer_kind, &vit, *tokenizer_steps, training.seed)?;
                (plan.codebook(), Some(plan))
            }
        };
        let start = match (init, &settings.init) {
            (Some(init), Some(name)) => Some(Start::new(init, name, settings.tokenizer.as_deref(), watch)?),
            _ => None,
        };
        let preprocessing = settings.preprocessing(&vit, start.as_ref())?;
        let config = MimConfig { vit, vocab: codebook.vocab };
        let loading = Loading::for_training(&settings.training, &settings.data, 1, watch);
        let hyper = settings.training.hyper(
            loading.training(source.len()).batches(source.len())?,
            usual.lr,
            Decay::Cosine,
        )?;
        if settings.init.is_none() {
            advise(&settings.model, source.as_ref(), watch);
        }
        let watch = watch.clone();
        Ok(Self { settings, config, start, codebook, tokenizer, preprocessing, masker, hyper, source, watch })
    }

    /// One sentence about model, data and length, for a person.
    #[must_use]
    pub fn describe(&self) -> String {
        let Self { settings, config, source, .. } = self;
        let parameters = self.parameters();
        let (vit, [rows, cols]) = (&config.vit, config.vit.grid());
        let model = match &settings.init {
            Some(init) => init.display().to_string(),
            None => format!("{:?}", settings.model.preset),
        };
        format!(
            "{} images from {}; {model}: {:.2} M parameters, {}x{} px in {rows}x{cols} patches; {} steps of {} images",
            source.len(),
            settings.data.data,
            parameters as f64 / 1e6,
            vit.image[0],
            vit.image[1],
            self.hyper.schedule.total,
            settings.training.step_size(),
        )
    }

    /// What the run will take of each of so many processes on a device of this footprint: one step without numbers. Also refuses what [`run`](Self::run) would
    /// refuse of the folder.
    ///
    /// # Errors
    ///
    /// A folder that is in use.
    pub fn plan(&self, footprint: Footprint, ranks: usize) -> Result<PlannedRun> {
        Run::check(&self.settings.run)?;
        let Planned { flops, bytes } = self.planned(footprint, ranks);
        Ok(PlannedRun {
            steps: self.hyper.schedule.total,
            flops_per_step: flops.saturating_mul(self.settings.training.update_freq()),
            peak_bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
        })
    }

    /// How long it would take with one process, two, four, … up to `ranks` on the machines of a cluster. Where no rate of one process is
    /// given, that of this device is measured, without the tokenizer and the data.
    ///
    /// # Errors
    ///
    /// A cluster that cannot be, memory that this machine does not have, or the device.
    pub fn predict(
        &self,
        ranks: usize,
        cluster: &ClusterSettings,
        device: impl FnOnce() -> Result<Device>,
    ) -> Result<Vec<Predicted>> {
        cluster.check(ranks)?;
        let rate = match cluster.rate {
            Some(rate) => rate,
            None => {
                let device = device()?;
                self.refuse_beyond(&device)?;
                device.run(rate::Rate(self))?
            }
        };
        let training = &self.settings.training;
        let step = Step {
            images: training.step_size(),
            micro_batches: training.update_freq(),
            parameters: self.parameters() as u64,
            sharded: training.shard_optimiser,
            steps: self.hyper.schedule.total,
            rate,
        };
        Ok(step.predict(ranks as u64, cluster))
    }

    fn parameters(&self) -> usize {
        Mim::shapes(&self.config).leaves().iter().map(|shape| shape.elements()).sum()
    }

    /// One micro-batch of one of so many processes, without numbers.
    fn planned(&self, footprint: Footprint, ranks: usize) -> Planned {
        let Self { settings, config, .. } = self;
        let vit = &config.vit;
        memory::plan(footprint, settings.training.batch_size(), |ops, batch| {
            let params = Mim::shapes(config).map(&mut |shape| ops.zeros(*shape));
            let mut kept: Vec<_> = (0..settings.training.kept(settings.average.decay(), ranks))
                .map(|_| params.clone())
                .collect();
            let masked = self.masker.config().target * batch;
            let images = ops.zeros(vit.images(batch));
            let mask = ops.zeros([batch, vit.patches()]);
            let rows = ops.upload_ids(&vec![1; masked]);
            let input = beit_vit::Input { images: &images, mask: Some(&mask), drop_path: None };
            let (logits, saved) = params.forward(ops, &input, &rows, settings.training.keep());
            params.backward(ops, &input, &logits, saved, &mut kept[0]);
        })
    }

    /// Refuses what the machine has no memory for.
    fn refuse_beyond(&self, device: &Device) -> Result<()> {
        let (vit, batch) = (&self.config.vit, self.settings.training.batch_size());
        let what = format!("a step of {batch} images of {}x{}", vit.image[0], vit.image[1]);
        let lower = "--batch-size, --image-size or --preset, or take --recompute";
        let planned = self.planned(device.footprint(), device.team().shard().of);
        memory::refuse_beyond(device, &what, memory::least_of_vit(vit, batch), lower)?;
        memory::refuse_beyond(device, &what, planned.bytes, lower)
    }

    /// Trains, or goes on, to the end: a tokenizer first where none is given, then the model; measures it on images that were held
    /// out, and draws what it makes of masked ones.
    ///
    /// # Errors
    ///
    /// The data, the folder, the device, or a number that is not finite.
    pub fn run(&self, device: &Device) -> Result<Pretrained> {
        self.refuse_beyond(device)?;
        device.run(job::Job(self))
    }

    /// The files and folders that it reads.
    fn inputs(&self) -> Vec<&Path> {
        let data = self.settings.data.paths();
        let PretrainSettings { tokenizer, init, .. } = &self.settings;
        tokenizer.as_deref().into_iter().chain(init.as_deref()).chain(data).collect()
    }

    /// Height and width of what the tokenizer sees.
    fn token_size(&self) -> [usize; 2] {
        self.codebook.image(self.config.vit.grid())
    }

    /// Images augmented and masked, to train on or to be measured on.
    fn loader(
        &self,
        source: &Arc<dyn Source>,
        loading: &Loading,
        train: bool,
    ) -> Result<Loader<PretrainSample>> {
        let jitter = ColourJitter::even(self.settings.colour_jitter.unwrap_or(0.0));
        let usual = self.preprocessing.pretrain(self.token_size(), jitter);
        let transform = PretrainTransform { crop: self.settings.crop.or(usual.crop), ..usual };
        let config = if train { loading.training(source.len()) } else { loading.evaluation() };
        loading.pretrain(source, config, transform, self.masker)
    }
}
