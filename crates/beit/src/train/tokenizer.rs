//! Training a tokenizer.

use super::tokenizer_kinds::{Job, Plan, dvae_recipe, kmeans_recipe};
use super::{Journal, tokenizer_state};
use crate::device::{Device, Work};
use crate::error::{Result, setting};
use crate::files;
use crate::loaders::Loading;
use crate::memory;
use crate::progress::Watch;
use crate::report;
use crate::run::{Recorded, Run, training_stamp};
use crate::settings::number::{RATE, within};
use crate::settings::{Batches, DataSettings, MeasureSettings, RunSettings, Sides, TokenizerKind};
use crate::tokenizer::Tokenizer;
use beit_data::{Channels, Source, Split};
use beit_ops::Ops;
use beit_tokenizer::{Config, KMeansConfig};
use beit_train::{PixelQuality, Record, Sink, TokenizerQuality};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// Beside so great a weight nothing else counts.
const MOST_WEIGHT: f64 = 1000.0;

/// Which tokenizer is trained, on what, and how.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default)]
pub struct TokenizerSettings {
    /// The images.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub data: DataSettings,
    /// How it names visual tokens
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t))]
    pub kind: TokenizerKind,
    /// Image side in pixels, or HEIGHTxWIDTH
    #[cfg_attr(feature = "clap", arg(long, default_value = "28"))]
    pub image_size: Sides,
    /// Visual tokens
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::small().vocab))]
    pub vocab: usize,
    /// Width at full resolution; 32 where not given (dvae)
    #[cfg_attr(feature = "clap", arg(long))]
    pub hidden: Option<usize>,
    /// Groups of blocks; the sides are halved between two of them; 3 where not given (dvae)
    #[cfg_attr(feature = "clap", arg(long))]
    pub groups: Option<usize>,
    /// Blocks of a group; 1 where not given (dvae)
    #[cfg_attr(feature = "clap", arg(long))]
    pub blocks_per_group: Option<usize>,
    /// DALL-E's architecture and recipe: 8192 tokens of 8x8 pixels, width 256. Not for a CPU (dvae)
    #[cfg_attr(feature = "clap", arg(long, conflicts_with_all = ["vocab", "hidden", "groups", "blocks_per_group"]))]
    pub dalle: bool,
    /// Side of a token in pixels, or HEIGHTxWIDTH; 4 where not given (kmeans)
    #[cfg_attr(feature = "clap", arg(long))]
    pub token_size: Option<Sides>,
    /// How much the brightness of a patch counts beside its structure; 1, plain pixels, where not given (kmeans)
    #[cfg_attr(feature = "clap", arg(long))]
    pub mean_weight: Option<f32>,
    /// Optimiser steps, or rounds of k-means; the recipe's where not given
    #[cfg_attr(feature = "clap", arg(long))]
    pub steps: Option<u64>,
    /// Images of a step.
    #[cfg_attr(feature = "clap", command(flatten))]
    #[serde(flatten)]
    pub batches: Batches,
    /// Micro-batches that a step's images are shared by, over all processes; as many as there are processes where not given (dvae)
    #[cfg_attr(feature = "clap", arg(long))]
    pub update_freq: Option<u64>,
    /// Peak learning rate; the recipe's where not given (dvae)
    #[cfg_attr(feature = "clap", arg(long))]
    pub lr: Option<f64>,
    /// Weight of the divergence of the mean posterior from uniform; the recipe's where not given (dvae)
    #[cfg_attr(feature = "clap", arg(long))]
    pub usage_weight: Option<f64>,
    /// What is measured.
    #[cfg_attr(feature = "clap", command(flatten))]
    #[serde(flatten)]
    pub measure: MeasureSettings,
    /// Seed of everything random
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 0, value_parser = crate::settings::seeds()))]
    pub seed: u64,
    /// The folder of the run.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub run: RunSettings,
}

impl Default for TokenizerSettings {
    fn default() -> Self {
        Self {
            data: DataSettings::default(),
            kind: TokenizerKind::default(),
            image_size: Sides([28; 2]),
            vocab: Config::small().vocab,
            hidden: None,
            groups: None,
            blocks_per_group: None,
            dalle: false,
            token_size: None,
            mean_weight: None,
            steps: None,
            batches: Batches::default(),
            update_freq: None,
            lr: None,
            usage_weight: None,
            measure: MeasureSettings::default(),
            seed: 0,
            run: RunSettings::default(),
        }
    }
}

impl TokenizerSettings {
    /// A flag that is of no effect is a mistake of who gave it.
    fn refuse_flags_of_the_other_kind(&self) -> Result<()> {
        let given = match self.kind {
            TokenizerKind::Dvae => {
                vec![("token-size", self.token_size.is_some()), ("mean-weight", self.mean_weight.is_some())]
            }
            TokenizerKind::KMeans | TokenizerKind::Random => vec![
                ("hidden", self.hidden.is_some()),
                ("groups", self.groups.is_some()),
                ("blocks-per-group", self.blocks_per_group.is_some()),
                ("dalle", self.dalle),
                ("batch-size", self.batches.batch_size.is_some()),
                ("update-freq", self.update_freq.is_some_and(|parts| parts > 1)),
                ("lr", self.lr.is_some()),
                ("usage-weight", self.usage_weight.is_some()),
            ],
        };
        match given.iter().find(|(_, given)| *given) {
            Some((flag, _)) => setting!("--{flag} says nothing of a tokenizer of --kind {}", self.kind),
            None => Ok(()),
        }
    }

    /// Micro-batches of a step, over all processes.
    fn update_freq(&self) -> u64 {
        self.update_freq.unwrap_or(1)
    }

    /// Refuses numbers that no recipe can have.
    fn check(&self) -> Result<()> {
        if self.run.keep != RunSettings::default().keep {
            setting!("--keep says nothing of a tokenizer in training: of that only the newest state is kept");
        }
        if self.update_freq == Some(0) {
            setting!("--update-freq 0: expected at least 1");
        }
        self.data.check()?;
        if self.dalle && self.channels() != Config::dalle().channels {
            setting!(
                "--dalle: DALL-E's tokenizer sees pictures of 3 channels, found --channels {}; leave --dalle out",
                self.channels()
            );
        }
        self.lr.map_or(Ok(()), |rate| within("--lr", "a learning rate", rate, RATE))?;
        let most = 0.0..=MOST_WEIGHT;
        let weight = |weight| within("--usage-weight", "a weight", weight, most.clone());
        self.usage_weight.map_or(Ok(()), weight)?;
        let weight = |weight| within("--mean-weight", "a weight of the mean", weight, most.clone());
        self.mean_weight.map_or(Ok(()), weight)
    }

    /// Those of the pictures.
    fn channels(&self) -> usize {
        Channels::of_pictures(self.data.bands()).count()
    }

    fn dvae(&self) -> Result<Plan> {
        let small = Config::small();
        let config = match self.dalle {
            true => Config::dalle(),
            false => Config {
                channels: self.channels(),
                vocab: self.vocab,
                hidden: self.hidden.unwrap_or(small.hidden),
                groups: self.groups.unwrap_or(small.groups),
                blocks_per_group: self.blocks_per_group.unwrap_or(small.blocks_per_group),
                ..small
            },
        };
        config.validate()?;
        let mut recipe = dvae_recipe(&config, self.steps, self.lr, self.usage_weight)?;
        recipe.batch = self.batches.or(recipe.batch);
        Ok(Plan::Dvae { config, recipe })
    }

    fn patches(&self) -> Result<KMeansConfig> {
        let Sides(sides) = self.token_size.unwrap_or(Sides([Config::small().downsampling(); 2]));
        let usual = KMeansConfig::new(sides);
        let mean_weight = self.mean_weight.unwrap_or(usual.mean_weight);
        let config = KMeansConfig { channels: self.channels(), vocab: self.vocab, mean_weight, ..usual };
        config.validate()?;
        Ok(config)
    }
}

/// A tokenizer to be trained, whose settings are checked.
#[derive(Clone, Debug)]
pub struct TokenizerTraining {
    settings: TokenizerSettings,
    plan: Plan,
}

/// A tokenizer that was trained.
#[derive(Clone, Debug, Serialize)]
pub struct TrainedTokenizer {
    /// Its folder.
    pub tokenizer: PathBuf,
    /// What it does to images that were held out.
    pub quality: TokenizerQuality,
    /// Which images these are.
    #[serde(skip)]
    pub split: String,
}

impl TokenizerTraining {
    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// Settings that describe no tokenizer.
    pub fn new(mut settings: TokenizerSettings) -> Result<Self> {
        settings.run.folder.settle();
        settings.refuse_flags_of_the_other_kind()?;
        settings.check()?;
        let plan = match settings.kind {
            TokenizerKind::Dvae => settings.dvae()?,
            TokenizerKind::KMeans => {
                let recipe = kmeans_recipe(settings.steps, settings.seed)?;
                Plan::KMeans { config: settings.patches()?, recipe }
            }
            TokenizerKind::Random => Plan::random(settings.patches()?, settings.steps, settings.seed)?,
        };
        plan.codebook().grid(settings.image_size.0)?;
        if let Plan::Dvae { recipe, .. } = plan {
            settings.batches = recipe.batch.into();
        }
        Ok(Self { settings, plan })
    }

    /// Trains it in a run folder, measures it on images that were held out, and draws what it sees.
    ///
    /// # Errors
    ///
    /// The data, the folder, the device, or a number that is not finite.
    pub fn run(&self, device: &Device, watch: &Watch) -> Result<TrainedTokenizer> {
        let Self { settings, plan } = self;
        let (Sides(size), hidden) = (settings.image_size, plan.hidden());
        memory::refuse_views(device, plan.codebook(), hidden, size, settings.batches.or(Batches::LARGE))?;
        let source = settings.data.open(Split::Train)?;
        watch.notes_of_training(source.as_ref(), &settings.data);
        watch.note(&format!("{} images from {}", source.len(), settings.data.data));
        let stamp = training_stamp(source.as_ref(), settings.data.shuffle.into());
        let recorded = Recorded::new(settings, device).with("data", stamp);
        let inputs = settings.data.paths();
        let team = device.team();
        let mut run = Run::of_team(team, &settings.run, "tokenizer", &inputs, &recorded, watch)?;
        let folder = run.tokenizer();
        let untrained = team.any(!run.has_tokenizer())?;
        // Of a tokenizer that is there only what was measured of it is taken out.
        let (phase, step) = match untrained {
            true => ("tokenizer", tokenizer_state::steps(&run, plan)?),
            false => ("tokenizer_quality", 0),
        };
        let mut journal = Journal::open(&mut run, watch, team, phase, step)?;
        let job =
            Job { plan, size, seed: settings.seed, accumulate: settings.update_freq(), run: &settings.run };
        let loading = Loading::new(Batches::LARGE, settings.seed, &settings.data, device, watch);
        let journal = &mut journal;
        let tokenizer = match untrained {
            true => device.run(Train { job: &job, source: &source, loading: &loading, journal })?,
            false => Tokenizer::open_with(&folder, device, watch)?,
        };
        journal.run.commit()?;

        let (held_out, split) = settings.measure.held_out(&settings.data)?;
        watch.notes_of(held_out.as_ref());
        let quality = tokenizer.quality(size, &held_out, &loading)?;
        if team.leads() {
            let pictures = journal.run.pictures();
            files::make_folder(&pictures)?;
            tokenizer.write_reconstructions(size, &held_out, &pictures.join("tokenizer.png"), watch)?;
        }
        if let Some(fault) = quality.fault() {
            watch.note(&format!("{fault}: pretrain will refuse this tokenizer for such images; {REMEDIES}"));
        }
        let split = split.to_string();
        journal.metrics.record(&Record::Tokenizer { split: &split, quality: &quality })?;
        report::draw(journal.run, watch);
        Ok(TrainedTokenizer { tokenizer: folder, quality, split })
    }
}

impl Tokenizer {
    /// Usage of the codebook and error of reconstruction on every image that was held out, resized to these sides. Where `picture`
    /// is given, eight of them are drawn over their reconstructions.
    ///
    /// # Errors
    ///
    /// No decoder, sides that do not fit, the data, or the device.
    pub fn inspect(
        &self,
        data: &DataSettings,
        sides: impl Into<Sides>,
        picture: Option<&Path>,
        device: &Device,
        watch: &Watch,
    ) -> Result<(TokenizerQuality, Split)> {
        let Sides(size) = sides.into();
        let data = &self.seen(data)?;
        let (source, split) = data.held_out()?;
        watch.notes_of(source.as_ref());
        let loading = Loading::new(Batches::LARGE, 0, data, device, watch);
        let quality = self.quality(size, &source, &loading)?;
        if let Some(path) = picture {
            self.write_reconstructions(size, &source, path, watch)?;
        }
        Ok((quality, split))
    }
}

struct Train<'a, 'j> {
    job: &'a Job<'a>,
    source: &'a Arc<dyn Source>,
    loading: &'a Loading,
    journal: &'a mut Journal<'j>,
}

impl Work for Train<'_, '_> {
    type Output = Tokenizer;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, device: &Device) -> Result<Tokenizer> {
        let Self { job, source, loading, journal } = self;
        let params = job.train(&**ops, device, (source, loading), journal)?;
        Ok(Tokenizer::on(ops, &Rc::new(params), device))
    }
}

/// What may help where tokens are of no use.
pub(super) const REMEDIES: &str =
    "try more --tokenizer-steps, another --tokenizer-kind or patches of another size, and look at the images";

/// One line for a person.
#[must_use]
pub fn sentence(quality: &TokenizerQuality) -> String {
    format!(
        "{} of {} tokens used, perplexity {:.1}, commonest token {:.3}, commonest at its position {:.3}{}",
        quality.usage.used(),
        quality.usage.counts().len(),
        quality.usage.perplexity(),
        quality.usage.majority(),
        quality.position_majority,
        quality.pixels.as_ref().map(drawn).unwrap_or_default(),
    )
}

fn drawn(pixels: &PixelQuality) -> String {
    format!(
        "; pictures of the tokens explain {:.3} of the pixels' variance, the position alone {:.3}, mean absolute error {:.4}",
        pixels.explained_variance, pixels.explained_by_position, pixels.mean_absolute_error,
    )
}
