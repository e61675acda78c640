//! What frozen features of a model in training are worth.

use crate::peak::Peak;
use serde_json::{Value, json};

/// How well a simple judge tells classes apart by the features of each block, after so many steps of training without labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FeatureReport {
    /// The phase of the task.
    pub of: &'static str,
    /// Optimiser steps done.
    pub step: u64,
    /// Labelled images to learn from, and others to judge by.
    pub images: [usize; 2],
    /// The accuracy with the pixels, where they were not too many.
    pub pixels: Option<f64>,
    /// The accuracy with each block, of the weights of the last step.
    pub blocks: Vec<f64>,
    /// The same of the average of the weights, where there is one.
    pub average: Option<Vec<f64>>,
    /// What it took.
    pub seconds: f64,
}

impl FeatureReport {
    /// How accuracy goes over the blocks; none without a block.
    #[must_use]
    pub fn peak(&self) -> Option<Peak> {
        Peak::of(&self.blocks, self.images[1])
    }

    /// The line of `metrics.jsonl`: every number has a name of its own.
    pub(crate) fn line(&self) -> Value {
        let Self { of, step, images, pixels, seconds, .. } = self;
        let mut line =
            json!({ "phase": FEATURES, "of": of, "step": step, "images": images, "seconds": seconds });
        if let Some(pixels) = pixels {
            line["pixels"] = json!(pixels);
        }
        let weights = [("", Some(&self.blocks)), ("average_", self.average.as_ref())];
        for (prefix, blocks) in weights.into_iter().filter_map(|(prefix, blocks)| Some((prefix, blocks?))) {
            let Some(Peak { best_block, best, last, .. }) = Peak::of(blocks, images[1]) else { continue };
            line[format!("{prefix}best_block")] = json!(best_block);
            line[format!("{prefix}best_layer")] = json!(best);
            line[format!("{prefix}last_layer")] = json!(last);
            let named =
                (1..).zip(blocks).map(|(block, value)| (format!("{prefix}block_{block}"), json!(value)));
            line[format!("{prefix}blocks")] = Value::Object(named.collect());
        }
        line
    }
}

/// The phase of these lines.
pub(crate) const FEATURES: &str = "features";
