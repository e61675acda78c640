//! What a recipe says of itself.

use serde::{Deserialize, Serialize};

/// What is to be known of a recipe.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// What it is asked for by.
    pub name: String,
    /// What it is, in a line.
    pub title: String,
    /// `pretrain` or `finetune`.
    pub verb: String,
    /// A whole command line; folders are examples.
    pub command: String,
    /// The batch as it was published.
    pub batch: Batch,
    /// The images that the numbers are meant for.
    pub trained_on: TrainedOn,
    /// What was published of the result.
    #[serde(default)]
    pub expected: Vec<Expected>,
    /// What differs, what is not known, and what is ours.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Images of a step, as they were spread over GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// GPUs.
    pub gpus: usize,
    /// Images that one of them sees at once.
    pub images: usize,
    /// How often it does so before a step.
    pub update_freq: usize,
}

impl Batch {
    /// Images of a step.
    #[must_use]
    pub const fn global(self) -> usize {
        self.gpus * self.images * self.update_freq
    }
}

/// Images that a recipe is meant for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TrainedOn {
    /// Their name.
    pub name: String,
    /// How many there are to learn from.
    pub images: usize,
    /// How many classes they, or their pixels, have.
    pub classes: usize,
}

/// A published result.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The number, and of what.
    pub result: String,
    /// Where it stands.
    pub source: String,
}
