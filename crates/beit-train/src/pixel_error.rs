//! Error of the pixels drawn for masked patches.

use crate::error::{Error, Result};
use crate::masked::{Masked, Recover};
use crate::ranks::{Communicator, share_batches};
use crate::token_accuracy::nearest_visible;
use beit_data::{Batch, Loader, PretrainSample};
use beit_heads::{PixelMim, patch_values};
use beit_ops::Ops;
use serde::{Deserialize, Serialize};

/// How well the pixels of masked patches were drawn, beside what needs no model: means of squared differences of the pixels that a
/// transformer sees, which are normalised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PixelError {
    /// Masked patches.
    pub patches: usize,
    /// Of what was drawn.
    pub error: f64,
    /// Of the mean of all visible pixels of the image, channel by channel.
    pub visible_mean: f64,
    /// Of the nearest visible patch. Of several the first is taken, row by row.
    pub nearest_visible: f64,
}

impl PixelError {
    /// The least error that needs no model.
    #[must_use]
    pub fn baseline(&self) -> f64 {
        self.visible_mean.min(self.nearest_visible)
    }

    /// How much of the [baseline](Self::baseline)'s error is gone: 1 where every pixel is right, below 0 where the model does worse.
    #[must_use]
    pub fn explained(&self) -> f64 {
        if self.baseline() > 0.0 { 1.0 - self.error / self.baseline() } else { 0.0 }
    }
}

/// Sums over the masked patches of a batch.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
struct Found {
    patches: usize,
    /// Of the squared differences of what was drawn, of the mean, of the nearest patch.
    sums: [f64; 3],
}

/// Draws the masked patches of every image of a loader. Several ranks take turns, and all of them return what a single one would, to the
/// bit.
///
/// # Errors
///
/// The data or the device.
pub fn evaluate_pixel_errors<O: Ops>(
    ranks: &mut dyn Communicator,
    ops: &O,
    params: &PixelMim<O::Tensor>,
    loader: &Loader<PretrainSample>,
) -> Result<PixelError> {
    let (vit, mut all) = (params.vit.config(), Found::default());
    let values = patch_values(vit);
    let find = |batch: &Batch<PretrainSample>| {
        let masked = Masked::new(ops, vit, &batch.data, batch.indices.len(), Recover::Masked);
        let drawn = ops.read(&params.infer(ops, &masked.input(None), &masked.rows))?;
        let patches = ops.read(&ops.patchify(&masked.images, vit.patch))?;
        let image = vit.patches();
        let shown = |n: usize| Shown {
            patches: &patches[n * image * values..][..image * values],
            mask: &batch.data.masks[n * image..][..image],
            cols: vit.grid()[1],
            channels: vit.channels,
        };
        let mut found = Found { patches: masked.positions.len(), sums: [0.0; 3] };
        let mut drawn = drawn.chunks_exact(values);
        for n in 0..batch.indices.len() {
            shown(n).compare(&mut drawn, &mut found.sums);
        }
        Ok::<_, Error>(found)
    };
    share_batches(ranks, loader, 0..loader.batches_per_epoch(), find, |_, found| {
        all.patches += found.patches;
        all.sums.iter_mut().zip(found.sums).for_each(|(sum, more)| *sum += more);
        Ok(())
    })?;
    let [error, visible_mean, nearest_visible] =
        all.sums.map(|sum| sum / (all.patches.max(1) * values) as f64);
    Ok(PixelError { patches: all.patches, error, visible_mean, nearest_visible })
}

/// An image in patches `[N, channels·h·w]`, of which some are masked.
struct Shown<'a> {
    patches: &'a [f32],
    mask: &'a [bool],
    cols: usize,
    channels: usize,
}

impl Shown<'_> {
    /// Adds the squared differences of each masked patch: to the next that was drawn, to the mean of the visible ones, and to the nearest
    /// visible one.
    fn compare<'d>(&self, drawn: &mut impl Iterator<Item = &'d [f32]>, sums: &mut [f64; 3]) {
        let mean = self.visible_mean();
        for n in (0..self.mask.len()).filter(|&n| self.mask[n]) {
            let wanted = self.patch(n);
            let nearest = nearest_visible(n, self.mask, self.cols).map_or(&*mean, |near| self.patch(near));
            let drawn = drawn.next().unwrap_or_default();
            for (sum, given) in sums.iter_mut().zip([drawn, &mean, nearest]) {
                *sum += squared_difference(given, wanted);
            }
        }
    }

    fn patch(&self, n: usize) -> &[f32] {
        let values = self.patches.len() / self.mask.len();
        &self.patches[n * values..][..values]
    }

    /// A patch that has the mean of the visible pixels of each channel; 0 where none is visible.
    fn visible_mean(&self) -> Vec<f32> {
        let values = self.patches.len() / self.mask.len();
        let plane = values / self.channels;
        let visible: Vec<usize> = (0..self.mask.len()).filter(|&n| !self.mask[n]).collect();
        let of_channel = |channel: usize| {
            let pixels = visible.iter().flat_map(|&n| &self.patch(n)[channel * plane..][..plane]);
            let sum: f64 = pixels.map(|&pixel| f64::from(pixel)).sum();
            (sum / (visible.len() * plane).max(1) as f64) as f32
        };
        (0..self.channels).flat_map(|channel| std::iter::repeat_n(of_channel(channel), plane)).collect()
    }
}

fn squared_difference(given: &[f32], wanted: &[f32]) -> f64 {
    given.iter().zip(wanted).map(|(&a, &b)| f64::from(a - b).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three patches in a row, of two channels of two pixels; the second is masked, and the third.
    const PATCHES: [f32; 12] = [1.0, 3.0, -1.0, 1.0, 2.0, 2.0, 0.0, 0.0, 5.0, 3.0, 1.0, 1.0];

    #[test]
    fn differences_by_hand() {
        let image = Shown { patches: &PATCHES, mask: &[false, true, true], cols: 3, channels: 2 };
        assert_eq!(image.visible_mean(), [2.0, 2.0, 0.0, 0.0]);
        let (drawn, mut sums) = ([[2.0, 2.0, 0.0, 1.0], [5.0, 3.0, 1.0, 1.0]], [0.0; 3]);
        image.compare(&mut drawn.iter().map(<[f32; 4]>::as_slice), &mut sums);
        // The mean is the second patch, and differs from the third by 3, 1, 1, 1; the first from the second by 1 each.
        assert_eq!(sums, [1.0, 12.0, 4.0 + (16.0 + 4.0)]);
    }

    #[test]
    fn what_is_explained() {
        let found = PixelError { patches: 1, error: 0.5, visible_mean: 2.0, nearest_visible: 1.0 };
        assert_eq!((found.baseline(), found.explained()), (1.0, 0.5));
        assert_eq!(PixelError::default().explained(), 0.0);
    }
}
