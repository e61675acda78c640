//! Masked image modelling.

mod course;
mod features;
mod glances;
mod goal;
mod job;
mod pixels;
mod rate;
mod recovered;
mod settings;
mod snapshots;
mod start;
mod tokens;

pub use recovered::Recovered;
pub use settings::PretrainSettings;

use super::PlannedRun;
use super::advice::advise;
use super::best::BestCheckpoint;
use super::rate::images_to_measure;
use super::tokenizer_kinds::Plan as TokenizerPlan;
use crate::device::Device;
use crate::error::Result;
use crate::load;
use crate::loaders::Loading;
use crate::memory::{self, Planned};
use crate::probe::Few;
use crate::progress::Watch;
use crate::ranks::Predicted;
use crate::ranks::cluster::Step;
use crate::run::Run;
use crate::settings::{ClusterSettings, OptimisationSettings, Size, TargetKind};
use crate::survey::Survey;
use beit_data::{ColourJitter, Loader, Preprocessing, PretrainSample, PretrainTransform, Source, Split};
use beit_heads::{Mim, MimConfig, patch_values};
use beit_mask::Masker;
use beit_ops::prelude::*;
use beit_ops::{Footprint, Tree};
use beit_tokenizer::Codebook;
use beit_train::{Decay, Hyper};
use serde::Serialize;
use start::Start;
use std::path::PathBuf;
use std::sync::Arc;

/// Images augmented and masked.
type Samples = Loader<PretrainSample>;

/// A run of masked image modelling of which everything is checked that can be without a device.
pub struct Pretraining {
    settings: PretrainSettings,
    /// The transformer and the width of the head on it, whatever that predicts.
    config: MimConfig,
    /// The model that it goes on with; none where values are random, or the run's own.
    start: Option<Start>,
    /// The visual tokens that are named; none where pixels are predicted.
    codebook: Option<Codebook>,
    /// The tokenizer that is trained first; none where one was given.
    tokenizer: Option<TokenizerPlan>,
    preprocessing: Preprocessing,
    masker: Masker,
    hyper: Hyper,
    source: Arc<dyn Source>,
    /// By which features are judged, where that is asked for.
    few: Option<Few>,
    watch: Watch,
}

/// A model that was pre-trained.
#[derive(Clone, Debug, Serialize)]
pub struct Pretrained {
    /// The folder of the run.
    pub run: PathBuf,
    /// The last checkpoint in it.
    pub checkpoint: PathBuf,
    /// The best, where that is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<BestCheckpoint>,
    /// How it recovers masked patches of images that were held out.
    #[serde(flatten)]
    pub recovered: Recovered,
    /// Which images these are.
    #[serde(skip)]
    pub split: String,
    /// The folder of the pictures.
    #[serde(skip)]
    pub pictures: PathBuf,
}

impl Pretrained {
    /// How it recovers masked patches, in lines for a person.
    #[must_use]
    pub fn sentence(&self) -> String {
        self.recovered.sentence(&self.split)
    }
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
        settings.training.divide(1)?;
        settings.training.settle(usual.batch_size, usual.epochs);
        let jitter = if settings.data.bands().is_some() { 0.0 } else { usual.colour_jitter };
        settings.colour_jitter.get_or_insert(jitter);
        settings.run.folder.settle();
        let masker = settings.mask.masker(vit.grid())?;
        settings.check()?;
        settings.training.check_frozen(vit.depth, settings.init.as_deref())?;
        let source = settings.data.open(Split::Train)?;
        watch.notes_of_training(source.as_ref(), &settings.data);
        let few = settings.few(&source, watch)?;
        if settings.init.is_none() {
            settings.model.settle_statistics(&settings.data, source.as_ref(), watch)?;
        }
        let (codebook, tokenizer) = tokens(&settings, &vit, watch)?;
        let start = match (init, &settings.init) {
            (Some(init), Some(_)) if codebook.is_none() => Some(Start::towards_pixels(init)),
            (Some(init), Some(name)) => Some(Start::new(init, name, settings.tokenizer.as_deref(), watch)?),
            _ => None,
        };
        let preprocessing = settings.preprocessing(&vit, start.as_ref())?;
        let config = MimConfig { vocab: width_of_head(codebook, &vit), vit };
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
        Ok(Self {
            settings,
            config,
            start,
            codebook,
            tokenizer,
            preprocessing,
            masker,
            hyper,
            source,
            few,
            watch,
        })
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
            images_per_step: self.settings.training.step_size(),
            parameters: self.parameters(),
            flops_per_step: flops.saturating_mul(self.settings.training.update_freq()),
            peak_bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            images_per_second: None,
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
            None => self.rate(&device()?)?,
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

    /// Images a second of one process on this device, measured with a few of them, without the tokenizer, the optimiser and the data.
    ///
    /// # Errors
    ///
    /// Memory that this machine does not have, or the device.
    pub fn rate(&self, device: &Device) -> Result<f64> {
        let images =
            images_to_measure(self.planned(device.footprint(), 1), self.settings.training.batch_size());
        let mut few = self.settings.training.clone();
        few.batches = images.into();
        let planned = planned(&self.config, self.predicted(), &few, device.footprint(), 1);
        let what = format!("measuring with {images} images");
        memory::refuse_beyond(device, &what, planned.bytes, "--image-size or --preset, or give --rate")?;
        device.run(rate::Rate { job: self, images })
    }

    /// Steps of the run.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.hyper.schedule.total
    }

    /// What speaks against the run on this device: memory that there is not.
    ///
    /// # Errors
    ///
    /// The sentence that [`run`](Self::run) would fail with.
    pub fn fits(&self, device: &Device) -> Result<()> {
        self.refuse_beyond(device)
    }

    /// A look at so many of the training images.
    #[must_use]
    pub fn survey(&self, images: usize) -> Survey {
        Survey::of(self.source.as_ref(), images)
    }

    fn parameters(&self) -> usize {
        parameters(&self.config)
    }

    /// One micro-batch of one of so many processes, without numbers.
    fn planned(&self, footprint: Footprint, ranks: usize) -> Planned {
        let copies = self.settings.training.kept(self.settings.average.decay(), ranks);
        planned(&self.config, self.predicted(), &self.settings.training, footprint, copies)
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
    fn inputs(&self) -> Vec<PathBuf> {
        let PretrainSettings { tokenizer, init, data, .. } = &self.settings;
        tokenizer.iter().chain(init).cloned().chain(data.paths()).collect()
    }

    /// Patches of an image that are predicted.
    fn predicted(&self) -> usize {
        self.settings.predicted(&self.config.vit, &self.masker)
    }

    /// Height and width of what the tokenizer sees: a pixel a patch where there is none.
    fn token_size(&self) -> [usize; 2] {
        let grid = self.config.vit.grid();
        self.codebook.map_or(grid, |codebook| codebook.image(grid))
    }

    /// Images augmented and masked, to train on or to be measured on.
    fn loader(&self, source: &Arc<dyn Source>, loading: &Loading, train: bool) -> Result<Samples> {
        let jitter = ColourJitter::even(self.settings.colour_jitter.unwrap_or(0.0));
        let usual = self.preprocessing.pretrain(self.token_size(), jitter);
        let transform = PretrainTransform { crop: self.settings.crop.or(usual.crop), ..usual };
        let config = if train { loading.training(source.len()) } else { loading.evaluation() };
        loading.pretrain(source, config, transform, self.masker)
    }
}

/// Numbers that are trained.
pub(crate) fn parameters(config: &MimConfig) -> usize {
    Mim::shapes(config).leaves().iter().map(|shape| shape.elements()).sum()
}

/// Numbers that are predicted of a patch: a score of each visual token, or pixels.
pub(crate) fn outputs(settings: &PretrainSettings, vit: &beit_vit::Config, watch: &Watch) -> Result<usize> {
    Ok(width_of_head(tokens(settings, vit, watch)?.0, vit))
}

fn width_of_head(codebook: Option<Codebook>, vit: &beit_vit::Config) -> usize {
    codebook.map_or_else(|| patch_values(vit), |codebook| codebook.vocab)
}

/// The visual tokens that are named, and the tokenizer that is trained first where none is given.
fn tokens(
    settings: &PretrainSettings,
    vit: &beit_vit::Config,
    watch: &Watch,
) -> Result<(Option<Codebook>, Option<TokenizerPlan>)> {
    let PretrainSettings { tokenizer, tokenizer_kind, tokenizer_steps, training, objective, .. } = settings;
    match tokenizer {
        _ if objective.predict == TargetKind::Pixels => Ok((None, None)),
        Some(name) => Ok((Some(load::codebook_for(name, vit.channels, watch)?), None)),
        None => {
            let plan = TokenizerPlan::for_vit(*tokenizer_kind, vit, *tokenizer_steps, training.seed)?;
            Ok((Some(plan.codebook()), Some(plan)))
        }
    }
}

/// A micro-batch, without numbers, where so many patches of an image are predicted and so many copies of the parameters are kept
/// besides them.
pub(crate) fn planned(
    config: &MimConfig,
    predicted: usize,
    training: &OptimisationSettings,
    footprint: Footprint,
    copies: usize,
) -> Planned {
    let vit = &config.vit;
    memory::plan(footprint, training.batch_size(), |ops, batch| {
        let params = Mim::shapes(config).map(&mut |shape| ops.zeros(*shape));
        let mut kept: Vec<_> = (0..copies).map(|_| params.clone()).collect();
        let images = ops.zeros(vit.images(batch));
        let mask = ops.zeros([batch, vit.patches()]);
        let rows = ops.upload_ids(&vec![1; predicted * batch]);
        let input = beit_vit::Input { images: &images, mask: Some(&mask), drop_path: None };
        let (logits, saved) = params.forward(ops, &input, &rows, training.keep());
        params.backward(ops, &input, &logits, saved, &mut kept[0]);
    })
}
