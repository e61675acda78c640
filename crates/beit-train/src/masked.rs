//! A batch of masked image modelling on the device.

use beit_heads::masked_rows;
use beit_ops::Ops;
use beit_tokenizer::{Codebook, VisualTokens};

/// A batch on the device.
pub(crate) struct Masked<O: Ops> {
    /// `[B, C, H, W]`
    pub(crate) images: O::Tensor,
    /// `[B, C, h, w]`
    pub(crate) token_pixels: O::Tensor,
    /// `[B, N]`
    pub(crate) mask: O::Tensor,
    /// Rows of the masked patches in `[B·T, C]`.
    pub(crate) rows: O::Ids,
    /// The same patches in `[B·N]`.
    pub(crate) positions: Vec<usize>,
}

impl<O: Ops> Masked<O> {
    pub(crate) fn new(
        ops: &O,
        vit: &beit_vit::Config,
        codebook: Codebook,
        data: &beit_data::PretrainBatch,
        batch: usize,
    ) -> Self {
        let [height, width] = codebook.image(vit.grid());
        let token_view = [batch, codebook.channels, height, width];
        let masks: Vec<f32> = data.masks.iter().map(|&m| f32::from(m)).collect();
        Self {
            images: ops.upload(vit.images(batch), &data.pixels),
            token_pixels: ops.upload(token_view, &data.token_pixels),
            mask: ops.upload([batch, vit.patches()], &masks),
            rows: ops.upload_ids(&masked_rows(&data.masks, vit.patches())),
            positions: (0..data.masks.len()).filter(|&i| data.masks[i]).collect(),
        }
    }

    /// The visual tokens of the masked patches (paper §2.1), in the order of `rows`. They stay on the device.
    pub(crate) fn codes(&self, ops: &O, tokenizer: &impl VisualTokens<O>) -> O::Ids {
        let positions: Vec<u32> = self.positions.iter().map(|&i| i as u32).collect();
        tokenizer.codes_at(ops, &self.token_pixels, &ops.upload_ids(&positions))
    }
}
