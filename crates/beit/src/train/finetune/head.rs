//! Which segmentation head, and how it learns.

use crate::error::{Result, setting};
use beit_heads::segmenter::MOST_CHANNELS;
use beit_heads::{HeadConfig, PixelMean};
use beit_vit::Config;
use serde::{Deserialize, Serialize};

/// The head of a segmenter.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default)]
pub struct HeadSettings {
    /// Segmentation: what makes classes of the maps of the transformer
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t))]
    pub head: HeadKind,
    /// Segmentation: channels of the head; where not given, of setr-pup 256, of upernet the width of the transformer, and never more
    /// than that
    #[cfg_attr(feature = "clap", arg(long, value_name = "CHANNELS"))]
    pub head_channels: Option<usize>,
    /// Segmentation: further heads of setr-pup that read earlier blocks, in training; upernet has one anyway
    #[cfg_attr(feature = "clap", arg(long))]
    pub auxiliary_heads: bool,
    /// Segmentation: what the loss is a mean over
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t))]
    pub loss_mean: LossMean,
}

/// Which head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum HeadKind {
    /// Convolutions and enlargements by turns: what the paper describes
    #[default]
    SetrPup,
    /// Maps of four sizes: what was released
    Upernet,
}

/// What the loss is a mean over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum LossMean {
    /// The pixels that have a class: PyTorch, transformers
    #[default]
    Labelled,
    /// All pixels, those without a class among them: the released code
    All,
}

impl HeadSettings {
    /// Refuses heads of classification that are described as if they were of segmentation.
    pub(super) fn check_unused(&self) -> Result<()> {
        let given = [
            ("--head", self.head != HeadKind::default()),
            ("--head-channels", self.head_channels.is_some()),
            ("--auxiliary-heads", self.auxiliary_heads),
            ("--loss-mean", self.loss_mean != LossMean::default()),
        ];
        match given.iter().find(|(_, given)| *given) {
            Some((flag, _)) => {
                setting!("{flag} belongs to segmentation: leave it out, or give --task segment")
            }
            None => Ok(()),
        }
    }

    /// Refuses a head without channels, or with more than can be counted.
    pub(super) fn check(&self) -> Result<()> {
        let channels = self.head_channels.unwrap_or(1);
        if !(1..=MOST_CHANNELS).contains(&channels) {
            setting!("--head-channels {channels}: expected at least 1 and at most {MOST_CHANNELS}");
        }
        if self.auxiliary_heads && self.head == HeadKind::Upernet {
            setting!("--auxiliary-heads belongs to --head setr-pup: upernet has its auxiliary head anyway");
        }
        Ok(())
    }

    /// The head for a transformer.
    pub(super) fn config(&self, vit: &Config) -> HeadConfig {
        let usual = match self.head {
            HeadKind::SetrPup => HeadConfig::setr_pup(vit.width),
            HeadKind::Upernet => HeadConfig::upernet(vit.width),
        };
        match usual {
            HeadConfig::SetrPup { channels, .. } => HeadConfig::SetrPup {
                channels: self.head_channels.unwrap_or(channels),
                auxiliary: self.auxiliary_heads,
            },
            HeadConfig::Upernet { channels, scales, auxiliary } => {
                HeadConfig::Upernet { channels: self.head_channels.unwrap_or(channels), scales, auxiliary }
            }
        }
    }

    pub(super) fn mean(&self) -> PixelMean {
        match self.loss_mean {
            LossMean::Labelled => PixelMean::Labelled,
            LossMean::All => PixelMean::All,
        }
    }
}
