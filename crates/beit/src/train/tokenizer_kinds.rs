//! Making a tokenizer of either kind.

use super::Journal;
use crate::any_tokenizer::AnyTokenizer;
use crate::device::Device;
use crate::error::{Result, setting};
use crate::loaders::Loading;
use crate::settings::{Batches, TokenizerKind};
use crate::tokenizer::transform;
use beit_data::{Loader, Source};
use beit_ops::Ops;
use beit_tokenizer::{Codebook, Config, KMeans, KMeansConfig, Recipe, Tokenizer};
use beit_train::{KMeansRecipe, Tokenization, Trainer, cluster_patches, tokenizer_divergence};
use std::path::Path;
use std::sync::Arc;

/// Which tokenizer is made, and how.
#[derive(Clone, Copy, Debug)]
pub(super) enum Plan {
    Dvae { config: Config, recipe: Recipe },
    KMeans { config: KMeansConfig, recipe: KMeansRecipe },
}

impl Plan {
    /// The usual tokenizer of a kind for a transformer, in so many steps where that is given.
    pub(super) fn for_vit(
        kind: TokenizerKind,
        vit: &beit_vit::Config,
        steps: Option<u64>,
        seed: u64,
    ) -> Result<Self> {
        Ok(match kind {
            TokenizerKind::Dvae => {
                let config = config_for(vit)?;
                Self::Dvae { config, recipe: dvae_recipe(&config, steps, None, None)? }
            }
            TokenizerKind::KMeans => {
                Self::KMeans { config: kmeans_for(vit), recipe: kmeans_recipe(steps, seed)? }
            }
        })
    }

    /// The width of the first layer; 0 where there is none.
    pub(super) fn hidden(&self) -> usize {
        match self {
            Self::Dvae { config, .. } => config.hidden,
            Self::KMeans { .. } => 0,
        }
    }

    pub(super) fn codebook(&self) -> Codebook {
        match self {
            Self::Dvae { config, .. } => config.codebook(),
            Self::KMeans { config, .. } => config.codebook(),
        }
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
    let token = token_side(height);
    if height != width || !token.is_power_of_two() {
        setting!(
            "patches of {height}x{width}: a discrete VAE is trained for square patches of 2, 4, 8, … pixels; pass --tokenizer-kind \
             kmeans, or --tokenizer"
        );
    }
    Ok(Config { channels: vit.channels, groups: token.ilog2() as usize + 1, ..Config::small() })
}

/// The tokenizer by k-means for a transformer's patches, which may have any sides.
#[must_use]
pub fn kmeans_for(vit: &beit_vit::Config) -> KMeansConfig {
    KMeansConfig { channels: vit.channels, ..KMeansConfig::new(vit.patch.map(token_side)) }
}

/// The side of the token of a patch.
const fn token_side(patch: usize) -> usize {
    if patch >= 16 { patch / 2 } else { patch }
}

/// The recipe for a discrete VAE, with what is not as usual.
pub(super) fn dvae_recipe(
    config: &Config,
    steps: Option<u64>,
    lr: Option<f64>,
    usage_weight: Option<f64>,
) -> Result<Recipe> {
    let mut recipe = if *config == Config::dalle() { Recipe::dalle() } else { Recipe::small() };
    if let Some(steps) = some_steps(steps)? {
        recipe.schedule = recipe.schedule.rescaled(steps);
    }
    if let Some(lr) = lr {
        recipe = recipe.at_rate_times(lr / recipe.schedule.lr.from);
    }
    recipe.usage_weight = usage_weight.unwrap_or(recipe.usage_weight);
    Ok(recipe)
}

/// The recipe of k-means; a step is a round.
pub(super) fn kmeans_recipe(steps: Option<u64>, seed: u64) -> Result<KMeansRecipe> {
    let usual = KMeansRecipe::default();
    Ok(KMeansRecipe { rounds: some_steps(steps)?.unwrap_or(usual.rounds), seed, ..usual })
}

fn some_steps(steps: Option<u64>) -> Result<Option<u64>> {
    if steps == Some(0) {
        setting!("0 steps of training a tokenizer: expected at least 1");
    }
    Ok(steps)
}

/// Whether training goes anywhere is looked at after this part of its steps: a tenth.
const EARLY: u64 = 10;
/// Below so many nats a position the posterior is uniform. Where training goes anywhere it is ten times as much by then.
const UNIFORM: f64 = 0.02;
/// Factor of the learning rate of the second try.
const RETRY: f64 = 1.0 / 6.0;

/// Everything that training a tokenizer needs but the images.
pub(super) struct Job<'a> {
    pub(super) plan: &'a Plan,
    pub(super) size: [usize; 2],
    pub(super) seed: u64,
    /// Micro-batches of a step, over all processes, that share its images.
    pub(super) accumulate: u64,
    pub(super) report_every: u64,
}

/// Images, and how they are loaded.
type Images<'a> = (&'a Arc<dyn Source>, &'a Loading);

impl Job<'_> {
    /// Trains a tokenizer and writes its folder.
    pub(super) fn train<O: Ops + 'static>(
        &self,
        ops: &O,
        device: &Device,
        images: Images<'_>,
        journal: &mut Journal<'_>,
        folder: &Path,
    ) -> Result<AnyTokenizer<O::Tensor>> {
        let no_more = beit_weights::no_more_files;
        match self.plan {
            Plan::Dvae { config, recipe } => {
                let params = self.dvae(ops, device, images, journal, (config, recipe))?;
                if !journal.run.follows() {
                    beit_weights::save_tokenizer(ops, folder, &params, no_more)?;
                }
                Ok(AnyTokenizer::Dvae(Box::new(params)))
            }
            Plan::KMeans { config, recipe } => {
                let params = self.kmeans(images, journal, (config, recipe))?.upload(ops);
                if !journal.run.follows() {
                    beit_weights::save_kmeans(ops, folder, &params, no_more)?;
                }
                Ok(AnyTokenizer::KMeans(Box::new(params)))
            }
        }
    }

    fn dvae<O: Ops + 'static>(
        &self,
        ops: &O,
        device: &Device,
        (source, loading): Images<'_>,
        journal: &mut Journal<'_>,
        (config, recipe): (&Config, &Recipe),
    ) -> Result<Tokenizer<O::Tensor>> {
        let parts = usize::try_from(self.accumulate).unwrap_or(usize::MAX).max(1);
        let loading = Loading { batch_size: recipe.batch.div_ceil(parts), ..loading.clone() };
        let loader = loading.tokenizer(source, transform(self.size), recipe.dither)?;
        let mut trainer = self.trainer(ops, device, (config, *recipe))?;
        let total = recipe.schedule.steps;
        journal.train(&mut trainer, &loader, total.div_ceil(EARLY))?;
        if self.is_uniform(&trainer, &loader)? {
            let slower = recipe.at_rate_times(RETRY);
            let (steps, [from, to]) =
                (trainer.optimiser.steps(), [recipe, &slower].map(|r| r.schedule.lr.from));
            journal.watch.note(&format!(
                "after {steps} steps the tokenizer says nothing of any image yet: begun again, once, with a learning rate of {to:.1e} instead of {from:.1e}"
            ));
            journal.begin_again("tokenizer")?;
            trainer = self.trainer(ops, device, (config, slower))?;
        }
        journal.train(&mut trainer, &loader, total)?;
        Ok(trainer.params)
    }

    /// A discrete VAE that begins.
    fn trainer<'o, O: Ops>(
        &self,
        ops: &'o O,
        device: &Device,
        (config, recipe): (&Config, Recipe),
    ) -> Result<Trainer<'o, O, Tokenization>> {
        let Self { size, seed, accumulate, report_every, .. } = *self;
        let task = Tokenization::new(config, recipe, size)?;
        let recipe = beit_train::Recipe {
            accumulate,
            hyper: task.hyper(),
            report_every,
            read_every: device.read_every(report_every),
            seed,
            ema: None,
            spikes: None,
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

    /// The same on every device: what is found is on the host.
    fn kmeans(
        &self,
        (source, loading): Images<'_>,
        journal: &Journal<'_>,
        (config, recipe): (&KMeansConfig, &KMeansRecipe),
    ) -> Result<KMeans<Vec<f32>>> {
        let loading = Loading { batch_size: Batches::LARGE, ..loading.clone() };
        let loader = loading.augmented(source, transform(self.size))?;
        let mut watch = journal.watch.clone();
        let found = cluster_patches(config, recipe, self.size, &loader, &mut watch)?;
        let (patches, error) = (found.patches, found.error);
        watch.note(&format!("k-means of {patches} patches: mean squared distance {error:.5}"));
        journal.unless_stopped()?;
        Ok(found.tokenizer)
    }
}
