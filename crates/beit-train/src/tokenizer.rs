//! Training the visual tokenizer, and measuring it.

use crate::error::Result;
use crate::guard::Outcome;
use crate::optimiser::{Hyper, Optimiser};
use crate::schedule::Schedule;
use crate::steps::{Listeners, Steps};
use beit_data::Loader;
use beit_ops::{GumbelNoise, Ops};
use beit_tokenizer::{Config, Recipe, Tokenizer, Usage, pixels};

/// The names of [`Losses::divergences`](beit_tokenizer::Losses) in reports.
const TERMS: &[&str] = &["kl", "usage_kl"];

/// A run of tokenizer training.
pub struct TokenizerTraining<'a, O: Ops> {
    /// The device.
    pub ops: &'a O,
    /// How to train it.
    pub recipe: Recipe,
    /// Key of everything random.
    pub seed: u64,
    /// Steps between two reports.
    pub report_every: u64,
    /// Steps after which losses and norms are read from the device together; 1 where reading costs no wait.
    pub read_every: u64,
    /// Height and width of the images in pixels.
    pub image: [usize; 2],
    /// The parameters.
    pub params: Tokenizer<O::Tensor>,
    /// The optimiser and its moments.
    pub optimiser: Optimiser<O::Tensor>,
}

impl<'a, O: Ops> TokenizerTraining<'a, O> {
    /// Begins with new parameters, for images of this height and width.
    ///
    /// # Errors
    ///
    /// A configuration that describes no tokenizer, or sides that it cannot halve.
    pub fn new(ops: &'a O, config: Config, recipe: Recipe, image: [usize; 2], seed: u64) -> Result<Self> {
        config.validate()?;
        config.grid(image)?;
        let params = beit_tokenizer::init(ops, &config, seed);
        let lr = recipe.schedule.lr;
        let schedule =
            Schedule { peak: lr.from, min: lr.to, warmup: recipe.warmup.min(lr.steps / 20), total: lr.steps };
        let Recipe { beta1, beta2, weight_decay, max_norm: clip_grad, .. } = recipe;
        let hyper = Hyper { beta1, beta2, weight_decay, clip_grad, ..Hyper::new(schedule) };
        let optimiser = Optimiser::new(ops, &params, hyper, 0);
        Ok(Self { ops, recipe, seed, report_every: 20, read_every: 1, image, params, optimiser })
    }

    /// Trains from the optimiser's step to the end of the schedule. Batches are `[B, 3, height, width]`, mapped by
    /// [`pixels::dithered`] with the recipe's width.
    ///
    /// # Errors
    ///
    /// The data, the device, or a number that is not finite; the parameters are then those of the last good step.
    pub fn run(&mut self, loader: &Loader<Vec<f32>>, listeners: &mut Listeners<'_>) -> Result<()> {
        let (ops, recipe, seed, [height, width]) = (self.ops, self.recipe, self.seed, self.image);
        let total = recipe.schedule.steps;
        let mut step = self.optimiser.steps();
        let steps = Steps {
            phase: "tokenizer",
            loader,
            accumulate: 1,
            report_every: self.report_every,
            read_every: self.read_every,
            total,
            until: total,
        };
        steps.run(ops, &mut self.params, &mut self.optimiser, listeners, |params, batch, grads, meter| {
            let objective = recipe.objective(step);
            let pixels = ops.upload([batch.indices.len(), 3, height, width], &batch.data);
            let (losses, saved) = params.forward(ops, &pixels, GumbelNoise { seed, step }, &objective);
            params.backward(ops, saved, &objective, grads);
            meter.term("temperature", objective.temperature);
            step += 1;
            let terms = Some((TERMS, losses.divergences));
            Ok(Outcome { metrics: losses.reconstruction, rows: 0, terms })
        })
    }
}

/// How good a tokenizer is on some images.
#[derive(Clone, Debug)]
pub struct TokenizerQuality {
    /// Images measured.
    pub images: usize,
    /// Mean absolute difference of pixels in 0 to 1 between images and their reconstruction from hard tokens.
    pub mean_absolute_error: f64,
    /// How often each token occurs.
    pub usage: Usage,
}

/// Encodes and decodes every image of a loader of `[B, 3, height, width]`.
///
/// # Errors
///
/// The data or the device.
pub fn tokenizer_quality<O: Ops>(
    ops: &O,
    tokenizer: &Tokenizer<O::Tensor>,
    image: [usize; 2],
    loader: &Loader<Vec<f32>>,
) -> Result<TokenizerQuality> {
    let config = tokenizer.config();
    let grid = config.grid(image)?;
    let mut usage = Usage::new(config.vocab);
    let (mut images, mut error, mut elements) = (0, 0.0, 0);
    for batch in loader.epoch(0)? {
        let batch = batch?;
        let b = batch.indices.len();
        let pixels = ops.upload([b, 3, image[0], image[1]], &batch.data);
        let codes = ops.read_ids(&tokenizer.encoder.encode(ops, &pixels))?;
        let decoded = tokenizer.decoder.decode(ops, &codes, grid)?;
        let differences =
            decoded.iter().zip(&batch.data).map(|(d, &x)| f64::from((d - pixels::unmap(x)).abs()));
        error += differences.sum::<f64>();
        usage.add(&codes);
        images += b;
        elements += batch.data.len();
    }
    Ok(TokenizerQuality { images, mean_absolute_error: error / elements.max(1) as f64, usage })
}
