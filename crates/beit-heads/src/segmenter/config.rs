//! What a segmenter looks like.

use super::setr::doublings;
use alloc::vec;
use alloc::vec::Vec;
use beit_vit::Config;

/// What a segmenter looks like.
#[derive(Clone, Debug, PartialEq)]
pub struct SegmenterConfig {
    /// The transformer, without mask token and final norm.
    pub vit: Config,
    /// V, the number of classes.
    pub classes: usize,
    /// Blocks whose outputs the head reads, from 0 and in ascending order.
    pub taps: [usize; 4],
    /// What makes classes of them.
    pub head: HeadConfig,
}

/// What a segmentation head looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadConfig {
    /// Progressive upsampling of the last map.
    SetrPup {
        /// Channels of the convolutions; 256 in mmsegmentation.
        channels: usize,
        /// Heads of the other maps, in training.
        auxiliary: bool,
    },
    /// Maps of four sizes.
    Upernet {
        /// Channels of the convolutions; the released heads have the width of the transformer.
        channels: usize,
        /// Sides that the smallest map is pooled to; 1, 2, 3 and 6.
        scales: Vec<usize>,
        /// The head of the third map, in training.
        auxiliary: Option<Auxiliary>,
    },
}

/// Classes that a mask can name: its numbers are bytes, and 255 is no class.
pub const MOST_CLASSES: usize = 255;

/// Channels of a head: as many as the width of a transformer may be.
pub const MOST_CHANNELS: usize = 1 << 16;

/// The head of the third map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auxiliary {
    /// Channels of the convolutions; 256.
    pub channels: usize,
    /// Number of convolutions; 1.
    pub layers: usize,
}

impl Default for Auxiliary {
    /// The released one.
    fn default() -> Self {
        Self { channels: CHANNELS, layers: 1 }
    }
}

/// Channels of SETR's convolutions and of auxiliary heads in mmsegmentation.
const CHANNELS: usize = 256;

impl HeadConfig {
    /// SETR-PUP for a transformer of this width, which narrow ones limit.
    #[must_use]
    pub fn setr_pup(width: usize) -> Self {
        Self::SetrPup { channels: CHANNELS.min(width), auxiliary: false }
    }

    /// The released UPerNet for a transformer of this width.
    #[must_use]
    pub fn upernet(width: usize) -> Self {
        let auxiliary = Some(Auxiliary { channels: CHANNELS.min(width), layers: 1 });
        Self::Upernet { channels: width, scales: vec![1, 2, 3, 6], auxiliary }
    }
}

impl SegmenterConfig {
    /// The segmenter on top of a transformer that was pre-trained: no mask token, no final norm.
    #[must_use]
    pub fn on(vit: Config, classes: usize, taps: [usize; 4], head: HeadConfig) -> Self {
        Self { vit: Config { mask_token: false, final_norm: false, ..vit }, classes, taps, head }
    }

    /// The blocks at a third, a half, two thirds and the end, as in the released configurations (3, 5, 7, 11 of 12; 7, 11, 15, 23 of
    /// 24); of shallow transformers the last four.
    #[must_use]
    pub fn usual_taps(depth: usize) -> [usize; 4] {
        if depth < 6 {
            return [4, 3, 2, 1].map(|from_end| depth.saturating_sub(from_end));
        }
        [2, 3, 4, 6].map(|sixths| depth * sixths / 6 - 1)
    }

    /// The taps that the head reads in training.
    #[must_use]
    pub fn read(&self) -> &[usize] {
        match self.head {
            HeadConfig::SetrPup { auxiliary: false, .. } => &self.taps[3..],
            _ => &self.taps,
        }
    }

    /// Height and width of the logits.
    #[must_use]
    pub fn output(&self) -> [usize; 2] {
        let factor = match self.head {
            HeadConfig::SetrPup { .. } => doublings(self.patch()).iter().product(),
            HeadConfig::Upernet { .. } => 4,
        };
        self.vit.grid().map(|side| factor * side)
    }

    /// The larger side of a patch.
    pub(super) fn patch(&self) -> usize {
        self.vit.patch[0].max(self.vit.patch[1])
    }

    /// Channels that are scored: of the head, then of each auxiliary head.
    #[must_use]
    pub fn scored(&self) -> Vec<usize> {
        match &self.head {
            HeadConfig::SetrPup { channels, auxiliary } => vec![*channels; if *auxiliary { 4 } else { 1 }],
            HeadConfig::Upernet { channels, auxiliary, .. } => {
                let auxiliary = auxiliary.iter().map(|auxiliary| auxiliary.channels);
                core::iter::once(*channels).chain(auxiliary).collect()
            }
        }
    }

    /// Whether the parts fit together.
    ///
    /// # Errors
    ///
    /// A sentence that names what does not.
    pub fn validate(&self) -> Result<(), Unfit> {
        self.vit.validate().map_err(Unfit::Vit)?;
        if !(2..=MOST_CLASSES).contains(&self.classes) {
            return Err(Unfit::Classes(self.classes));
        }
        let (HeadConfig::SetrPup { channels, .. } | HeadConfig::Upernet { channels, .. }) = self.head;
        if !(1..=MOST_CHANNELS).contains(&channels) {
            return Err(Unfit::Channels(channels));
        }
        let ascending = self.taps.is_sorted_by(|a, b| a < b) && self.taps[3] < self.vit.depth;
        if !ascending {
            return Err(Unfit::Taps { taps: self.taps, depth: self.vit.depth });
        }
        let pools = matches!(self.head, HeadConfig::Upernet { .. });
        if pools && self.vit.grid().iter().any(|&side| side < 2) {
            return Err(Unfit::Grid(self.vit.grid()));
        }
        Ok(())
    }
}

/// Why a segmenter cannot be.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Unfit {
    /// The transformer cannot be.
    Vit(beit_vit::Error),
    /// Fewer than two classes, or more than [`MOST_CLASSES`].
    Classes(usize),
    /// A head without channels, or with more than [`MOST_CHANNELS`].
    Channels(usize),
    /// Blocks that do not follow each other, or that there are not.
    Taps {
        /// What was found.
        taps: [usize; 4],
        /// Number of blocks.
        depth: usize,
    },
    /// Too few patches for squares of two by two.
    Grid([usize; 2]),
}

impl core::fmt::Display for Unfit {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Vit(error) => error.fmt(f),
            Self::Classes(found) => write!(f, "expected 2 to {MOST_CLASSES} classes, found {found}"),
            Self::Channels(found) => {
                write!(f, "expected 1 to {MOST_CHANNELS} channels of a head, found {found}")
            }
            Self::Taps { taps, depth } => {
                write!(f, "expected four ascending numbers of blocks from 0, below {depth}, found {taps:?}")
            }
            Self::Grid([h, w]) => {
                write!(f, "expected at least 2x2 patches for UPerNet, found {h}x{w}: take larger images")
            }
        }
    }
}

impl core::error::Error for Unfit {}

#[cfg(test)]
mod tests {
    use super::*;
    use beit_vit::Preset;

    #[test]
    fn as_many_classes_as_a_mask_can_name() {
        let of = |classes| {
            SegmenterConfig::on(Config::new(Preset::Tiny), classes, [0, 1, 2, 3], HeadConfig::setr_pup(8))
                .validate()
        };
        assert_eq!((of(2), of(255)), (Ok(()), Ok(())));
        let (few, many) = (of(1).expect_err("nothing to tell apart"), of(256).expect_err("255 is no class"));
        assert_eq!([few, many], [Unfit::Classes(1), Unfit::Classes(256)]);
    }

    #[test]
    fn as_many_channels_as_can_be_counted() {
        for (channels, fits) in [(0, false), (1, true), (MOST_CHANNELS, true), (MOST_CHANNELS + 1, false)] {
            let head = HeadConfig::SetrPup { channels, auxiliary: false };
            let config = SegmenterConfig::on(Config::new(Preset::Tiny), 2, [0, 1, 2, 3], head);
            let expected = if fits { Ok(()) } else { Err(Unfit::Channels(channels)) };
            assert_eq!(config.validate(), expected);
        }
    }
}
