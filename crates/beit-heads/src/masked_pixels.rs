//! The ablation of visual tokens: the pixels of patches, by regression (paper §3.3, "recover masked pixels").
//!
//! The paper says no more of it. Here the pixels are those that the transformer would see, normalised, and the loss is the mean of
//! the squared differences.

use crate::on_rows::{self, Saved};
use beit_ops::{Device, Linear, Ops, Shape, TransformerOps, tree};
use beit_vit::{Block, Config, Init, Input, Keep, Vit};

tree! {
    /// The transformer and a linear layer that draws the pixels of a patch.
    pub struct PixelMim {
        /// The transformer.
        pub vit: Vit<T> = tree "",
        /// `[channels·h·w, C]`; elements in the order of [`patchify`](beit_ops::TokenOps::patchify), (channel, y, x).
        pub pixel_head: Linear<T> = tree "pixel_head.",
    }
}

/// Numbers of a patch: its pixels of all channels.
#[must_use]
pub const fn patch_values(config: &Config) -> usize {
    config.channels * config.patch[0] * config.patch[1]
}

impl PixelMim<Shape> {
    /// The definition of the parameters, of a transformer with a mask token and a final norm.
    pub fn shapes(config: &Config) -> Self {
        let pixel_head = on_rows::shapes(patch_values(config), config.width);
        Self { vit: Vit::<Shape>::shapes(config), pixel_head }
    }
}

impl<T: Clone> PixelMim<T> {
    /// Draws the initial values.
    pub fn init<O: Device<Tensor = T>>(ops: &O, config: &Config, seed: u64) -> Self {
        Self {
            vit: beit_vit::init(ops, config, Init::Pretraining, seed),
            pixel_head: on_rows::init(ops, patch_values(config), config.width, seed),
        }
    }

    /// `images -> pixels [rows, channels·h·w]` of the named rows of `[B·T, C]` only; see [`masked_rows`](crate::masked_rows).
    pub fn forward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        input: &Input<'_, T>,
        rows: &O::Ids,
        keep: Keep,
    ) -> (T, Saved<O>) {
        on_rows::forward(ops, (&self.vit, &self.pixel_head), input, rows, keep)
    }

    /// `d_pixels [rows, channels·h·w]`; adds to `grads`. `finished` sees the gradients of each block when nothing more is added to
    /// them, from the last block to the first.
    pub fn backward_watched<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        input: &Input<'_, T>,
        d_pixels: &T,
        saved: Saved<O>,
        grads: &mut Self,
        finished: &mut dyn FnMut(&Block<T>),
    ) {
        let grads = (&mut grads.vit, &mut grads.pixel_head);
        on_rows::backward(ops, (&self.vit, &self.pixel_head), input, (d_pixels, saved), grads, finished);
    }

    /// `images -> pixels [rows, channels·h·w]`, keeping nothing.
    pub fn infer<O: TransformerOps<Tensor = T>>(&self, ops: &O, input: &Input<'_, T>, rows: &O::Ids) -> T {
        on_rows::infer(ops, (&self.vit, &self.pixel_head), input, rows)
    }
}
