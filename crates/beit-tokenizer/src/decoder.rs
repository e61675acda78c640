//! Visual tokens, or distributions over them, to the parameters of a distribution over pixels.

use crate::block::{Block, conv};
use crate::config::Config;
use crate::encoder::extents;
use crate::groups::{Groups, Tape};
use alloc::vec::Vec;
use beit_ops::{Conv2d, DeviceError, Ops, Shape, TokenizerOps, tree};

tree! {
    /// `[B, h, w, V] -> [B, H, W, 2C]`: the mirror of the encoder, with nearest upsampling in place of the pooling. The last
    /// channels are the location `mu` and the logarithm of the scale `b` of a logit-Laplace distribution.
    pub struct Decoder {
        /// `[decoder_init, V, 1, 1]`: its columns are the codebook.
        pub input: Conv2d<T> = tree "blocks.input.",
        /// Lowest resolution first.
        pub groups: Groups<T> = tree "blocks.",
        /// `[2C, hidden, 1, 1]`
        pub output: Conv2d<T> = tree "blocks.output.conv.",
    }
}

/// What the backward pass of the decoder needs.
#[derive(Debug)]
pub(crate) struct Saved<T> {
    /// `[B, h, w, V]`
    probs: T,
    tape: Tape<T>,
    /// Input of the last convolution.
    relu: T,
}

impl Decoder<Shape> {
    /// The shapes of the parameters.
    pub fn shapes(config: &Config) -> Self {
        let widths = (0..config.groups).rev().map(|level| config.width(level));
        Self {
            input: conv(config.vocab, config.decoder_init, 1),
            groups: Groups::shapes(config.decoder_init, widths, config.blocks_per_group, Block::decoder),
            output: conv(config.hidden, 2 * config.channels, 1),
        }
    }
}

impl<T: Clone> Decoder<T> {
    /// The most likely images of visual tokens: `codes`, row by row on a `grid` of height and width, to pixels
    /// `[B, C, H, W]` in 0 to 1.
    ///
    /// The first convolution of a one-hot input picks columns of its weight, so no one-hot is made.
    ///
    /// # Panics
    /// On a code outside the vocabulary; [`Codebook::check_codes`](crate::Codebook::check_codes) finds it.
    pub fn decode<O: TokenizerOps<Tensor = T>>(
        &self,
        ops: &O,
        codes: &[u32],
        grid: [usize; 2],
    ) -> Result<Vec<f32>, DeviceError> {
        self.pixels(ops, self.look_up(ops, codes, grid))
    }

    /// The most likely images of distributions over visual tokens: `probs [B, h, w, V]` to pixels `[B, C, H, W]` in 0 to 1.
    pub fn decode_probabilities<O: TokenizerOps<Tensor = T>>(
        &self,
        ops: &O,
        probs: &T,
    ) -> Result<Vec<f32>, DeviceError> {
        self.pixels(ops, ops.conv2d(probs, &self.input))
    }

    /// From the output of the first convolution.
    fn pixels<O: TokenizerOps<Tensor = T>>(&self, ops: &O, x: T) -> Result<Vec<f32>, DeviceError> {
        let (params, _) = self.run(ops, x, &mut Tape::forgetting());
        let [_, height, width, c2] = extents(&ops.shape(&params));
        Ok(crate::pixels::from_params(&ops.read(&params)?, [height, width, c2 / 2]))
    }

    /// `codes [B·h·w] -> [B, h, w, decoder_init]`: a row of the codebook each, plus the bias.
    fn look_up<O: TokenizerOps<Tensor = T>>(&self, ops: &O, codes: &[u32], [h, w]: [usize; 2]) -> T {
        let [n, v, ..] = extents(&ops.shape(&self.input.weight));
        let codebook = ops.channels_last(&ops.reshape(self.input.weight.clone(), [1, n, v, 1]));
        let rows = ops.gather_rows(&ops.reshape(codebook, [v, n]), &ops.upload_ids(codes));
        let biased = self.input.bias.as_ref().map(|bias| ops.add_bias(&rows, bias));
        ops.reshape(biased.unwrap_or(rows), [codes.len() / (h * w), h, w, n])
    }

    /// `probs [B, h, w, V] -> params [B, H, W, 2C]`
    pub(crate) fn forward<O: TokenizerOps<Tensor = T>>(&self, ops: &O, probs: T) -> (T, Saved<T>) {
        let mut tape = Tape::keeping();
        let (params, relu) = self.run(ops, ops.conv2d(&probs, &self.input), &mut tape);
        (params, Saved { probs, tape, relu })
    }

    /// From the output of the first convolution. Returns the parameters and the input of the last convolution.
    fn run<O: TokenizerOps<Tensor = T>>(&self, ops: &O, mut x: T, tape: &mut Tape<T>) -> (T, T) {
        let gain = self.groups.post_gain();
        for (g, group) in self.groups.0.iter().enumerate() {
            if g > 0 {
                x = ops.upsample2(&x);
            }
            x = tape.forward(ops, x, group, gain);
        }
        let relu = ops.relu(&x);
        (ops.conv2d(&relu, &self.output), relu)
    }

    /// Returns `d_probs [B, h, w, V]`.
    pub(crate) fn backward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        d_params: T,
        saved: Saved<T>,
        grads: &mut Self,
    ) -> T {
        let Saved { probs, mut tape, relu } = saved;
        let gain = self.groups.post_gain();
        let d = ops.conv2d_backward(&d_params, &relu, &self.output, &mut grads.output);
        let mut d = ops.relu_backward(&d, &relu);
        for (g, (group, d_group)) in self.groups.0.iter().zip(&mut grads.groups.0).enumerate().rev() {
            d = tape.backward(ops, d, group, gain, d_group);
            if g > 0 {
                d = ops.upsample2_backward(&d);
            }
        }
        ops.conv2d_backward(&d, &probs, &self.input, &mut grads.input)
    }
}
