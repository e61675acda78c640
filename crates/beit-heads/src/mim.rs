//! Masked image modelling: the visual tokens of masked patches (paper §2.3).

use alloc::vec::Vec;
use beit_ops::init::Stream;
use beit_ops::{Device, Linear, Norm, Ops, Shape, TransformerOps, tree};
use beit_vit::{Block, Config, Init, Input, Keep, Saved as VitSaved, Vit};

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
        let weight = Shape::from([config.vocab, config.vit.width]);
        let lm_head = Linear { weight, bias: Some(Shape::from([config.vocab])) };
        Self { vocab: config.vocab, vit: Vit::<Shape>::shapes(&config.vit), lm_head }
    }
}

/// The initial weight `[V, C]` of the layer that names visual tokens.
pub fn initial_token_head(config: &MimConfig, seed: u64) -> Vec<f32> {
    let (v, c) = (config.vocab, config.vit.width);
    Init::Pretraining.weights(c, v * c, &mut Stream::new(seed, 0))
}

/// What `forward` keeps for `backward`.
pub struct Saved<O: Ops> {
    vit: VitSaved<O>,
    rows: O::Ids,
    gathered: O::Tensor,
    normed: Option<(O::Tensor, O::Stats)>,
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
        let (v, c) = (config.vocab, config.vit.width);
        let weight = initial_token_head(config, seed);
        Self {
            vocab: v,
            vit: beit_vit::init(ops, &config.vit, Init::Pretraining, seed),
            lm_head: Linear { weight: ops.upload([v, c], &weight), bias: Some(ops.zeros([v])) },
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
        let (tokens, vit) = self.vit.forward_rows(ops, input, keep, Some(rows));
        // The norm works row by row, so gathering first gives the same numbers for less work.
        let gathered = ops.gather_rows(&tokens, rows);
        let eps = self.vit.config().layer_norm_eps;
        let normed = self.vit.norm.as_ref().map(|norm| ops.layer_norm_forward(&gathered, norm, eps));
        let features = normed.as_ref().map_or(&gathered, |(normed, _)| normed);
        let logits = ops.linear(features, &self.lm_head);
        (logits, Saved { vit, rows: rows.clone(), gathered, normed })
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
        let Saved { vit, rows, gathered, normed } = saved;
        let features = normed.as_ref().map_or(&gathered, |(normed, _)| normed);
        let mut d_rows = ops.linear_backward(d_logits, features, &self.lm_head, &mut grads.lm_head);
        if let (Some(norm), Some(d_norm), Some((_, stats))) = (&self.vit.norm, &mut grads.vit.norm, &normed) {
            d_rows = ops.layer_norm_backward(&d_rows, &gathered, norm, stats, d_norm);
        }
        let batch = ops.shape(input.images)[0];
        let d_tokens = ops.gather_rows_backward(&d_rows, &rows, batch * self.vit.config().tokens());
        self.vit.backward_watched(ops, input, d_tokens, vit, &mut grads.vit, finished);
    }

    /// `images -> logits [rows, V]`, keeping nothing.
    pub fn infer<O: TransformerOps<Tensor = T>>(&self, ops: &O, input: &Input<'_, T>, rows: &O::Ids) -> T {
        let tokens = self.vit.infer_rows(ops, input, Some(rows), &mut |_, _| {});
        let gathered = ops.gather_rows(&tokens, rows);
        let eps = self.vit.config().layer_norm_eps;
        let norm = |norm: &Norm<T>| ops.layer_norm(&gathered, norm, eps);
        let normed = self.vit.norm.as_ref().map(norm);
        ops.linear(normed.as_ref().unwrap_or(&gathered), &self.lm_head)
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
