//! Who judges the rows of an ablation.

use serde::{Deserialize, Serialize};

/// What a row is judged by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum AblationJudge {
    /// The accuracy after fine-tuning on few labels
    Finetune,
    /// The accuracy of logistic regression on frozen features, of the block that is best on a part of the training images
    Linear,
    /// The accuracy of the ten nearest neighbours by such features
    Knn,
    /// The mean intersection over union after fine-tuning for segmentation: of images with masks on these, else on `scenes`
    Segment,
}

impl AblationJudge {
    /// All, in the order of the table.
    pub const ALL: [Self; 4] = [Self::Finetune, Self::Linear, Self::Knn, Self::Segment];

    /// Whether it asks which class an image has; else which its pixels have.
    pub(super) const fn is_of_images(self) -> bool {
        !matches!(self, Self::Segment)
    }

    /// Whether it trains the model further, so that a model that learnt nothing can be judged by it.
    pub(super) const fn trains(self) -> bool {
        matches!(self, Self::Finetune | Self::Segment)
    }

    /// As in flags and files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Finetune => "finetune",
            Self::Linear => "linear",
            Self::Knn => "knn",
            Self::Segment => "segment",
        }
    }

    /// For a table.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Finetune => "fine-tuned",
            Self::Linear => "linear probe",
            Self::Knn => "10 nearest neighbours",
            Self::Segment => "segmentation, mIoU",
        }
    }
}
