//! Masked image modelling (paper §2.3, §2.5).

use super::keep;
use crate::drop_path::drop_path;
use crate::error::Result;
use crate::masked::{Masked, Recover, token_view};
use crate::meter::BASELINE;
use crate::task::{Changes, Finished, Moment, Outcome, Task};
use beit_data::{Batch, PretrainSample};
use beit_heads::Mim;
use beit_ops::{Ops, Targets, Tree};
use beit_tokenizer::VisualTokens;
use serde::Serialize;

/// Masked image modelling: cross-entropy of the visual tokens of masked patches, or of those that [`Recover`] names. The rows are those
/// patches.
#[derive(Debug)]
pub struct MaskedImages<'a, K> {
    /// Names the visual tokens: a [`VisualTokens`] of any kind.
    pub tokenizer: &'a K,
    /// Keep the inputs of the blocks only and compute the rest again: the same numbers for a third more work and a fraction of
    /// the memory.
    pub recompute: bool,
    /// Which patches are predicted.
    pub recover: Recover,
    /// The accuracy on masked patches that needs no model, see [`share_of_gap`](crate::share_of_gap); reported as `baseline`, and what was
    /// gone beyond it as `gap`, where those alone are predicted.
    pub baseline: f64,
}

/// What is written of [`MaskedImages`].
#[derive(Clone, Debug, Serialize)]
pub struct MaskedImagesSettings {
    /// A run may go on with another.
    pub(super) recompute: bool,
    /// Left out where it is what the paper does, as in the states of runs that knew nothing else.
    #[serde(skip_serializing_if = "Recover::is_usual")]
    pub(super) recover: Recover,
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
        MaskedImagesSettings { recompute: self.recompute, recover: self.recover }
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
        let masked = Masked::new(ops, vit, &batch.data, images, self.recover);
        let view = token_view(ops, vit, self.tokenizer.codebook(), &batch.data, images);
        let codes = masked.codes(ops, self.tokenizer, &view);
        let drop_path = drop_path(ops, vit, moment.seed, batch.epoch, &batch.indices);
        let input = masked.input(drop_path.as_ref());
        let rows = masked.positions.len();

        let (logits, saved) = params.forward(ops, &input, &masked.rows, keep(self.recompute, moment));
        let targets = Targets::Classes { ids: &codes, smoothing: 0.0 };
        let (metrics, lse) = ops.cross_entropy(&logits, &targets);
        let d_logits = ops.cross_entropy_backward(&logits, &targets, &lse, moment.scale(rows));
        params.backward_watched(ops, &input, &d_logits, saved, changes.grads, &mut |block| {
            finished(block.leaves())
        });
        let known = if self.recover.is_usual() { vec![(BASELINE, self.baseline)] } else { Vec::new() };
        Ok(Outcome { known, ..Outcome::new(images, rows, metrics) })
    }
}
