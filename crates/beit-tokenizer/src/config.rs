//! What a tokenizer looks like.

use crate::{Codebook, Error};

/// Width of a block over the width of its residual path (openai/DALL-E `encoder.py`, `n_hid = n_out // 4`).
pub(crate) const BOTTLENECK: usize = 4;
/// Side of the input convolution of the encoder (openai/DALL-E `encoder.py`).
pub(crate) const INPUT_KERNEL: usize = 7;
/// Side of the wide convolutions of a residual path (openai/DALL-E `encoder.py`, `decoder.py`).
pub(crate) const KERNEL: usize = 3;
/// Halving the sides more often than this leaves nothing of any picture.
const MAX_GROUPS: usize = 16;

/// The extents of a discrete variational autoencoder. The fields are public; [`validate`](Config::validate) before use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// Channels of an image.
    pub channels: usize,
    /// Groups of blocks; between two of them the sides are halved (encoder) or doubled (decoder).
    pub groups: usize,
    /// Residual blocks of each group.
    pub blocks_per_group: usize,
    /// Width of the group at full resolution; every halving of the sides doubles it. A multiple of 4.
    pub hidden: usize,
    /// Width of the decoder's first map, out of the codebook.
    pub decoder_init: usize,
    /// Number of visual tokens V.
    pub vocab: usize,
}

/// No published tokenizer has a count near this one, and what is computed from two of them can be counted.
pub(crate) const MOST: usize = 1 << 20;

impl Config {
    /// The tokenizer of DALL-E, which BEiT's released models were trained with: 8192 tokens of 8x8 pixels, 53,786,240
    /// parameters in the encoder and 43,829,766 in the decoder (openai/DALL-E 5be4b236).
    #[must_use]
    pub const fn dalle() -> Self {
        Self { channels: 3, groups: 4, blocks_per_group: 2, hidden: 256, decoder_init: 128, vocab: 8192 }
    }

    /// Ours for pictures of about 28x28: 256 tokens of 4x4 pixels, 103,496 parameters in the encoder and 99,534 in the
    /// decoder; see [`Recipe::small`](crate::Recipe::small).
    #[must_use]
    pub const fn small() -> Self {
        Self { channels: 3, groups: 3, blocks_per_group: 1, hidden: 32, decoder_init: 32, vocab: 256 }
    }

    /// The smallest that has every part, for tests: 16 tokens of 4x4 pixels.
    #[must_use]
    pub const fn tiny() -> Self {
        Self { channels: 3, groups: 3, blocks_per_group: 2, hidden: 4, decoder_init: 4, vocab: 16 }
    }

    /// Pixels of an image side that become one token: `2^(groups - 1)`.
    #[must_use]
    pub const fn downsampling(&self) -> usize {
        1 << (self.groups - 1)
    }

    /// Whether there is such a tokenizer.
    pub const fn validate(&self) -> Result<(), Error> {
        let counts = [
            (self.channels, "number of channels"),
            (self.groups, "number of groups"),
            (self.blocks_per_group, "number of blocks per group"),
            (self.hidden, "hidden width"),
            (self.decoder_init, "decoder width"),
            (self.vocab, "vocabulary"),
        ];
        let mut i = 0;
        while i < counts.len() {
            if counts[i].0 == 0 {
                return Err(Error::Zero(counts[i].1));
            }
            if counts[i].0 > MOST {
                return Err(Error::TooLarge { what: counts[i].1, value: counts[i].0, most: MOST });
            }
            i += 1;
        }
        if self.groups > MAX_GROUPS {
            return Err(Error::Groups(self.groups));
        }
        if !self.hidden.is_multiple_of(BOTTLENECK) {
            return Err(Error::Hidden(self.hidden));
        }
        Ok(())
    }

    /// How many tokens there are, and how much of an image is one.
    ///
    /// ```
    /// use beit_tokenizer::Config;
    /// assert_eq!(Config::dalle().codebook().grid([112, 112]), Ok([14, 14]));
    /// ```
    #[must_use]
    pub const fn codebook(&self) -> Codebook {
        Codebook { channels: self.channels, vocab: self.vocab, sides: [self.downsampling(); 2] }
    }

    /// Width of the group that works at `1 / 2^level` of the full resolution.
    pub(crate) const fn width(&self, level: usize) -> usize {
        self.hidden << level
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_valid() {
        for config in [Config::dalle(), Config::small(), Config::tiny()] {
            assert_eq!(config.validate(), Ok(()));
        }
        assert_eq!(Config::dalle().downsampling(), 8);
        assert_eq!(Config::small().codebook(), Codebook { channels: 3, vocab: 256, sides: [4, 4] });
    }

    #[test]
    fn impossible_configurations_are_named() {
        let good = Config::tiny();
        assert_eq!(Config { vocab: 0, ..good }.validate(), Err(Error::Zero("vocabulary")));
        assert_eq!(Config { hidden: 6, ..good }.validate(), Err(Error::Hidden(6)));
        assert_eq!(Config { groups: 17, ..good }.validate(), Err(Error::Groups(17)));
    }
}
