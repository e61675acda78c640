//! Training the visual tokenizer (paper §2.1; arXiv 2102.12092, appendix A.2).

use crate::error::Result;
use crate::optimiser::Hyper;
use crate::schedule::{Decay, Schedule};
use crate::task::{Changes, Finished, Moment, Outcome, Task};
use beit_data::Batch;
use beit_ops::{GumbelNoise, Ops, Tree};
use beit_tokenizer::{Config, Cosine, Encoder, Recipe, Tokenizer};
use serde::Serialize;

/// The names of [`Losses::divergences`](beit_tokenizer::Losses) in reports.
const TERMS: &[&str] = &["kl", "usage_kl"];

/// The discrete VAE: reconstruction through relaxed visual tokens. The rows are the images.
///
/// Batches are `[B, 3, height, width]`, mapped by [`pixels::dithered`](beit_tokenizer::pixels::dithered) with the recipe's width.
/// The divergence of the mean posterior is one number of a whole micro-batch: the loss of a step is the mean of those of its
/// micro-batches, weighed by their images.
#[derive(Clone, Copy, Debug)]
pub struct Tokenization {
    /// Loss and schedules.
    pub recipe: Recipe,
    /// Height and width of the images in pixels.
    pub image: [usize; 2],
}

impl Tokenization {
    /// For a tokenizer of this configuration and images of this height and width.
    ///
    /// # Errors
    ///
    /// A configuration that describes no tokenizer, or sides that it cannot halve.
    pub fn new(config: &Config, recipe: Recipe, image: [usize; 2]) -> Result<Self> {
        config.validate()?;
        config.codebook().grid(image)?;
        Ok(Self { recipe, image })
    }

    /// The optimiser and its schedule, as the recipe has them.
    #[must_use]
    pub fn hyper(&self) -> Hyper {
        let Recipe { beta1, beta2, weight_decay, max_norm: clip_grad, warmup, schedule, .. } = self.recipe;
        let lr = schedule.lr;
        let schedule = Schedule {
            peak: lr.from,
            min: lr.to,
            warmup: warmup.min(lr.steps / 20),
            total: lr.steps,
            decay: Decay::Cosine,
        };
        Hyper { beta1, beta2, weight_decay, clip_grad, ..Hyper::new(schedule) }
    }
}

/// `KL(q ‖ U)` in nats per position of the images of a batch: 0 while every picture has every token alike.
///
/// # Errors
///
/// The device.
pub fn tokenizer_divergence<O: Ops>(
    ops: &O,
    encoder: &Encoder<O::Tensor>,
    [height, width]: [usize; 2],
    batch: &Batch<Vec<f32>>,
) -> Result<f64> {
    let pixels = ops.upload([batch.indices.len(), encoder.config().channels, height, width], &batch.data);
    let (divergences, _) = ops.posterior_kl(&encoder.logits(ops, &pixels));
    Ok(f64::from(ops.read(&divergences)?[0]))
}

/// What is written of [`Tokenization`].
#[derive(Clone, Debug, Serialize)]
pub struct TokenizationSettings {
    image: [usize; 2],
    batch: usize,
    temperature: Ramp,
    kl_weight: Ramp,
    usage_weight: f64,
    dither: f32,
}

/// A [`Cosine`].
#[derive(Clone, Copy, Debug, Serialize)]
struct Ramp {
    from: f64,
    to: f64,
    steps: u64,
}

impl From<Cosine> for Ramp {
    fn from(Cosine { from, to, steps }: Cosine) -> Self {
        Self { from, to, steps }
    }
}

impl<O: Ops> Task<O> for Tokenization {
    type Params = Tokenizer<O::Tensor>;
    type Buffers = ();
    type Sample = Vec<f32>;
    type Settings = TokenizationSettings;

    fn phase(&self) -> &'static str {
        "tokenizer"
    }

    fn settings(&self) -> TokenizationSettings {
        let Self { recipe: Recipe { batch, schedule, usage_weight, dither, .. }, image } = *self;
        let (temperature, kl_weight) = (schedule.temperature.into(), schedule.kl_weight.into());
        TokenizationSettings { image, batch, temperature, kl_weight, usage_weight, dither }
    }

    fn depth(&self, _: &Self::Params) -> usize {
        0
    }

    fn micro_batch(
        &self,
        ops: &O,
        params: &Self::Params,
        batch: &Batch<Vec<f32>>,
        moment: &Moment,
        changes: Changes<'_, Self::Params, ()>,
        _: &mut Finished<'_, O::Tensor>,
    ) -> Result<Outcome<O::Tensor>> {
        let (images, [height, width]) = (batch.indices.len(), self.image);
        let objective = self.recipe.objective(moment.step);
        let pixels = ops.upload([images, params.config().channels, height, width], &batch.data);
        let noise = GumbelNoise { seed: moment.seed, step: moment.number };
        let (losses, saved) = params.forward(ops, &pixels, noise, &objective);
        if moment.alone {
            params.backward(ops, saved, &objective, changes.grads);
        } else {
            let mut of_mean = params.map(&mut |p| ops.zeros(ops.shape(p)));
            params.backward(ops, saved, &objective, &mut of_mean);
            add_scaled(ops, changes.grads, &of_mean, moment.scale(images));
        }
        let (terms, known) =
            (Some((TERMS, losses.divergences)), vec![("temperature", objective.temperature)]);
        Ok(Outcome { images, rows: images, metrics: losses.reconstruction, terms, known })
    }
}

/// `sum += scale · x`, leaf by leaf.
fn add_scaled<O: Ops>(ops: &O, sum: &mut impl Tree<O::Tensor>, x: &impl Tree<O::Tensor>, scale: f32) {
    for (sum, x) in sum.leaves_mut().into_iter().zip(x.leaves()) {
        ops.add_assign(sum, &ops.scaled(x, f64::from(scale)));
    }
}
