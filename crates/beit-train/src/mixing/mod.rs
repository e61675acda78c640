//! Mixup and CutMix: every image of a micro-batch is mixed with another, and so are their labels.

use crate::error::{Error, Result};
use beit_data::SampleRng;
use rand::RngExt;
use rand_distr::{Beta, Distribution};
use serde::Serialize;
use std::ops::Range;

/// Mixup (arXiv 1710.09412) and CutMix (arXiv 1905.04899) of whole micro-batches, as timm's `Mixup` in mode `batch` (`timm/data/mixup.py`
/// of 0.3.2), which the released code uses.
///
/// Each image is mixed with the one that stands as far from the end as it from the beginning. All images of a micro-batch have one share
/// λ; that of the other image is 1 - λ. Of an odd number of images the middle one stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Mixing {
    /// α of Mixup, whose λ is drawn from Beta(α, α); 0 for none.
    pub mixup: f64,
    /// α of CutMix, whose λ is drawn from Beta(α, α); 0 for none.
    pub cutmix: f64,
    /// Probability that a micro-batch is mixed.
    pub probability: f64,
    /// Probability of CutMix where there is both.
    pub switch_probability: f64,
}

/// How the images of one micro-batch are mixed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mix {
    /// λ, what of an image and of its label stays.
    share: f64,
    /// Rows and columns that come from the other image; none where the images are averaged.
    patch: Option<[Range<usize>; 2]>,
}

impl Mixing {
    /// The recipe of pre-trained models for ImageNet-1k: α of 0.8 and 1, always, CutMix every other time (BEiT, `--mixup 0.8 --cutmix 1.0`).
    pub const STANDARD: Self = Self { mixup: 0.8, cutmix: 1.0, probability: 1.0, switch_probability: 0.5 };
    /// The least α besides 0. Below it nearly all λ are 0 or 1, which mixes nothing.
    pub const LEAST: f64 = 1e-3;
    /// The greatest α. Beyond it all λ are nearly 1/2.
    pub const MOST: f64 = 1e3;

    /// Refuses what nothing can be drawn from.
    ///
    /// # Errors
    ///
    /// [`Error::Recipe`], naming the number, what was found and what was expected.
    pub fn check(&self) -> Result<()> {
        for (name, alpha) in [("mixup", self.mixup), ("cutmix", self.cutmix)] {
            if alpha != 0.0 && !(Self::LEAST..=Self::MOST).contains(&alpha) {
                return Err(Error::Recipe(format!(
                    "{name} {alpha}: expected 0 for none, or {} to {}, found {alpha}",
                    Self::LEAST,
                    Self::MOST
                )));
            }
        }
        let probabilities =
            [("mixup-prob", self.probability), ("mixup-switch-prob", self.switch_probability)];
        match probabilities.iter().find(|(_, p)| !(0.0..=1.0).contains(p)) {
            Some((name, p)) => {
                Err(Error::Recipe(format!("{name} {p}: expected a probability of 0 to 1, found {p}")))
            }
            None => Ok(()),
        }
    }

    /// How images of `size [H, W]` are mixed. As many numbers are drawn before λ, whatever comes of them.
    pub(crate) fn draw(&self, size: [usize; 2], rng: &mut SampleRng) -> Result<Mix> {
        self.check()?;
        let [mixed, switched] = [self.probability, self.switch_probability].map(|p| rng.random::<f64>() < p);
        let cuts = self.cutmix > 0.0 && (switched || self.mixup == 0.0);
        let alpha = if cuts { self.cutmix } else { self.mixup };
        if !mixed || alpha == 0.0 {
            return Ok(Mix { share: 1.0, patch: None });
        }
        let drawn =
            Beta::new(alpha, alpha).map_err(|error| Error::Recipe(format!("Beta({alpha}): {error}")))?;
        let share = drawn.sample(rng);
        let centre = size.map(|side| rng.random_range(0..side as u64) as usize);
        Ok(if cuts { Mix::cut(size, share, centre) } else { Mix { share, patch: None } })
    }
}

impl Mix {
    /// A patch of `int(sqrt(1 - λ))` of both sides about a centre. What of it lies in the picture decides about the share.
    fn cut(size: [usize; 2], share: f64, centre: [usize; 2]) -> Self {
        let ratio = (1.0 - share).sqrt();
        let patch: [Range<usize>; 2] = std::array::from_fn(|side| {
            let half = (size[side] as f64 * ratio) as usize / 2;
            centre[side].saturating_sub(half)..(centre[side] + half).min(size[side])
        });
        let area: usize = patch.iter().map(ExactSizeIterator::len).product();
        Self { share: 1.0 - area as f64 / (size[0] * size[1]) as f64, patch: Some(patch) }
    }

    /// `images [B, C, H, W]` mixed, of pictures `width` pixels wide and `height` high.
    pub(crate) fn images(&self, images: &[f32], count: usize, [height, width]: [usize; 2]) -> Vec<f32> {
        let mut mixed = images.to_vec();
        if self.share == 1.0 || count == 0 {
            return mixed;
        }
        let each = images.len() / count;
        let others = images.chunks_exact(each).rev();
        for (image, other) in mixed.chunks_exact_mut(each).zip(others) {
            match &self.patch {
                None => average(image, other, self.share),
                Some([rows, columns]) => {
                    let planes =
                        image.chunks_exact_mut(height * width).zip(other.chunks_exact(height * width));
                    for (plane, other) in planes {
                        for row in rows.clone() {
                            let part = row * width + columns.start..row * width + columns.end;
                            plane[part.clone()].copy_from_slice(&other[part]);
                        }
                    }
                }
            }
        }
        mixed
    }

    /// The distributions `[B, classes]` of mixed labels: λ times the smoothed label of an image plus 1 - λ times that of the other.
    pub(crate) fn targets(&self, labels: &[u32], classes: usize, smoothing: f32) -> Vec<f32> {
        let off = f64::from(smoothing) / classes as f64;
        let on = (1.0 - f64::from(smoothing) + off) as f32;
        let (share, rest, off) = (self.share as f32, (1.0 - self.share) as f32, off as f32);
        let mut targets = vec![off * share + off * rest; labels.len() * classes];
        let pairs = labels.iter().zip(labels.iter().rev());
        for (row, (&own, &other)) in targets.chunks_exact_mut(classes).zip(pairs) {
            let [own, other] = [own, other].map(|label| label as usize);
            if own == other {
                row[own] = on * share + on * rest;
            } else {
                row[own] = on * share + off * rest;
                row[other] = off * share + on * rest;
            }
        }
        targets
    }
}

/// `λ image + (1 - λ) other`
fn average(image: &mut [f32], other: &[f32], share: f64) {
    let (share, rest) = (share as f32, (1.0 - share) as f32);
    image.iter_mut().zip(other).for_each(|(value, other)| *value = *value * share + other * rest);
}

#[cfg(test)]
mod tests;
