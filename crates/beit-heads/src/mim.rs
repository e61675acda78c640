//! Masked image modelling: the visual tokens of masked patches (paper §2.3).

use crate::on_rows::{self, Saved};
use alloc::vec::Vec;
use beit_ops::{Device, Linear, Ops, Shape, TransformerOps, tree};
use beit_vit::{Block, Config, Init, Input, Keep, Vit};

/// What a model for masked image modelling looks like.
#[derive(Clone, Debug, PartialEq)]
pub struct MimConfig {
    /// The transformer, with a mask token and a final norm.
    pub vit: Config,
    /// V, the number of visual tokens.
    pub vocab: usize,
}

tree! {
    /// The transformer and a linear layer that names the visual token of a patch.
    pub struct Mim {
        /// V
        vocab: usize = plain,
        /// The transformer.
        pub vit: Vit<T> = tree "",
        /// `[V, C]`
        pub lm_head: Linear<T> = tree "lm_head.",
    }
}

impl Mim<Shape> {
    /// The definition of the parameters.
    pub fn shapes(config: &MimConfig) -> Self {
        let lm_head = on_rows::shapes(config.vocab, config.vit.width);
        Self { vocab: config.vocab, vit: Vit::<Shape>::shapes(&config.vit), lm_head }
    }
}

impl<T> Mim<T> {
    /// The configuration that the parameters were made for.
    pub fn config(&self) -> MimConfig {
        MimConfig { vit: self.vit.config().clone(), vocab: self.vocab }
    }
}

impl<T: Clone> Mim<T> {
    /// Draws the initial values of the pre-training model.
    pub fn init<O: Device<Tensor = T>>(ops: &O, config: &MimConfig, seed: u64) -> Self {
        Self {
            vocab: config.vocab,
            vit: beit_vit::init(ops, &config.vit, Init::Pretraining, seed),
            lm_head: on_rows::init(ops, config.vocab, config.vit.width, seed),
        }
    }

    /// `images -> logits [rows, V]` of the named rows of `[B·T, C]` only; see [`masked_rows`].
    pub fn forward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        input: &Input<'_, T>,
        rows: &O::Ids,
        keep: Keep,
    ) -> (T, Saved<O>) {
        on_rows::forward(ops, (&self.vit, &self.lm_head), input, rows, keep)
    }

    /// `d_logits [rows, V]`; adds to `grads`.
    pub fn backward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        input: &Input<'_, T>,
        d_logits: &T,
        saved: Saved<O>,
        grads: &mut Self,
    ) {
        self.backward_watched(ops, input, d_logits, saved, grads, &mut |_| {});
    }

    /// [`backward`](Mim::backward); `finished` sees the gradients of each block when nothing more is added to them, from the last block to
    /// the first.
    pub fn backward_watched<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        input: &Input<'_, T>,
        d_logits: &T,
        saved: Saved<O>,
        grads: &mut Self,
        finished: &mut dyn FnMut(&Block<T>),
    ) {
        let grads = (&mut grads.vit, &mut grads.lm_head);
        on_rows::backward(ops, (&self.vit, &self.lm_head), input, (d_logits, saved), grads, finished);
    }

    /// `images -> logits [rows, V]`, keeping nothing.
    pub fn infer<O: TransformerOps<Tensor = T>>(&self, ops: &O, input: &Input<'_, T>, rows: &O::Ids) -> T {
        on_rows::infer(ops, (&self.vit, &self.lm_head), input, rows)
    }
}

/// The rows of `[B·T, C]` that hold masked patches, for masks `[B, N]`: image by image, row-major.
///
/// ```
/// assert_eq!(beit_heads::masked_rows(&[false, true, true, false], 2), [2, 4]);
/// ```
pub fn masked_rows(masks: &[bool], patches: usize) -> Vec<u32> {
    let row = |i: usize| (i + i / patches + 1) as u32;
    masks.iter().enumerate().filter(|(_, masked)| **masked).map(|(i, _)| row(i)).collect()
}

/// The rows of `[B·T, C]` that hold patches, for B images.
pub fn patch_rows(images: usize, patches: usize) -> Vec<u32> {
    masked_rows(&alloc::vec![true; images * patches], patches)
}
