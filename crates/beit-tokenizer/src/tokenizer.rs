//! Both halves together, and one training step's forward and backward.

use crate::config::Config;
use crate::objective::{Losses, Objective};
use crate::{Decoder, Encoder, decoder, encoder};
use beit_ops::{GumbelNoise, Ops, Shape, tree};

tree! {
    /// A discrete variational autoencoder.
    pub struct Tokenizer {
        /// Images to visual tokens.
        pub encoder: Encoder<T> = tree "encoder.",
        /// Visual tokens to images.
        pub decoder: Decoder<T> = tree "decoder.",
    }
}

/// What [`Tokenizer::backward`] needs.
#[derive(Debug)]
pub struct Saved<T> {
    /// `[B, H, W, C]`
    pixels: T,
    encoder: encoder::Saved<T>,
    /// The posterior and its mean.
    posterior: [T; 2],
    /// The relaxed sample, `[B·h·w, V]`.
    sample: T,
    decoder: decoder::Saved<T>,
    /// `[B, H, W, 2C]`
    params: T,
}

impl Tokenizer<Shape> {
    /// The shapes of the parameters.
    pub fn shapes(config: &Config) -> Self {
        Self { encoder: Encoder::shapes(config), decoder: Decoder::shapes(config) }
    }
}

impl<T> Tokenizer<T> {
    /// The configuration that the parameters were made for.
    pub fn config(&self) -> &Config {
        self.encoder.config()
    }
}

impl<T: Clone> Tokenizer<T> {
    /// The terms of the relaxed evidence bound at `pixels [B, C, H, W]`, which [`map`](crate::pixels::map) has mapped:
    /// logits, one Gumbel-softmax sample at each position, and the likelihood of the pixels given the sample.
    pub fn forward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        pixels: &T,
        noise: GumbelNoise,
        objective: &Objective,
    ) -> (Losses<T>, Saved<T>) {
        let pixels = ops.channels_last(pixels);
        let (logits, encoder) = self.encoder.forward(ops, pixels.clone());
        let (divergences, posterior) = ops.posterior_kl(&logits);
        let sample = ops.gumbel_softmax(&logits, noise, objective.temperature);
        let (params, decoder) = self.decoder.forward(ops, self.on_grid(ops, sample.clone(), &pixels));
        let [params_rows, pixel_rows] = [&params, &pixels].map(|x| rows(ops, x));
        let reconstruction = ops.logit_laplace(&params_rows, &pixel_rows);
        let saved = Saved { pixels, encoder, posterior, sample, decoder, params };
        (Losses { reconstruction, divergences }, saved)
    }

    /// Adds the gradients of the [objective](Objective).
    pub fn backward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        saved: Saved<T>,
        objective: &Objective,
        grads: &mut Self,
    ) {
        let Saved { pixels, encoder, posterior, sample, decoder, params } = saved;
        let d_params = ops.logit_laplace_backward(&rows(ops, &params), &rows(ops, &pixels));
        let d_params = ops.reshape(d_params, ops.shape(&params));
        let d_sample = self.decoder.backward(ops, d_params, decoder, &mut grads.decoder);
        let d_sample = ops.reshape(d_sample, ops.shape(&sample));
        let mut d_logits = ops.gumbel_softmax_backward(&d_sample, &sample, objective.temperature);
        let weights = objective.divergence_weights(&ops.shape(&pixels), &ops.shape(&sample));
        ops.add_assign(&mut d_logits, &ops.posterior_kl_backward(&posterior, weights));
        self.encoder.backward(ops, d_logits, encoder, &mut grads.encoder);
    }

    /// Positions `[B·h·w, V]` as the grid `[B, h, w, V]` of an image `[B, H, W, C]`.
    fn on_grid<O: Ops<Tensor = T>>(&self, ops: &O, x: T, pixels: &T) -> T {
        let [b, height, width, _] = encoder::extents(&ops.shape(pixels));
        let down = self.config().downsampling();
        let v = ops.shape(&x)[1];
        ops.reshape(x, [b, height / down, width / down, v])
    }
}

/// `[B, H, W, C] -> [B·H·W, C]`
fn rows<O: Ops>(ops: &O, x: &O::Tensor) -> O::Tensor {
    let [b, h, w, c] = encoder::extents(&ops.shape(x));
    ops.reshape(x.clone(), [b * h * w, c])
}
