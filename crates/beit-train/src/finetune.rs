//! Fine-tuning for classification (paper §2.6): the loop.

use crate::drop_path::drop_path;
use crate::error::Result;
use crate::guard::Outcome;
use crate::optimiser::{Hyper, Optimiser};
use crate::steps::{Listeners, Steps, keep, one};
use beit_data::{Batch, LabelledSample, Loader};
use beit_heads::Classifier;
use beit_ops::{Ops, Targets};
use beit_vit::Input;
use serde::{Deserialize, Serialize};

/// How to fine-tune.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FinetuneRecipe {
    /// Micro-batches whose gradients make one step.
    pub accumulate: u64,
    /// Optimiser and schedule; its `total` is the length of the run.
    pub hyper: Hyper,
    /// Label smoothing, 0.1 in every recipe of the released code.
    pub smoothing: f32,
    /// Steps between two reports.
    pub report_every: u64,
    /// Steps after which losses and norms are read from the device together, 1 where reading costs no wait. A step that is not
    /// finite is not taken; it ends the run when it is read.
    #[serde(default = "one")]
    pub read_every: u64,
    /// Keep the inputs of the blocks only and compute the rest again: the same numbers for a third more work and a fraction of
    /// the memory.
    #[serde(default)]
    pub recompute: bool,
    /// Key of everything random.
    pub seed: u64,
}

/// A run of supervised training.
pub struct Finetuning<'a, O: Ops> {
    /// The device.
    pub ops: &'a O,
    /// How to train it.
    pub recipe: FinetuneRecipe,
    /// The parameters.
    pub params: Classifier<O::Tensor>,
    /// The optimiser and its moments.
    pub optimiser: Optimiser<O::Tensor>,
}

impl<'a, O: Ops> Finetuning<'a, O> {
    /// Begins with these parameters.
    pub fn new(ops: &'a O, recipe: FinetuneRecipe, params: Classifier<O::Tensor>) -> Self {
        let optimiser = Optimiser::new(ops, &params, recipe.hyper, params.vit.config().depth);
        Self { ops, recipe, params, optimiser }
    }

    /// Trains from the optimiser's step up to step `until`.
    ///
    /// # Errors
    ///
    /// The data, the device, or a number that is not finite; the parameters are then those of the last good step.
    pub fn run(
        &mut self,
        loader: &Loader<LabelledSample>,
        until: u64,
        listeners: &mut Listeners<'_>,
    ) -> Result<()> {
        let step = Step { ops: self.ops, recipe: &self.recipe };
        let steps = Steps {
            phase: "finetune",
            loader,
            accumulate: self.recipe.accumulate,
            report_every: self.recipe.report_every,
            read_every: self.recipe.read_every,
            total: self.recipe.hyper.schedule.total,
            until,
        };
        steps.run(self.ops, &mut self.params, &mut self.optimiser, listeners, |params, batch, grads, _| {
            Ok(Outcome::new(step.micro_batch(params, &batch, grads), batch.indices.len()))
        })
    }
}

/// What a step reads.
struct Step<'a, O: Ops> {
    ops: &'a O,
    recipe: &'a FinetuneRecipe,
}

impl<O: Ops> Step<'_, O> {
    /// Forward and backward; returns `[mean loss, right]`.
    fn micro_batch(
        &self,
        params: &Classifier<O::Tensor>,
        batch: &Batch<LabelledSample>,
        grads: &mut Classifier<O::Tensor>,
    ) -> O::Tensor {
        let (ops, vit) = (self.ops, params.vit.config());
        let [height, width] = vit.image;
        let images = ops.upload([batch.indices.len(), 3, height, width], &batch.data.pixels);
        let drop_path = drop_path(ops, vit, self.recipe.seed, batch.epoch, &batch.indices);
        let input = Input { images: &images, mask: None, drop_path: drop_path.as_ref() };

        let (logits, saved) = params.forward(ops, &input, keep(self.recipe.recompute));
        let ids = ops.upload_ids(&batch.data.labels);
        let targets = Targets::Classes { ids: &ids, smoothing: self.recipe.smoothing };
        let (metrics, lse) = ops.cross_entropy(&logits, &targets);
        let scale = 1.0 / self.recipe.accumulate as f32;
        let d_logits = ops.cross_entropy_backward(&logits, &targets, &lse, scale);
        params.backward(ops, &input, &d_logits, saved, grads);
        metrics
    }
}
