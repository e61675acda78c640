use beit_data::{Image, Preprocessing};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How many parts of a picture a classifier looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Crops {
    /// One, as the preprocessing says
    #[default]
    #[cfg_attr(feature = "clap", value(name = "1"))]
    #[serde(rename = "1")]
    One,
    /// Three: the picture just covers the model's size, and is cut at the start, the centre and the end of its longer side; the mean of
    /// their probabilities counts
    #[cfg_attr(feature = "clap", value(name = "3"))]
    #[serde(rename = "3")]
    Three,
}

impl Crops {
    /// How many.
    #[must_use]
    pub const fn number(self) -> usize {
        match self {
            Self::One => 1,
            Self::Three => 3,
        }
    }

    /// `[crops, C, H, W]`
    pub(crate) fn pixels(self, preprocessing: &Preprocessing, image: &Image) -> Vec<f32> {
        match self {
            Self::One => preprocessing.apply(image),
            Self::Three => preprocessing.apply_three(image),
        }
    }

    /// What pictures become, in a sentence.
    pub(crate) fn describe(self, preprocessing: &Preprocessing) -> String {
        let Preprocessing { size: [height, width], filter, normalise, .. } = preprocessing;
        match self {
            Self::One => preprocessing.to_string(),
            Self::Three => format!(
                "covering {height}x{width}, three crops along the longer side, mean of probabilities, {filter:?}, mean {:?}, deviation {:?}",
                normalise.mean, normalise.std
            ),
        }
    }
}

impl fmt::Display for Crops {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number().fmt(f)
    }
}
