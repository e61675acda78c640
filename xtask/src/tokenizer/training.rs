//! Training a tokenizer and measuring it, for every verb that does.

use crate::data::{Loading, tokenizer_loader};
use crate::model::{self, TokenizerModel};
use crate::output::Terminal;
use crate::usage::usage;
use beit_data::{Preprocessing, Source, TokenizerTransform};
use beit_ops::Ops;
use beit_tokenizer::{Config, Recipe};
use beit_train::{Listeners, Metrics, NoHooks, Tokenization, TokenizerQuality, Trainer, tokenizer_quality};
use std::path::Path;
use std::sync::Arc;

/// Everything that training a tokenizer needs but the images.
pub(crate) struct Settings {
    pub(crate) config: Config,
    pub(crate) recipe: Recipe,
    pub(crate) image: [usize; 2],
    pub(crate) seed: u64,
    pub(crate) report_every: u64,
    pub(crate) read_every: u64,
}

/// The small tokenizer with the downsampling that a transformer's patches ask for: one token a patch, of the patch's own size
/// for small patches, of half of it from 16 pixels on (as 224 and 112 in the paper).
pub(crate) fn config_for(vit: &beit_vit::Config) -> anyhow::Result<Config> {
    let [height, width] = vit.patch;
    let token = if height >= 16 { height / 2 } else { height };
    if height != width || !token.is_power_of_two() {
        usage!(
            "patches of {height}x{width}: a tokenizer is trained for square patches of 2, 4, 8, … pixels; pass --tokenizer"
        );
    }
    Ok(Config { groups: token.ilog2() as usize + 1, ..Config::small() })
}

/// The recipe for a configuration, with what the user changed.
pub(crate) fn recipe(config: &Config, steps: u64, lr: Option<f64>, usage_weight: Option<f64>) -> Recipe {
    let mut recipe = if *config == Config::dalle() { Recipe::dalle() } else { Recipe::small() };
    if steps > 0 {
        recipe.schedule = recipe.schedule.rescaled(steps);
    }
    if let Some(lr) = lr {
        let factor = lr / recipe.schedule.lr.from;
        recipe.schedule.lr.from *= factor;
        recipe.schedule.lr.to *= factor;
    }
    recipe.usage_weight = usage_weight.unwrap_or(recipe.usage_weight);
    recipe
}

/// Trains a tokenizer and writes its folder.
pub(crate) fn train<O: Ops>(
    ops: &O,
    settings: &Settings,
    source: &Arc<dyn Source>,
    loading: &Loading,
    (terminal, metrics): (&mut Terminal, &mut Metrics),
    out: &Path,
) -> anyhow::Result<()> {
    let loading = Loading { batch_size: settings.recipe.batch, ..*loading };
    let views = transform(settings.image);
    let loader =
        tokenizer_loader(source, loading.training(source.len()), views, Some(settings.recipe.dither))?;
    let Settings { config, recipe, image, seed, report_every, read_every } = *settings;
    let task = Tokenization::new(&config, recipe, image)?;
    let params = beit_tokenizer::init(ops, &config, seed);
    let recipe = beit_train::Recipe { accumulate: 1, hyper: task.hyper(), report_every, read_every, seed };
    let mut training = Trainer::new(ops, task, recipe, params);
    let mut listeners = Listeners { progress: terminal, sinks: metrics };
    training.run(&loader, u64::MAX, &mut NoHooks, &mut listeners)?;
    model::save_tokenizer(ops, &training.params, out)
}

/// Usage and error on every image of a source.
pub(crate) fn quality<O: Ops>(
    ops: &O,
    tokenizer: &TokenizerModel<O::Tensor>,
    image: [usize; 2],
    source: &Arc<dyn Source>,
    loading: &Loading,
) -> anyhow::Result<TokenizerQuality> {
    let views = transform(image);
    let loader = tokenizer_loader(source, loading.evaluation(), views, None)?;
    Ok(tokenizer_quality(ops, &tokenizer.params, image, &loader)?)
}

pub(crate) fn sentence(quality: &TokenizerQuality) -> String {
    format!(
        "{} of {} tokens used, perplexity {:.1}, commonest token {:.3}, mean absolute error {:.4}",
        quality.usage.used(),
        quality.usage.counts().len(),
        quality.usage.perplexity(),
        quality.usage.majority(),
        quality.mean_absolute_error,
    )
}

/// The views of the tokenizer: random regions to train on, the whole image to look at.
pub(super) fn transform(image: [usize; 2]) -> TokenizerTransform {
    Preprocessing::unilm(image).tokenizer(image)
}
