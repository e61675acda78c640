//! Images to logits over visual tokens.

use crate::block::{Block, conv};
use crate::config::{Config, INPUT_KERNEL};
use crate::groups::{Groups, Tape};
use beit_ops::{Conv2d, Ops, Shape, TokenizerOps, tree};

tree! {
    /// `[B, C, H, W] -> [B·h·w, V]`: a convolution of 7x7, groups of residual blocks with max-pooling in between, and a map to
    /// V logits at each position. Without any normalisation layer.
    pub struct Encoder {
        /// The extents that the parameters have.
        config: Config = plain,
        /// `[hidden, C, 7, 7]`
        pub input: Conv2d<T> = tree "blocks.input.",
        /// Full resolution first.
        pub groups: Groups<T> = tree "blocks.",
        /// `[V, n, 1, 1]`
        pub output: Conv2d<T> = tree "blocks.output.conv.",
    }
}

/// What the backward pass of the encoder needs.
#[derive(Debug)]
pub(crate) struct Saved<T> {
    /// `[B, H, W, C]`
    pixels: T,
    tape: Tape<T>,
    /// Input of the last convolution.
    relu: T,
}

impl Encoder<Shape> {
    /// The shapes of the parameters.
    pub fn shapes(config: &Config) -> Self {
        let widths = (0..config.groups).map(|level| config.width(level));
        Self {
            config: *config,
            input: conv(config.channels, config.hidden, INPUT_KERNEL),
            groups: Groups::shapes(config.hidden, widths, config.blocks_per_group, Block::encoder),
            output: conv(config.width(config.groups - 1), config.vocab, 1),
        }
    }
}

impl<T> Encoder<T> {
    /// The configuration that the parameters were made for.
    pub fn config(&self) -> &Config {
        &self.config
    }
}

impl<T: Clone> Encoder<T> {
    /// The visual tokens of each image, row by row: `pixels [B, C, H, W]`, mapped by [`map`](crate::pixels::map), to
    /// `ids [B·h·w]`.
    pub fn encode<O: TokenizerOps<Tensor = T>>(&self, ops: &O, pixels: &T) -> O::Ids {
        ops.argmax_rows(&self.logits(ops, pixels))
    }

    /// The visual tokens of some positions of `[B·h·w]`: [`encode`](Encoder::encode) without the last layer's work for the others.
    pub fn encode_positions<O: TokenizerOps<Tensor = T>>(
        &self,
        ops: &O,
        pixels: &T,
        positions: &O::Ids,
    ) -> O::Ids {
        let features = self.features(ops, &ops.channels_last(pixels), &mut Tape::forgetting());
        let [b, h, w, c] = extents(&ops.shape(&features));
        let rows = ops.gather_rows(&ops.reshape(features, [b * h * w, c]), positions);
        let count = ops.shape(&rows)[0];
        let logits = ops.conv2d(&ops.reshape(rows, [1, 1, count, c]), &self.output);
        let v = ops.shape(&logits)[3];
        ops.argmax_rows(&ops.reshape(logits, [count, v]))
    }

    /// `pixels [B, C, H, W] -> logits [B·h·w, V]`. Keeps nothing.
    pub fn logits<O: TokenizerOps<Tensor = T>>(&self, ops: &O, pixels: &T) -> T {
        self.run(ops, &ops.channels_last(pixels), &mut Tape::forgetting()).0
    }

    /// `pixels [B, H, W, C] -> logits [B·h·w, V]`
    pub(crate) fn forward<O: TokenizerOps<Tensor = T>>(&self, ops: &O, pixels: T) -> (T, Saved<T>) {
        let mut tape = Tape::keeping();
        let (logits, relu) = self.run(ops, &pixels, &mut tape);
        (logits, Saved { pixels, tape, relu })
    }

    /// Returns the logits and the input of the last convolution.
    fn run<O: TokenizerOps<Tensor = T>>(&self, ops: &O, pixels: &T, tape: &mut Tape<T>) -> (T, T) {
        let relu = self.features(ops, pixels, tape);
        let logits = ops.conv2d(&relu, &self.output);
        let [b, h, w, v] = extents(&ops.shape(&logits));
        (ops.reshape(logits, [b * h * w, v]), relu)
    }

    /// `pixels [B, H, W, C]` to the input of the last convolution, which is 1x1.
    fn features<O: TokenizerOps<Tensor = T>>(&self, ops: &O, pixels: &T, tape: &mut Tape<T>) -> T {
        let gain = self.groups.post_gain();
        let mut x = ops.conv2d(pixels, &self.input);
        for (g, group) in self.groups.0.iter().enumerate() {
            if g > 0 {
                x = tape.pool(ops, x);
            }
            x = tape.forward(ops, x, group, gain);
        }
        ops.relu(&x)
    }

    /// From `d_logits [B·h·w, V]`. Nobody needs the gradient of the pixels.
    pub(crate) fn backward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        d_logits: T,
        saved: Saved<T>,
        grads: &mut Self,
    ) {
        let Saved { pixels, mut tape, relu } = saved;
        let gain = self.groups.post_gain();
        let [b, h, w, _] = extents(&ops.shape(&relu));
        let v = ops.shape(&d_logits)[1];
        let d_logits = ops.reshape(d_logits, [b, h, w, v]);
        let d = ops.conv2d_backward(&d_logits, &relu, &self.output, &mut grads.output);
        let mut d = ops.relu_backward(&d, &relu);
        for (g, (group, d_group)) in self.groups.0.iter().zip(&mut grads.groups.0).enumerate().rev() {
            d = tape.backward(ops, d, group, gain, d_group);
            if g > 0 {
                d = tape.pool_backward(ops, &d);
            }
        }
        ops.conv2d_backward_params(&d, &pixels, &mut grads.input);
    }
}

/// The four extents of a feature map.
pub(crate) fn extents(shape: &Shape) -> [usize; 4] {
    shape[..].try_into().expect("feature maps have four extents")
}
