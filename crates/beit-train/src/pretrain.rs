//! Masked image modelling (paper §2.3, §2.5): the loop.

use crate::drop_path::drop_path;
use crate::error::Result;
use crate::guard::Outcome;
use crate::optimiser::{Hyper, Optimiser};
use crate::steps::{Listeners, Steps, keep, one};
use beit_data::{Batch, Loader, PretrainSample};
use beit_heads::{Mim, MimConfig, masked_rows};
use beit_ops::{Ops, Targets};
use beit_tokenizer::Encoder;
use beit_vit::Input;
use serde::{Deserialize, Serialize};

/// How to pre-train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PretrainRecipe {
    /// Micro-batches whose gradients make one step.
    pub accumulate: u64,
    /// Optimiser and schedule; its `total` is the length of the run.
    pub hyper: Hyper,
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

/// A run of masked image modelling.
pub struct Pretraining<'a, O: Ops> {
    /// The device.
    pub ops: &'a O,
    /// How to train it.
    pub recipe: PretrainRecipe,
    /// Names the visual tokens.
    pub tokenizer: &'a Encoder<O::Tensor>,
    /// The parameters.
    pub params: Mim<O::Tensor>,
    /// The optimiser and its moments.
    pub optimiser: Optimiser<O::Tensor>,
}

impl<'a, O: Ops> Pretraining<'a, O> {
    /// Begins with new parameters.
    ///
    /// # Errors
    ///
    /// A configuration that describes no model.
    pub fn new(
        ops: &'a O,
        config: &MimConfig,
        recipe: PretrainRecipe,
        tokenizer: &'a Encoder<O::Tensor>,
    ) -> Result<Self> {
        config.vit.validate()?;
        let params = Mim::init(ops, config, recipe.seed);
        let optimiser = Optimiser::new(ops, &params, recipe.hyper, config.vit.depth);
        Ok(Self { ops, recipe, tokenizer, params, optimiser })
    }

    /// Trains from the optimiser's step up to step `until`.
    ///
    /// # Errors
    ///
    /// The data, the device, or a number that is not finite; the parameters are then those of the last good step.
    pub fn run(
        &mut self,
        loader: &Loader<PretrainSample>,
        until: u64,
        listeners: &mut Listeners<'_>,
    ) -> Result<()> {
        let step = Step { ops: self.ops, recipe: &self.recipe, tokenizer: self.tokenizer };
        let steps = Steps {
            phase: "pretrain",
            loader,
            accumulate: self.recipe.accumulate,
            report_every: self.recipe.report_every,
            read_every: self.recipe.read_every,
            total: self.recipe.hyper.schedule.total,
            until,
        };
        steps.run(self.ops, &mut self.params, &mut self.optimiser, listeners, |params, batch, grads, _| {
            Ok(step.micro_batch(params, &batch, grads))
        })
    }
}

/// What a step reads.
struct Step<'a, O: Ops> {
    ops: &'a O,
    recipe: &'a PretrainRecipe,
    tokenizer: &'a Encoder<O::Tensor>,
}

impl<O: Ops> Step<'_, O> {
    /// Forward and backward; the rows are the masked patches.
    fn micro_batch(
        &self,
        params: &Mim<O::Tensor>,
        batch: &Batch<PretrainSample>,
        grads: &mut Mim<O::Tensor>,
    ) -> Outcome<O::Tensor> {
        let (ops, vit) = (self.ops, params.vit.config());
        let masked = Masked::new(ops, vit, &batch.data, batch.indices.len());
        let codes = masked.codes(ops, self.tokenizer);
        let drop_path = drop_path(ops, vit, self.recipe.seed, batch.epoch, &batch.indices);
        let input = Input { images: &masked.images, mask: Some(&masked.mask), drop_path: drop_path.as_ref() };

        let (logits, saved) = params.forward(ops, &input, &masked.rows, keep(self.recipe.recompute));
        let targets = Targets::Classes { ids: &codes, smoothing: 0.0 };
        let (metrics, lse) = ops.cross_entropy(&logits, &targets);
        let scale = 1.0 / self.recipe.accumulate as f32;
        let d_logits = ops.cross_entropy_backward(&logits, &targets, &lse, scale);
        params.backward(ops, &input, &d_logits, saved, grads);
        Outcome::new(metrics, masked.positions.len())
    }
}

/// A batch on the device.
pub(crate) struct Masked<O: Ops> {
    /// `[B, 3, H, W]`
    pub(crate) images: O::Tensor,
    /// `[B, 3, h, w]`
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
        data: &beit_data::PretrainBatch,
        batch: usize,
    ) -> Self {
        let [height, width] = vit.image;
        let grid = vit.grid();
        let token_side = |axis: usize| {
            // View B has the aspect of view A: both are the token grid times a whole number of pixels.
            let area = data.token_pixels.len() / (batch * 3);
            let per_patch = ((area / (grid[0] * grid[1])) as f64).sqrt().round() as usize;
            grid[axis] * per_patch
        };
        let masks: Vec<f32> = data.masks.iter().map(|&m| f32::from(m)).collect();
        Self {
            images: ops.upload([batch, 3, height, width], &data.pixels),
            token_pixels: ops.upload([batch, 3, token_side(0), token_side(1)], &data.token_pixels),
            mask: ops.upload([batch, vit.patches()], &masks),
            rows: ops.upload_ids(&masked_rows(&data.masks, vit.patches())),
            positions: (0..data.masks.len()).filter(|&i| data.masks[i]).collect(),
        }
    }

    /// The visual tokens of the masked patches (paper §2.1), in the order of `rows`. They stay on the device.
    pub(crate) fn codes(&self, ops: &O, tokenizer: &Encoder<O::Tensor>) -> O::Ids {
        let positions: Vec<u32> = self.positions.iter().map(|&i| i as u32).collect();
        tokenizer.encode_positions(ops, &self.token_pixels, &ops.upload_ids(&positions))
    }
}
