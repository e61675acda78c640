//! The loss of a segmenter: cross-entropy of every pixel that has a class.

use super::setr::sides;
use alloc::vec::Vec;
use beit_ops::{Corners, Ops, Targets};

/// What the loss is a mean over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PixelMean {
    /// The pixels that have a class (PyTorch, transformers).
    #[default]
    Labelled,
    /// All pixels: those without a class add nothing and are counted (mmsegmentation 0.11, which the released code is built on).
    All,
}

/// The weight of the loss of an auxiliary head.
pub const AUXILIARY_WEIGHT: f32 = 0.4;

/// Labels of the pixels of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Pixels<'a> {
    /// `[B · height · width]`; numbers that are no class are ignored.
    pub labels: &'a [u32],
    /// Height and width.
    pub size: [usize; 2],
    /// Number of classes.
    pub classes: usize,
}

impl Pixels<'_> {
    /// How many pixels have a class.
    #[must_use]
    pub fn labelled(&self) -> usize {
        self.labels.iter().filter(|&&label| (label as usize) < self.classes).count()
    }

    /// What a sum over pixels is divided by.
    #[must_use]
    pub fn counted(&self, mean: PixelMean) -> usize {
        match mean {
            PixelMean::Labelled => self.labelled().max(1),
            PixelMean::All => self.labels.len(),
        }
    }
}

/// The losses of a segmenter, and their gradients.
#[derive(Debug)]
pub struct PixelLoss<T> {
    /// `[mean loss, pixels that are right]` of the head, then of each auxiliary head.
    pub metrics: Vec<T>,
    /// The gradients of all logits, of `scale` times the weighed sum of the losses.
    pub d_logits: Vec<T>,
}

/// Cross-entropy of logits `[B, ., ., V]`, enlarged to the size of the labels: those of the head, then those of auxiliary heads, which
/// weigh [`AUXILIARY_WEIGHT`].
pub fn pixel_loss<O: Ops>(
    ops: &O,
    logits: &[O::Tensor],
    pixels: &Pixels<'_>,
    mean: PixelMean,
    scale: f32,
) -> PixelLoss<O::Tensor> {
    let ids = ops.upload_ids(pixels.labels);
    let targets = Targets::Labels { ids: &ids, counted: pixels.counted(mean) };
    let each = logits.iter().enumerate().map(|(i, small)| {
        let weight = if i == 0 { 1.0 } else { AUXILIARY_WEIGHT };
        let from = sides(ops, small, 1);
        let resized = (from != pixels.size).then(|| ops.resize(small, pixels.size, Corners::Edges));
        let large = resized.as_ref().unwrap_or(small);
        let shape = ops.shape(large);
        let (metrics, lse) = ops.cross_entropy(large, &targets);
        let d = ops.cross_entropy_backward(large, &targets, &lse, weight * scale);
        let d = ops.reshape(d, shape);
        let d = if from == pixels.size { d } else { ops.resize_backward(&d, from, Corners::Edges) };
        (metrics, d)
    });
    let (metrics, d_logits) = each.unzip();
    PixelLoss { metrics, d_logits }
}
