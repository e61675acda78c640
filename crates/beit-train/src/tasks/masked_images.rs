//! Masked image modelling (paper §2.3, §2.5).

use super::keep;
use crate::drop_path::drop_path;
use crate::error::Result;
use crate::masked::Masked;
use crate::meter::BASELINE;
use crate::task::{Changes, Finished, Moment, Outcome, Task};
use beit_data::{Batch, PretrainSample};
use beit_heads::Mim;
use beit_ops::{Ops, Targets, Tree};
use beit_tokenizer::VisualTokens;
use beit_vit::Input;
use serde::Serialize;

/// Masked image modelling: cross-entropy of the visual tokens of masked patches. The rows are those patches.
#[derive(Debug)]
pub struct MaskedImages<'a, K> {
    /// Names the visual tokens: a [`VisualTokens`] of any kind.
    pub tokenizer: &'a K,
    /// Keep the inputs of the blocks only and compute the rest again: the same numbers for a third more work and a fraction of
    /// the memory.
    pub recompute: bool,
    /// The accuracy that needs no model, see [`share_of_gap`](crate::share_of_gap); reported as `baseline`, and what was gone beyond it as `gap`.
    pub baseline: f64,
}

/// What is written of [`MaskedImages`].
#[derive(Clone, Debug, Serialize)]
pub struct MaskedImagesSettings {
    /// A run may go on with another.
    recompute: bool,
}

impl<O: Ops, K: VisualTokens<O>> Task<O> for MaskedImages<'_, K> {
    type Params = Mim<O::Tensor>;
    type Buffers = ();
    type Sample = PretrainSample;
    type Settings = MaskedImagesSettings;

    fn phase(&self) -> &'static str {
        "pretrain"
    }

    fn settings(&self) -> MaskedImagesSettings {
        MaskedImagesSettings { recompute: self.recompute }
    }

    fn depth(&self, params: &Self::Params) -> usize {
        params.vit.config().depth
    }

    fn micro_batch(
        &self,
        ops: &O,
        params: &Self::Params,
        batch: &Batch<PretrainSample>,
        moment: &Moment,
        changes: Changes<'_, Self::Params, ()>,
        finished: &mut Finished<'_, O::Tensor>,
    ) -> Result<Outcome<O::Tensor>> {
        let (vit, images) = (params.vit.config(), batch.indices.len());
        let masked = Masked::new(ops, vit, self.tokenizer.codebook(), &batch.data, images);
        let codes = masked.codes(ops, self.tokenizer);
        let drop_path = drop_path(ops, vit, moment.seed, batch.epoch, &batch.indices);
        let input = Input { images: &masked.images, mask: Some(&masked.mask), drop_path: drop_path.as_ref() };
        let rows = masked.positions.len();

        let (logits, saved) = params.forward(ops, &input, &masked.rows, keep(self.recompute, moment));
        let targets = Targets::Classes { ids: &codes, smoothing: 0.0 };
        let (metrics, lse) = ops.cross_entropy(&logits, &targets);
        let d_logits = ops.cross_entropy_backward(&logits, &targets, &lse, moment.scale(rows));
        params.backward_watched(ops, &input, &d_logits, saved, changes.grads, &mut |block| {
            finished(block.leaves())
        });
        let known = vec![(BASELINE, self.baseline)];
        Ok(Outcome { known, ..Outcome::new(images, rows, metrics) })
    }
}
