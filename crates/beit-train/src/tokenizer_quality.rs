//! How good a tokenizer is.

use crate::error::{Error, Result};
use crate::guard::broken_row;
use crate::position_usage::PositionUsage;
use crate::token_accuracy::share_of_gap;
use beit_data::Loader;
use beit_ops::Ops;
use beit_tokenizer::{Usage, VisualTokens, pixels};
use serde::{Serialize, Serializer};
use serde_json::json;

/// How good a tokenizer is on some images.
#[derive(Clone, Debug)]
pub struct TokenizerQuality {
    /// Images measured.
    pub images: usize,
    /// How often each token occurs.
    pub usage: Usage,
    /// Share of patches whose token is the commonest one at their position: the accuracy of naming that.
    pub position_majority: f64,
    /// Share of patches whose token is also that of the patch to their left. Where it is near 1, tokens say nothing that a
    /// neighbour does not.
    pub repeated: f64,
    /// What pictures of the tokens are like, if the tokenizer draws.
    pub pixels: Option<PixelQuality>,
}

/// How well images are drawn from their hard tokens. Pixels are in 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PixelQuality {
    /// Mean absolute difference between images and their reconstruction.
    pub mean_absolute_error: f64,
    /// Share of the variance of pixels about the mean colour that the reconstructions explain.
    pub explained_variance: f64,
    /// The same share by the mean image, which knows the position alone.
    pub explained_by_position: f64,
}

/// Tokens whose perplexity is below this share of the vocabulary are of no use as targets.
const LEAST_PERPLEXITY: f64 = 0.01;
/// Nor are those whose perplexity is below this, however small the vocabulary is.
const LEAST_TOKENS: f64 = 4.0;
/// Nor where more than this share of patches has the token of the patch to its left.
const MOST_REPEATED: f64 = 0.95;
/// Nor where less than this share is explained of the variance that the position does not explain. K-means has above 0.8 of
/// photographs, and 0.04 of noise in tokens of 8x8 pixels.
const LEAST_EXPLAINED: f64 = 0.3;

impl TokenizerQuality {
    /// Why these tokens are of no use as targets of pre-training, if they are not: what was found and what is expected.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let (vocab, perplexity) = (self.usage.counts().len(), self.usage.perplexity());
        let least = (LEAST_PERPLEXITY * vocab as f64).max(LEAST_TOKENS.min(vocab as f64 / 2.0));
        if perplexity < least {
            let used = self.usage.used();
            return Some(format!(
                "{used} of {vocab} tokens are used, perplexity {perplexity:.1}, expected at least {least:.1}"
            ));
        }
        if self.repeated > MOST_REPEATED {
            let found = self.repeated;
            return Some(format!(
                "{found:.3} of the patches have the token of the patch beside them, expected at most {MOST_REPEATED}: a neighbour gives away what is masked"
            ));
        }
        self.pixels.and_then(|pixels| pixels.fault())
    }
}

impl PixelQuality {
    fn fault(&self) -> Option<String> {
        let Self { explained_variance, explained_by_position, .. } = *self;
        let share = share_of_gap(explained_variance, explained_by_position);
        (share < LEAST_EXPLAINED).then(|| {
            format!(
                "the tokens explain {explained_variance:.3} of the pixels' variance, the position alone {explained_by_position:.3}; expected {LEAST_EXPLAINED} of what it leaves"
            )
        })
    }
}

/// The fields of `pixels` where it draws, and `images`, `position_majority`, `repeated`, and of the usage `vocab`, `used`, `perplexity`,
/// `majority` and the `counts` of all tokens.
impl Serialize for TokenizerQuality {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut value = json!({
            "images": self.images,
            "vocab": self.usage.counts().len(),
            "used": self.usage.used(),
            "perplexity": self.usage.perplexity(),
            "majority": self.usage.majority(),
            "position_majority": self.position_majority,
            "repeated": self.repeated,
            "counts": self.usage.counts(),
        });
        if let Some(pixels) = self.pixels {
            value["mean_absolute_error"] = pixels.mean_absolute_error.into();
            value["explained_variance"] = pixels.explained_variance.into();
            value["explained_by_position"] = pixels.explained_by_position.into();
        }
        value.serialize(serializer)
    }
}

/// Encodes every image, and draws it where the tokenizer draws, of a loader of `[B, C, height, width]`.
///
/// # Errors
///
/// The data, the device, or logits that are not finite.
pub fn tokenizer_quality<O: Ops>(
    ops: &O,
    tokenizer: &impl VisualTokens<O>,
    image: [usize; 2],
    loader: &Loader<Vec<f32>>,
) -> Result<TokenizerQuality> {
    let codebook = tokenizer.codebook();
    let grid = codebook.grid(image)?;
    let mut tokens = PositionUsage::new(codebook.vocab, grid);
    let (mut images, mut sums) = (0, PixelSums::new(codebook.channels, image[0] * image[1]));
    for batch in loader.epoch(0)? {
        let batch = batch?;
        let b = batch.indices.len();
        let pixels = ops.upload([b, codebook.channels, image[0], image[1]], &batch.data);
        let logits = tokenizer.logits(ops, &pixels);
        if let Some(row) = broken_row(ops, &logits)? {
            return Err(Error::VisualTokens { image: batch.indices[row / (grid[0] * grid[1])] });
        }
        let codes = ops.read_ids(&ops.argmax_rows(&logits))?;
        if let Some(decoded) = tokenizer.pictures(ops, &codes, grid)? {
            sums.add(&batch.data, &decoded);
        }
        tokens.add(&codes);
        images += b;
    }
    Ok(TokenizerQuality {
        images,
        position_majority: tokens.position_majority(),
        repeated: tokens.repeated(),
        usage: tokens.into_usage(),
        pixels: tokenizer.draws().then(|| sums.quality()),
    })
}

/// Sums over images from which shares of variance follow.
struct PixelSums {
    channels: usize,
    images: usize,
    absolute: f64,
    squares: f64,
    /// Of each element of an image `[channels, height · width]`: the sum of its values and of their squares.
    elements: Vec<[f64; 2]>,
}

impl PixelSums {
    fn new(channels: usize, area: usize) -> Self {
        Self { channels, images: 0, absolute: 0.0, squares: 0.0, elements: vec![[0.0; 2]; channels * area] }
    }

    /// Adds images, mapped for a tokenizer, and their reconstructions in 0 to 1.
    fn add(&mut self, mapped: &[f32], decoded: &[f32]) {
        let size = self.elements.len();
        for (mapped, decoded) in mapped.chunks_exact(size).zip(decoded.chunks_exact(size)) {
            self.images += 1;
            for ((sums, &mapped), &decoded) in self.elements.iter_mut().zip(mapped).zip(decoded) {
                let value = f64::from(pixels::unmap(mapped));
                let difference = value - f64::from(decoded);
                self.absolute += difference.abs();
                self.squares += difference * difference;
                sums[0] += value;
                sums[1] += value * value;
            }
        }
    }

    fn quality(&self) -> PixelQuality {
        let elements = self.images.max(1) * self.elements.len();
        let area = self.elements.len() / self.channels;
        // Squares about the mean of a channel, and about the mean of each element.
        let about = |sums: &[[f64; 2]], count: usize| {
            let [sum, squares] = sums.iter().fold([0.0; 2], |a, b| [a[0] + b[0], a[1] + b[1]]);
            squares - sum * sum / count.max(1) as f64
        };
        let by_channel = self.elements.chunks_exact(area).map(|plane| about(plane, self.images * area)).sum();
        let by_element: f64 = self.elements.iter().map(|sums| about(&[*sums], self.images)).sum();
        PixelQuality {
            mean_absolute_error: self.absolute / elements as f64,
            explained_variance: explained(self.squares, by_channel),
            explained_by_position: explained(by_element, by_channel),
        }
    }
}

/// `1 - rest / all`; of nothing, nothing is explained. Rounding of the sums leaves a little where there is nothing.
fn explained(rest: f64, all: f64) -> f64 {
    if all > 1e-9 { 1.0 - rest / all } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_variance() {
        // Two images of one channel and two pixels; in 0 to 1 they are [0, 1] and [0.5, 1].
        let mapped = [0.0, 1.0, 0.5, 1.0].map(pixels::map);
        let mut sums = PixelSums::new(1, 2);
        sums.add(&mapped, &[0.0, 1.0, 0.25, 1.0]);
        let quality = sums.quality();
        // About the mean 0.625 the squares add up to 0.6875, about each pixel's mean to 0.125; the reconstruction misses 0.0625.
        let near = |found: f64, wanted: f64| assert!((found - wanted).abs() < 1e-5, "{found} {wanted}");
        near(quality.mean_absolute_error, 0.0625);
        near(quality.explained_variance, 1.0 - 0.0625 / 0.6875);
        near(quality.explained_by_position, 1.0 - 0.125 / 0.6875);
    }

    fn quality(codes: &[u32], vocab: usize, explained: [f64; 2]) -> TokenizerQuality {
        let mut tokens = PositionUsage::new(vocab, [1, codes.len()]);
        tokens.add(codes);
        let [explained_variance, explained_by_position] = explained;
        TokenizerQuality {
            images: 1,
            position_majority: tokens.position_majority(),
            repeated: tokens.repeated(),
            usage: tokens.into_usage(),
            pixels: Some(PixelQuality { explained_variance, explained_by_position, ..Default::default() }),
        }
    }

    #[test]
    fn worthless_tokens_are_named() {
        let alternating: Vec<u32> = (0..256).map(|i| i % 64).collect();
        assert_eq!(quality(&alternating, 256, [0.8, 0.2]).fault(), None);
        let fault = |quality: TokenizerQuality| quality.fault().expect("a fault");
        assert!(
            fault(quality(&[7; 256], 256, [0.9, 0.0]))
                .starts_with("1 of 256 tokens are used, perplexity 1.0")
        );
        let runs: Vec<u32> = (0..6400).map(|i| i / 100).collect();
        assert!(fault(quality(&runs, 64, [0.9, 0.0])).contains("a neighbour gives away"));
        assert!(fault(quality(&alternating, 256, [0.6, 0.5])).contains("the position alone 0.500"));
    }

    #[test]
    fn images_without_contrast_explain_nothing() {
        let mut sums = PixelSums::new(3, 4);
        sums.add(&[0.5; 24], &[0.5; 24]);
        assert_eq!(sums.quality().explained_variance, 0.0);
    }
}
