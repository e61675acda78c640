//! Making a tokenizer of any kind.

use super::Journal;
use super::journal::Occasion;
use super::tokenizer_state::{self, Attempt};
use crate::any_tokenizer::AnyTokenizer;
use crate::device::Device;
use crate::error::{Result, setting};
use crate::loaders::Loading;
use crate::settings::{Batches, RunSettings, TokenizerKind};
use crate::tokenizer::transform;
use beit_data::{Loader, Source};
use beit_ops::Ops;
use beit_tokenizer::{Codebook, Config, KMeans, KMeansConfig, Recipe, Tokenizer};
use beit_train::{KMeansCourse, KMeansRecipe, Tokenization, Trainer, cluster_patches, tokenizer_divergence};
use std::sync::Arc;

/// Which tokenizer is made, and how.
#[derive(Clone, Copy, Debug)]
pub(super) enum Plan {
    Dvae { config: Config, recipe: Recipe },
    KMeans { config: KMeansConfig, recipe: KMeansRecipe },
    Random { config: KMeansConfig, seed: u64 },
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
            TokenizerKind::Random => Self::random(kmeans_for(vit), steps, seed)?,
        })
    }

    /// Random directions, for which there are no steps.
    pub(super) fn random(config: KMeansConfig, steps: Option<u64>, seed: u64) -> Result<Self> {
        if let Some(steps) = steps {
            setting!(
                "{steps} steps of training random tokens: nothing is learnt for these, leave the steps out"
            );
        }
        Ok(Self::Random { config, seed })
    }

    /// The width of the first layer; 0 where there is none.
    pub(super) fn hidden(&self) -> usize {
        match self {
            Self::Dvae { config, .. } => config.hidden,
            Self::KMeans { .. } | Self::Random { .. } => 0,
        }
    }

    pub(super) fn codebook(&self) -> Codebook {
        match self {
            Self::Dvae { config, .. } => config.codebook(),
            Self::KMeans { config, .. } | Self::Random { config, .. } => config.codebook(),
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

/// Everything that training a tokenizer needs but the images.
pub(super) struct Job<'a> {
    pub(super) plan: &'a Plan,
    pub(super) size: [usize; 2],
    pub(super) seed: u64,
    /// Micro-batches of a step, over all processes, that share its images.
    pub(super) accumulate: u64,
    pub(super) run: &'a RunSettings,
}

/// Images, and how they are loaded.
type Images<'a> = (&'a Arc<dyn Source>, &'a Loading);

impl Job<'_> {
    /// Trains a tokenizer, or goes on where its training stands in the folder of the run, and writes its folder.
    pub(super) fn train<O: Ops + 'static>(
        &self,
        ops: &O,
        device: &Device,
        images: Images<'_>,
        journal: &mut Journal<'_>,
    ) -> Result<AnyTokenizer<O::Tensor>> {
        let trained = self.trained(ops, device, images, journal);
        let tokenizer = journal.told(trained)?;
        if journal.stops()? {
            let folder = journal.run.tokenizer();
            return Err(journal.stopped("the tokenizer is trained and", &folder));
        }
        Ok(tokenizer)
    }

    fn trained<O: Ops + 'static>(
        &self,
        ops: &O,
        device: &Device,
        images: Images<'_>,
        journal: &mut Journal<'_>,
    ) -> Result<AnyTokenizer<O::Tensor>> {
        let tokenizer = match self.plan {
            Plan::Dvae { config, recipe } => {
                let params = self.dvae(ops, device, images, journal, (config, recipe))?;
                AnyTokenizer::Dvae(Box::new(params))
            }
            Plan::KMeans { config, recipe } => {
                let params = self.kmeans(images, journal, (config, recipe))?.upload(ops);
                AnyTokenizer::KMeans(Box::new(params))
            }
            Plan::Random { config, seed } => {
                AnyTokenizer::KMeans(Box::new(KMeans::random(config, *seed).upload(ops)))
            }
        };
        if !journal.run.follows() {
            tokenizer_state::write(ops, &journal.run.tokenizer(), &tokenizer)?;
            journal.run.end_tokenizer_training()?;
        }
        Ok(tokenizer)
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
        let (total, early) = (recipe.schedule.steps, recipe.schedule.steps.div_ceil(EARLY));
        let saved = Attempt::saved(journal.run)?;
        let mut attempt = saved.unwrap_or_default();
        let mut trainer = self.trainer(ops, device, (config, attempt.recipe(recipe)))?;
        if saved.is_some() {
            tokenizer_state::load(&mut trainer, journal)?;
        }
        // Beyond these steps it was found to go somewhere.
        if attempt == Attempt::First && trainer.optimiser.steps() <= early {
            journal.train_to(early, &mut trainer, &loader, (self.run, &mut ()), &mut attempt.keep())?;
            if self.is_uniform(&trainer, &loader)? {
                attempt = Attempt::Slower;
                trainer = self.begin_again(ops, device, (config, recipe), journal)?;
            }
        }
        journal.train_to(total, &mut trainer, &loader, (self.run, &mut ()), &mut attempt.keep())?;
        Ok(trainer.params)
    }

    /// The second try.
    fn begin_again<'o, O: Ops + 'static>(
        &self,
        ops: &'o O,
        device: &Device,
        (config, recipe): (&Config, &Recipe),
        journal: &mut Journal<'_>,
    ) -> Result<Trainer<'o, O, Tokenization>> {
        let slower = Attempt::Slower.recipe(recipe);
        let (steps, [from, to]) =
            (recipe.schedule.steps.div_ceil(EARLY), [recipe, &slower].map(|r| r.schedule.lr.from));
        journal.watch.note(&format!(
            "after {steps} steps the tokenizer says nothing of any image yet: begun again, once, with a learning rate of {to:.1e} instead of {from:.1e}"
        ));
        let trainer = self.trainer(ops, device, (config, slower))?;
        // Before what was measured is taken out, so that a run that is killed does not go on with the first try.
        (Attempt::Slower.keep())(journal, &trainer, Occasion::Due)?;
        journal.begin_again("tokenizer")?;
        Ok(trainer)
    }

    /// A discrete VAE that begins.
    fn trainer<'o, O: Ops>(
        &self,
        ops: &'o O,
        device: &Device,
        (config, recipe): (&Config, Recipe),
    ) -> Result<Trainer<'o, O, Tokenization>> {
        let Self { size, seed, accumulate, run, .. } = *self;
        let report_every = run.folder.report_every();
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
        journal: &mut Journal<'_>,
        (config, recipe): (&KMeansConfig, &KMeansRecipe),
    ) -> Result<KMeans<Vec<f32>>> {
        let loading = Loading { batch_size: Batches::LARGE, ..loading.clone() };
        let loader = loading.augmented(source, transform(self.size))?;
        let mut watch = journal.watch.clone();
        let from = tokenizer_state::rounds(journal, config, recipe)?;
        let mut after = tokenizer_state::keep_rounds(journal, self.run, (config, recipe));
        let course = KMeansCourse { from, after: &mut after, progress: &mut watch };
        let found = cluster_patches(config, recipe, self.size, &loader, course)?;
        let (patches, error) = (found.patches, found.error);
        watch.note(&format!("k-means of {patches} patches: mean squared distance {error:.5}"));
        Ok(found.tokenizer)
    }
}
