//! Training a tokenizer.

use super::{Journal, Recorded};
use crate::device::{Device, Work};
use crate::error::{Result, setting};
use crate::load::AnyTokenizer;
use crate::loaders::Loading;
use crate::progress::Watch;
use crate::run::Run;
use crate::settings::{Batches, DataSettings, FolderSettings, Sides};
use crate::tokenizer::{Tokenizer, transform};
use beit_data::{Loader, Source, Split};
use beit_ops::Ops;
use beit_tokenizer::{Config, Recipe};
use beit_train::{PixelQuality, Record, Sink, Tokenization, TokenizerQuality, Trainer, tokenizer_divergence};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

/// Which tokenizer is trained, on what, and how.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct TokenizerSettings {
    /// The images.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub data: DataSettings,
    /// Image side in pixels, or HEIGHTxWIDTH
    #[cfg_attr(feature = "clap", arg(long, default_value = "28"))]
    pub image_size: Sides,
    /// Visual tokens
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::small().vocab))]
    pub vocab: usize,
    /// Width at full resolution
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::small().hidden))]
    pub hidden: usize,
    /// Groups of blocks; the sides are halved between two of them
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::small().groups))]
    pub groups: usize,
    /// Blocks of a group
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Config::small().blocks_per_group))]
    pub blocks_per_group: usize,
    /// DALL-E's architecture and recipe: 8192 tokens of 8x8 pixels, width 256. Not for a CPU
    #[cfg_attr(feature = "clap", arg(long, conflicts_with_all = ["vocab", "hidden", "groups", "blocks_per_group"]))]
    pub dalle: bool,
    /// Optimiser steps; the recipe's where not given
    #[cfg_attr(feature = "clap", arg(long))]
    pub steps: Option<u64>,
    /// Images of a step.
    #[cfg_attr(feature = "clap", command(flatten))]
    #[serde(flatten)]
    pub batches: Batches,
    /// Peak learning rate; the recipe's where not given
    #[cfg_attr(feature = "clap", arg(long))]
    pub lr: Option<f64>,
    /// Weight of the divergence of the mean posterior from uniform; the recipe's where not given
    #[cfg_attr(feature = "clap", arg(long))]
    pub usage_weight: Option<f64>,
    /// Seed of everything random
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 0, value_parser = crate::settings::seeds()))]
    pub seed: u64,
    /// The folder of the run.
    #[cfg_attr(feature = "clap", command(flatten))]
    #[serde(flatten)]
    pub folder: FolderSettings,
}

impl Default for TokenizerSettings {
    fn default() -> Self {
        let Config { vocab, hidden, groups, blocks_per_group, .. } = Config::small();
        Self {
            data: DataSettings::default(),
            image_size: Sides([28; 2]),
            vocab,
            hidden,
            groups,
            blocks_per_group,
            dalle: false,
            steps: None,
            batches: Batches::default(),
            lr: None,
            usage_weight: None,
            seed: 0,
            folder: FolderSettings::default(),
        }
    }
}

/// A tokenizer to be trained, whose settings are checked.
#[derive(Clone, Debug)]
pub struct TokenizerTraining {
    settings: TokenizerSettings,
    config: Config,
    recipe: Recipe,
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
        settings.folder.settle();
        let config = if settings.dalle {
            Config::dalle()
        } else {
            let TokenizerSettings { vocab, hidden, groups, blocks_per_group, .. } = settings;
            Config { vocab, hidden, groups, blocks_per_group, ..Config::small() }
        };
        config.validate()?;
        config.grid(settings.image_size.0)?;
        let mut recipe = recipe(&config, settings.steps, settings.lr, settings.usage_weight)?;
        recipe.batch = settings.batches.or(recipe.batch);
        settings.batches = recipe.batch.into();
        Ok(Self { settings, config, recipe })
    }

    /// Trains it in a run folder, measures it on images that were held out, and draws what it sees.
    ///
    /// # Errors
    ///
    /// The data, the folder, the device, or a number that is not finite.
    pub fn run(&self, device: &Device, watch: &Watch) -> Result<TrainedTokenizer> {
        let Self { settings, config, recipe } = self;
        let source = settings.data.open(Split::Train)?;
        let run = Run::begin(&settings.folder, "tokenizer", &Recorded::new(settings, device))?;
        watch.note(&format!(
            "{} images from {}; run folder: {}",
            source.len(),
            settings.data.data,
            run.dir.display()
        ));
        let mut journal = Journal::open(&run, watch)?;
        let (Sides(size), folder) = (settings.image_size, run.path("tokenizer"));
        let report_every = settings.folder.report_every();
        let job = Job { config, recipe, size, seed: settings.seed, report_every };
        let loading = Loading::new(Batches::LARGE, settings.seed, &settings.data, device, watch);
        let tokenizer = device.run(Train {
            job: &job,
            source: &source,
            loading: &loading,
            journal: &mut journal,
            folder: &folder,
        })?;

        let (held_out, split) = settings.data.held_out()?;
        let quality = tokenizer.quality(size, &held_out, &loading)?;
        tokenizer.write_reconstructions(size, &held_out, &run.pictures()?.join("tokenizer.png"), watch)?;
        if let Some(fault) = quality.fault() {
            watch.note(&format!("{fault}: pretrain will refuse this tokenizer for such images; {REMEDIES}"));
        }
        let split = split.to_string();
        journal.metrics.record(&Record::Tokenizer { split: &split, quality: &quality })?;
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
        let (source, split) = data.held_out()?;
        let loading = Loading::new(Batches::LARGE, 0, data, device, watch);
        let quality = self.quality(size, &source, &loading)?;
        if let Some(path) = picture {
            self.write_reconstructions(size, &source, path, watch)?;
        }
        Ok((quality, split))
    }
}

/// Whether training goes anywhere is looked at after this part of its steps: a tenth.
const EARLY: u64 = 10;
/// Below so many nats a position the posterior is uniform. Where training goes anywhere it is ten times as much by then.
const UNIFORM: f64 = 0.02;
/// Factor of the learning rate of the second try.
const RETRY: f64 = 1.0 / 6.0;

/// Everything that training a tokenizer needs but the images.
pub(super) struct Job<'a> {
    pub(super) config: &'a Config,
    pub(super) recipe: &'a Recipe,
    pub(super) size: [usize; 2],
    pub(super) seed: u64,
    pub(super) report_every: u64,
}

impl Job<'_> {
    /// Trains a tokenizer and writes its folder.
    pub(super) fn train<O: Ops>(
        &self,
        ops: &O,
        device: &Device,
        (source, loading): (&Arc<dyn Source>, &Loading),
        journal: &mut Journal<'_>,
        folder: &Path,
    ) -> Result<beit_tokenizer::Tokenizer<O::Tensor>> {
        let loading = Loading { batch_size: self.recipe.batch, ..loading.clone() };
        let loader = loading.tokenizer(source, transform(self.size), self.recipe.dither)?;
        let mut trainer = self.trainer(ops, device, *self.recipe)?;
        let total = self.recipe.schedule.steps;
        journal.train(&mut trainer, &loader, total.div_ceil(EARLY))?;
        if self.is_uniform(&trainer, &loader)? {
            let recipe = self.recipe.at_rate_times(RETRY);
            journal.watch.note(&format!(
                "after {} steps the tokenizer says nothing of any image yet: begun again, once, with a learning rate of {:.1e} instead of {:.1e}",
                trainer.optimiser.steps(),
                recipe.schedule.lr.from,
                self.recipe.schedule.lr.from,
            ));
            trainer = self.trainer(ops, device, recipe)?;
        }
        journal.train(&mut trainer, &loader, total)?;
        beit_weights::save_tokenizer(ops, folder, &trainer.params, beit_weights::no_more_files)?;
        Ok(trainer.params)
    }

    fn trainer<'o, O: Ops>(
        &self,
        ops: &'o O,
        device: &Device,
        recipe: Recipe,
    ) -> Result<Trainer<'o, O, Tokenization>> {
        let Self { config, size, seed, report_every, .. } = *self;
        let task = Tokenization::new(config, recipe, size)?;
        let recipe = beit_train::Recipe {
            accumulate: 1,
            hyper: task.hyper(),
            report_every,
            read_every: device.read_every(report_every),
            seed,
        };
        Ok(Trainer::new(ops, task, recipe, beit_tokenizer::init(ops, config, seed)))
    }

    /// Whether the posterior still is what it was before training: the same for every picture.
    fn is_uniform<O: Ops>(
        &self,
        trainer: &Trainer<'_, O, Tokenization>,
        loader: &Loader<Vec<f32>>,
    ) -> Result<bool> {
        let Some(batch) = loader.epoch(0)?.next() else { return Ok(false) };
        let encoder = &trainer.params.encoder;
        Ok(tokenizer_divergence(trainer.ops, encoder, self.size, &batch?)? < UNIFORM)
    }
}

struct Train<'a, 'j> {
    job: &'a Job<'a>,
    source: &'a Arc<dyn Source>,
    loading: &'a Loading,
    journal: &'a mut Journal<'j>,
    folder: &'a Path,
}

impl Work for Train<'_, '_> {
    type Output = Tokenizer;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, device: &Device) -> Result<Tokenizer> {
        let Self { job, source, loading, journal, folder } = self;
        let params = job.train(&**ops, device, (source, loading), journal, folder)?;
        Ok(Tokenizer::on(ops, &Rc::new(AnyTokenizer::Whole(Box::new(params)))))
    }
}

/// The small tokenizer with the downsampling that a transformer's patches ask for: one token a patch, of the patch's own size
/// for small patches, of half of it from 16 pixels on (as 224 and 112 in the paper).
///
/// # Errors
///
/// Patches of other sizes.
pub fn config_for(vit: &beit_vit::Config) -> Result<Config> {
    let [height, width] = vit.patch;
    let token = if height >= 16 { height / 2 } else { height };
    if height != width || !token.is_power_of_two() {
        setting!(
            "patches of {height}x{width}: a tokenizer is trained for square patches of 2, 4, 8, … pixels; pass --tokenizer"
        );
    }
    Ok(Config { groups: token.ilog2() as usize + 1, ..Config::small() })
}

/// The recipe for a configuration, with what is not as usual.
pub(super) fn recipe(
    config: &Config,
    steps: Option<u64>,
    lr: Option<f64>,
    usage_weight: Option<f64>,
) -> Result<Recipe> {
    let mut recipe = if *config == Config::dalle() { Recipe::dalle() } else { Recipe::small() };
    match steps {
        Some(0) => setting!("0 steps of training a tokenizer: expected at least 1"),
        Some(steps) => recipe.schedule = recipe.schedule.rescaled(steps),
        None => {}
    }
    if let Some(lr) = lr {
        recipe = recipe.at_rate_times(lr / recipe.schedule.lr.from);
    }
    recipe.usage_weight = usage_weight.unwrap_or(recipe.usage_weight);
    Ok(recipe)
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
