//! What a run measures, in one type.

use crate::evaluation::Accuracy;
use crate::features::FeatureReport;
use crate::pixel_error::PixelError;
use crate::progress::StepReport;
use crate::segmentation::PixelAccuracy;
use crate::spikes::Spike;
use crate::token_accuracy::TokenAccuracy;
use crate::tokenizer_quality::TokenizerQuality;
use serde::{Serialize, Serializer};
use serde_json::json;

/// Something that was measured. Written as JSON it is one line of `metrics.jsonl`, whose `phase` says which it is.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Record<'a> {
    /// Training; `phase` is the task's.
    Step(&'a StepReport),
    /// A step that was not taken: `spike`.
    Spike(&'a Spike),
    /// Frozen features of the model in training: `features`.
    Features(&'a FeatureReport),
    /// Masked image modelling on images that were held out: `evaluate_tokens`.
    Tokens {
        /// Which images.
        split: &'a str,
        /// How it did.
        tokens: &'a TokenAccuracy,
    },
    /// The pixels of masked patches of images that were held out: `evaluate_pixels`.
    MaskedPixels {
        /// Which images.
        split: &'a str,
        /// How it did.
        pixels: &'a PixelError,
    },
    /// A checkpoint, measured on images that were held out to choose one by: `checkpoint`.
    Checkpoint {
        /// The phase of the task.
        of: &'a str,
        /// Steps done in it.
        step: u64,
        /// Which images.
        split: &'a str,
        /// What was measured.
        metric: &'a str,
        /// How it did.
        value: f64,
        /// Steps done in the best so far.
        best: u64,
    },
    /// A tokenizer on images that were held out: `tokenizer_quality`.
    Tokenizer {
        /// Which images.
        split: &'a str,
        /// How it did.
        quality: &'a TokenizerQuality,
    },
    /// A classifier on images that were held out: `evaluate`.
    Classes {
        /// Which images.
        split: &'a str,
        /// How it did.
        accuracy: &'a Accuracy,
    },
    /// A segmenter on images that were held out: `evaluate`.
    Pixels {
        /// Which images.
        split: &'a str,
        /// How it did.
        accuracy: &'a PixelAccuracy,
    },
}

impl<'a> Record<'a> {
    /// The report of a training step, if it is one.
    #[must_use]
    pub const fn step(&self) -> Option<&'a StepReport> {
        match self {
            Self::Step(report) => Some(report),
            _ => None,
        }
    }
}

impl Serialize for Record<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let value = match self {
            Self::Step(report) => return report.serialize(serializer),
            Self::Spike(spike) => {
                // By the steps that are done when it is left out, as reports count them.
                json!({ "phase": "spike", "step": spike.step + 1, "of": spike.phase, "spike": spike })
            }
            Self::Features(report) => report.line(),
            Self::Tokens { split, tokens } => {
                json!({ "phase": "evaluate_tokens", "split": split, "tokens": tokens })
            }
            Self::MaskedPixels { split, pixels } => {
                json!({ "phase": "evaluate_pixels", "split": split, "pixels": pixels })
            }
            Self::Checkpoint { of, step, split, metric, value, best } => json!({
                "phase": "checkpoint", "of": of, "step": step, "split": split, "metric": metric, "value": value, "best": best
            }),
            Self::Tokenizer { split, quality } => {
                json!({ "phase": "tokenizer_quality", "split": split, "quality": quality })
            }
            Self::Classes { split, accuracy } => {
                json!({ "phase": "evaluate", "split": split, "accuracy": accuracy })
            }
            Self::Pixels { split, accuracy } => {
                json!({ "phase": "evaluate", "split": split, "accuracy": accuracy })
            }
        };
        value.serialize(serializer)
    }
}
