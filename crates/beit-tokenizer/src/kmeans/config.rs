//! What a tokenizer by k-means looks like.

use crate::config::MOST;
use crate::{Codebook, Config, Error};

/// The extents of a tokenizer by k-means. The fields are public; [`validate`](KMeansConfig::validate) before use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KMeansConfig {
    /// Channels of an image C.
    pub channels: usize,
    /// Number of visual tokens V.
    pub vocab: usize,
    /// Height and width of a token in pixels: any, for nothing is halved.
    pub sides: [usize; 2],
    /// How much the brightness of a patch counts beside its structure, see [`Features`](super::Features).
    pub mean_weight: f32,
}

impl KMeansConfig {
    /// Tokens of these sides in RGB, as many as the small discrete VAE has, at the distance of plain pixels.
    #[must_use]
    pub const fn new(sides: [usize; 2]) -> Self {
        Self { channels: Config::small().channels, vocab: Config::small().vocab, sides, mean_weight: 1.0 }
    }

    /// How many tokens there are, and how much of an image is one.
    #[must_use]
    pub const fn codebook(&self) -> Codebook {
        Codebook { channels: self.channels, vocab: self.vocab, sides: self.sides }
    }

    /// Numbers of a patch: `C·h·w`.
    #[must_use]
    pub const fn elements(&self) -> usize {
        self.channels * self.sides[0] * self.sides[1]
    }

    /// Whether there is such a tokenizer.
    ///
    /// # Errors
    ///
    /// A number that is zero, or a weight that is none.
    pub fn validate(&self) -> Result<(), Error> {
        if self.vocab > MOST {
            return Err(Error::TooLarge { what: "vocabulary", value: self.vocab, most: MOST });
        }
        if self.channels > MOST {
            return Err(Error::TooLarge { what: "number of channels", value: self.channels, most: MOST });
        }
        if self.vocab == 0 {
            return Err(Error::Zero("vocabulary"));
        }
        if self.channels == 0 {
            return Err(Error::Zero("number of channels"));
        }
        if self.sides.contains(&0) {
            return Err(Error::Zero("side of a token"));
        }
        if !(self.mean_weight.is_finite() && self.mean_weight >= 0.0) {
            return Err(Error::MeanWeight(self.mean_weight));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_configurations_are_named() {
        let good = KMeansConfig::new([4, 6]);
        assert_eq!(good.validate(), Ok(()));
        assert_eq!(KMeansConfig { vocab: 0, ..good }.validate(), Err(Error::Zero("vocabulary")));
        assert_eq!(KMeansConfig { channels: 0, ..good }.validate(), Err(Error::Zero("number of channels")));
        assert_eq!(KMeansConfig::new([4, 0]).validate(), Err(Error::Zero("side of a token")));
        for mean_weight in [-1.0, f32::NAN, f32::INFINITY] {
            assert!(KMeansConfig { mean_weight, ..good }.validate().is_err(), "{mean_weight}");
        }
    }
}
