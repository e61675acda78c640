//! One step of masked image modelling on any device, for the goldens of gradients and of training.

use beit_heads::{Mim, MimConfig, masked_rows};
use beit_ops::{Ops, Targets, Tree};
use beit_vit::{Input, Keep};

/// A batch of a golden.
pub struct Batch<O: Ops> {
    /// `[B, 3, H, W]`
    pub images: O::Tensor,
    /// `[B, N]`
    pub masks: Vec<bool>,
    /// A visual token for each masked patch.
    pub labels: Vec<u32>,
}

/// What a step computes.
pub struct Step<T> {
    /// The mean over the masked patches.
    pub loss: f32,
    /// The share of masked patches whose token was found.
    pub accuracy: f32,
    /// Of the loss.
    pub gradients: Mim<T>,
}

impl<O: Ops> Batch<O> {
    /// The masks as the model takes them.
    pub fn mask(&self, ops: &O, patches: usize) -> O::Tensor {
        let values: Vec<f32> = self.masks.iter().map(|&masked| f32::from(u8::from(masked))).collect();
        ops.upload([self.masks.len() / patches, patches], &values)
    }

    /// Forward and backward.
    ///
    /// # Panics
    ///
    /// If the device fails.
    pub fn step(&self, ops: &O, config: &MimConfig, model: &Mim<O::Tensor>) -> Step<O::Tensor> {
        let mask = self.mask(ops, config.vit.patches());
        let rows = ops.upload_ids(&masked_rows(&self.masks, config.vit.patches()));
        let ids = ops.upload_ids(&self.labels);
        let targets = Targets::Classes { ids: &ids, smoothing: 0.0 };
        let input = Input { images: &self.images, mask: Some(&mask), drop_path: None };

        let (logits, saved) = model.forward(ops, &input, &rows, Keep::ALL);
        let (metrics, lse) = ops.cross_entropy(&logits, &targets);
        let d_logits = ops.cross_entropy_backward(&logits, &targets, &lse, 1.0);
        let mut gradients = model.map(&mut |param| ops.zeros(ops.shape(param)));
        model.backward(ops, &input, &d_logits, saved, &mut gradients);

        let metrics = ops.read(&metrics).expect("the device works");
        Step { loss: metrics[0], accuracy: metrics[1] / self.labels.len() as f32, gradients }
    }
}
