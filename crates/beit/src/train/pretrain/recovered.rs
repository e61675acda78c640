//! How a model recovers masked patches.

use beit_train::{PixelError, Record, TokenAccuracy};
use serde::Serialize;

/// How well masked patches of images that were held out were recovered, as what they were learnt to be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Recovered {
    /// As visual tokens.
    Tokens(TokenAccuracy),
    /// As pixels.
    Pixels(PixelError),
}

impl Recovered {
    /// By which the checkpoints of a run are compared.
    pub(crate) fn value(&self) -> f64 {
        match self {
            Self::Tokens(tokens) => tokens.accuracy,
            Self::Pixels(pixels) => pixels.error,
        }
    }

    /// What is written down of it.
    pub(super) fn record<'a>(&'a self, split: &'a str) -> Record<'a> {
        match self {
            Self::Tokens(tokens) => Record::Tokens { split, tokens },
            Self::Pixels(pixels) => Record::MaskedPixels { split, pixels },
        }
    }

    /// Lines for a person; `split` says which images.
    #[must_use]
    pub fn sentence(&self, split: &str) -> String {
        match self {
            Self::Tokens(tokens) => of_tokens(tokens, split),
            Self::Pixels(pixels) => of_pixels(pixels, split),
        }
    }
}

fn of_tokens(tokens: &TokenAccuracy, split: &str) -> String {
    format!(
        "masked-token accuracy on {} patches of {split} images: {:.3}, which is {:.3} of the way from {:.3} to 1\n\
         without a model: always the commonest token {:.3}, the commonest at that position {:.3}, that of the nearest visible patch {:.3}\n\
         on the {} that are not background: {:.3}, commonest token: {:.3}",
        tokens.patches,
        tokens.accuracy,
        tokens.share_of_gap(),
        tokens.baseline(),
        tokens.majority,
        tokens.position_majority,
        tokens.nearest_visible,
        tokens.content_patches,
        tokens.content_accuracy,
        tokens.content_majority,
    )
}

fn of_pixels(pixels: &PixelError, split: &str) -> String {
    format!(
        "squared error of the pixels of {} masked patches of {split} images: {:.4}, which explains {:.3} of {:.4}\n\
         without a model: the mean of the visible pixels {:.4}, the nearest visible patch {:.4}",
        pixels.patches,
        pixels.error,
        pixels.explained(),
        pixels.baseline(),
        pixels.visible_mean,
        pixels.nearest_visible,
    )
}
