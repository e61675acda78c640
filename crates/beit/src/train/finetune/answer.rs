//! What fine-tuning answers.

use crate::evaluate;
use crate::probe::MOST_PIXELS;
use crate::train::best::BestCheckpoint;
use beit_train::{Accuracy, PixelAccuracy, PixelClass};
use serde::Serialize;
use std::path::PathBuf;

/// A model that was fine-tuned.
#[derive(Clone, Debug, Serialize)]
pub struct Finetuned {
    /// The folder of the run.
    pub run: PathBuf,
    /// The last checkpoint in it.
    pub checkpoint: PathBuf,
    /// The best, where that is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<BestCheckpoint>,
    /// Labelled images that it was trained on.
    pub labels: usize,
    /// Which images it is judged by.
    pub split: String,
    /// How it does on these.
    #[serde(flatten)]
    pub judged: Judged,
}

/// How a model does on images that it has not seen.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Judged {
    /// A classifier.
    Classes {
        /// Over all classes.
        #[serde(flatten)]
        accuracy: Accuracy,
        /// The share of these that logistic regression on the pixels of the same labelled images names rightly; none where those are
        /// too many for seconds of work.
        pixels_baseline: Option<f64>,
    },
    /// A segmenter.
    Pixels {
        /// Over all classes.
        #[serde(flatten)]
        accuracy: PixelAccuracy,
        /// Class by class.
        per_class: Vec<PixelClass>,
        /// The picture of some images, their masks, and what the model says.
        picture: PathBuf,
    },
}

impl Finetuned {
    /// One line for a person.
    #[must_use]
    pub fn sentence(&self) -> String {
        match &self.judged {
            Judged::Classes { accuracy, .. } => evaluate::sentence(&self.split, accuracy),
            Judged::Pixels { accuracy, .. } => evaluate::pixels_sentence(&self.split, accuracy),
        }
    }

    /// What it stands beside, as one line for a person: for a classifier what the pixels alone are good for, for a segmenter where it is
    /// seen at work.
    #[must_use]
    pub fn beside_sentence(&self) -> String {
        match &self.judged {
            Judged::Classes { pixels_baseline: Some(top1), .. } => {
                format!("the same with logistic regression on pixels: top-1 {top1:.4}")
            }
            Judged::Classes { pixels_baseline: None, .. } => {
                format!("no logistic regression on pixels beside it: more than {MOST_PIXELS} values")
            }
            Judged::Pixels { picture, .. } => format!("picture: {}", picture.display()),
        }
    }
}
