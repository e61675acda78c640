//! Fine-tuning for classification (paper §2.6).

use super::keep;
use crate::drop_path::drop_path;
use crate::error::Result;
use crate::task::{Changes, Finished, Moment, Outcome, Task};
use beit_data::{Batch, LabelledSample};
use beit_heads::Classifier;
use beit_ops::{Ops, Targets, Tree};
use beit_vit::Input;
use serde::Serialize;

/// Classification: cross-entropy of the labels. The rows are the images.
#[derive(Clone, Copy, Debug)]
pub struct Classification {
    /// Label smoothing, 0.1 in every recipe of the released code.
    pub smoothing: f32,
    /// Keep the inputs of the blocks only and compute the rest again: the same numbers for a third more work and a fraction of
    /// the memory.
    pub recompute: bool,
}

/// What is written of [`Classification`].
#[derive(Clone, Debug, Serialize)]
pub struct ClassificationSettings {
    smoothing: f32,
    /// A run may go on with another.
    recompute: bool,
}

impl<O: Ops> Task<O> for Classification {
    type Params = Classifier<O::Tensor>;
    type Buffers = ();
    type Sample = LabelledSample;
    type Settings = ClassificationSettings;

    fn phase(&self) -> &'static str {
        "finetune"
    }

    fn settings(&self) -> ClassificationSettings {
        let Self { smoothing, recompute } = *self;
        ClassificationSettings { smoothing, recompute }
    }

    fn depth(&self, params: &Self::Params) -> usize {
        params.vit.config().depth
    }

    fn micro_batch(
        &self,
        ops: &O,
        params: &Self::Params,
        batch: &Batch<LabelledSample>,
        moment: &Moment,
        changes: Changes<'_, Self::Params, ()>,
        finished: &mut Finished<'_, O::Tensor>,
    ) -> Result<Outcome<O::Tensor>> {
        let (vit, rows) = (params.vit.config(), batch.indices.len());
        let images = ops.upload(vit.images(rows), &batch.data.pixels);
        let drop_path = drop_path(ops, vit, moment.seed, batch.epoch, &batch.indices);
        let input = Input { images: &images, mask: None, drop_path: drop_path.as_ref() };

        let (logits, saved) = params.forward(ops, &input, keep(self.recompute));
        let ids = ops.upload_ids(&batch.data.labels);
        let targets = Targets::Classes { ids: &ids, smoothing: self.smoothing };
        let (metrics, lse) = ops.cross_entropy(&logits, &targets);
        let d_logits = ops.cross_entropy_backward(&logits, &targets, &lse, moment.scale(rows));
        params.backward_watched(ops, &input, &d_logits, saved, changes.grads, &mut |block| {
            finished(block.leaves())
        });
        Ok(Outcome::new(rows, rows, metrics))
    }
}
