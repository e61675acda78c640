//! Fine-tuning for classification (paper §2.6).

use super::keep;
use crate::drop_path::drop_path;
use crate::error::Result;
use crate::mixing::{Mix, Mixing};
use crate::task::{Changes, Finished, Moment, Outcome, Task};
use beit_data::{Batch, LabelledSample, Purpose, sample_rng};
use beit_heads::Classifier;
use beit_ops::{Ops, Targets, Tree};
use beit_vit::Input;
use serde::Serialize;

/// Classification: cross-entropy of the labels. The rows are the images.
#[derive(Clone, Copy, Debug)]
pub struct Classification {
    /// Label smoothing, 0.1 in every recipe of the released code.
    pub smoothing: f32,
    /// Mixup and CutMix. Then the right answer of an image is the label that has the larger share of it.
    pub mixing: Option<Mixing>,
    /// Keep the inputs of the blocks only and compute the rest again: the same numbers for a third more work and a fraction of
    /// the memory.
    pub recompute: bool,
}

/// What is written of [`Classification`].
#[derive(Clone, Debug, Serialize)]
pub struct ClassificationSettings {
    smoothing: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    mixing: Option<Mixing>,
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
        let Self { smoothing, mixing, recompute } = *self;
        ClassificationSettings { smoothing, mixing, recompute }
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
        let mix = self.mix(vit.image, moment)?;
        let images = match &mix {
            Some(mix) => ops.upload(vit.images(rows), &mix.images(&batch.data.pixels, rows, vit.image)),
            None => ops.upload(vit.images(rows), &batch.data.pixels),
        };
        let drop_path = drop_path(ops, vit, moment.seed, batch.epoch, &batch.indices);
        let input = Input { images: &images, mask: None, drop_path: drop_path.as_ref() };

        let (logits, saved) = params.forward(ops, &input, keep(self.recompute, moment));
        let right = Right::new(ops, &batch.data.labels, ops.shape(&logits)[1], self.smoothing, mix.as_ref());
        let targets = right.targets(self.smoothing);
        let (metrics, lse) = ops.cross_entropy(&logits, &targets);
        let d_logits = ops.cross_entropy_backward(&logits, &targets, &lse, moment.scale(rows));
        params.backward_watched(ops, &input, &d_logits, saved, changes.grads, &mut |block| {
            finished(block.leaves())
        });
        Ok(Outcome::new(rows, rows, metrics))
    }
}

impl Classification {
    /// How the micro-batch is mixed, a function of the seed and its number.
    fn mix(&self, size: [usize; 2], moment: &Moment) -> Result<Option<Mix>> {
        let mut rng = sample_rng(moment.seed, 0, moment.number, Purpose::Mix);
        self.mixing.map(|mixing| mixing.draw(size, &mut rng)).transpose()
    }
}

/// The right answers, on the device.
enum Right<O: Ops> {
    Labels(O::Ids),
    Mixed(O::Tensor),
}

impl<O: Ops> Right<O> {
    fn new(ops: &O, labels: &[u32], classes: usize, smoothing: f32, mix: Option<&Mix>) -> Self {
        match mix {
            Some(mix) => {
                let targets = mix.targets(labels, classes, smoothing);
                Self::Mixed(ops.upload([labels.len(), classes], &targets))
            }
            None => Self::Labels(ops.upload_ids(labels)),
        }
    }

    fn targets(&self, smoothing: f32) -> Targets<'_, O> {
        match self {
            Self::Labels(ids) => Targets::Classes { ids, smoothing },
            Self::Mixed(targets) => Targets::Probabilities(targets),
        }
    }
}
