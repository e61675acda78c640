//! Fine-tuning for semantic segmentation (paper §2.6).

use super::keep;
use crate::drop_path::drop_path;
use crate::error::Result;
use crate::task::{Changes, Finished, Moment, Outcome, Task};
use beit_data::{Batch, Purpose, SampleRng, SegmentationSample, sample_rng};
use beit_heads::segmenter::{CHANNEL_DROPOUT, HeadRunning};
use beit_heads::{PixelMean, Pixels, Segmenter, SegmenterConfig, pixel_loss};
use beit_ops::{Ops, Tree};
use beit_vit::Input;
use rand::RngExt;
use serde::Serialize;

/// Segmentation: cross-entropy of the pixels. The rows are the pixels that the loss is a mean over.
#[derive(Clone, Copy, Debug)]
pub struct Segmentation {
    /// What the loss is a mean over.
    pub mean: PixelMean,
    /// Keep the inputs of the blocks only and compute the rest again: the same numbers for a third more work and a fraction of
    /// the memory.
    pub recompute: bool,
}

/// What is written of [`Segmentation`].
#[derive(Clone, Debug, Serialize)]
pub struct SegmentationSettings {
    /// Whether pixels without a class count in the mean.
    mean_over_all_pixels: bool,
    /// A run may go on with another.
    recompute: bool,
}

impl<O: Ops> Task<O> for Segmentation {
    type Params = Segmenter<O::Tensor>;
    type Buffers = HeadRunning<O::Tensor>;
    type Sample = SegmentationSample;
    type Settings = SegmentationSettings;

    fn phase(&self) -> &'static str {
        "finetune"
    }

    fn settings(&self) -> SegmentationSettings {
        let Self { mean, recompute } = *self;
        SegmentationSettings { mean_over_all_pixels: mean == PixelMean::All, recompute }
    }

    fn depth(&self, params: &Self::Params) -> usize {
        params.vit.config().depth
    }

    fn micro_batch(
        &self,
        ops: &O,
        params: &Self::Params,
        batch: &Batch<SegmentationSample>,
        moment: &Moment,
        changes: Changes<'_, Self::Params, Self::Buffers>,
        finished: &mut Finished<'_, O::Tensor>,
    ) -> Result<Outcome<O::Tensor>> {
        let (config, count) = (params.config(), batch.indices.len());
        let images = ops.upload(config.vit.images(count), &batch.data.pixels);
        let drop_path = drop_path(ops, &config.vit, moment.seed, batch.epoch, &batch.indices);
        let input = Input { images: &images, mask: None, drop_path: drop_path.as_ref() };
        let dropout = channel_dropout(ops, config, moment.seed, batch.epoch, &batch.indices);

        let (logits, saved) =
            params.forward(ops, &input, changes.buffers, &dropout, keep(self.recompute, moment));
        let pixels = Pixels { labels: &batch.data.labels, size: config.vit.image, classes: config.classes };
        let rows = pixels.counted(self.mean);
        let mut loss = pixel_loss(ops, &logits, &pixels, self.mean, moment.scale(rows));
        drop(logits);
        let d = (&loss.d_logits[..], &dropout[..]);
        params.backward_watched(ops, &input, d, saved, changes.grads, &mut |block| finished(block.leaves()));
        Ok(Outcome::new(count, rows, loss.metrics.swap_remove(0)))
    }
}

/// Draws which channels of which images are dropped before their classes are scored: for each head a factor `[B, channels]`, 0 with
/// the rate, else `1 / (1 - rate)`. The draws of an image depend on (seed, epoch, its index) only.
fn channel_dropout<O: Ops>(
    ops: &O,
    config: &SegmenterConfig,
    seed: u64,
    epoch: u64,
    images: &[usize],
) -> Vec<O::Tensor> {
    let mut rngs: Vec<_> =
        images.iter().map(|&image| sample_rng(seed, epoch, image as u64, Purpose::Noise)).collect();
    let mut factors = |channels: usize| {
        let draw = |rng: &mut SampleRng| {
            let kept = rng.random::<f32>() >= CHANNEL_DROPOUT;
            if kept { 1.0 / (1.0 - CHANNEL_DROPOUT) } else { 0.0 }
        };
        let all: Vec<f32> =
            rngs.iter_mut().flat_map(|rng| (0..channels).map(|_| draw(rng)).collect::<Vec<_>>()).collect();
        ops.upload([images.len(), channels], &all)
    };
    config.scored().into_iter().map(&mut factors).collect()
}
