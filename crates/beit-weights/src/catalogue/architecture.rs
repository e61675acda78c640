//! The transformer of a checkpoint.

use beit_heads::Pooling;
use beit_vit::{Config, Preset, RelativePositions};
use serde::Deserialize;

/// The transformer of a checkpoint, as it was trained.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    /// Width, depth, heads.
    pub size: Size,
    /// Side of the square it sees, in pixels.
    pub image: usize,
    /// Side of a patch, in pixels.
    pub patch: usize,
    /// Number of classes of a classifier or a segmenter.
    pub classes: Option<usize>,
    /// Number of visual tokens of masked image modelling.
    pub vocab: Option<usize>,
    /// Of all layer norms.
    pub layer_norm_eps: f64,
    /// Relative position bias.
    pub relative_positions: Positions,
    /// Learned absolute positions.
    pub absolute_positions: bool,
    /// Initial value of LayerScale's gammas, which the weights overwrite; none where there are no gammas.
    pub layer_scale: Option<f32>,
    /// What represents an image, for a classifier.
    #[serde(default, with = "pooling")]
    pub pooling: Option<Pooling>,
}

/// The published sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// [`Preset::Base`]
    Base,
    /// [`Preset::Large`]
    Large,
}

/// Which relative position bias there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Positions {
    /// None.
    None,
    /// One table for all layers.
    Shared,
    /// One table a layer.
    PerLayer,
}

/// Names of poolings, whose type is another crate's.
mod pooling {
    use super::Pooling;
    use serde::de::{Deserialize, Deserializer, Error};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Pooling>, D::Error> {
        match String::deserialize(from)?.as_str() {
            "mean" => Ok(Some(Pooling::Mean)),
            "cls" => Ok(Some(Pooling::Cls)),
            other => Err(D::Error::unknown_variant(other, &["mean", "cls"])),
        }
    }
}

impl Architecture {
    /// The transformer alone, with neither mask token nor final norm: those are its head's to ask for.
    #[must_use]
    pub fn backbone(&self) -> Config {
        let preset = match self.size {
            Size::Base => Preset::Base,
            Size::Large => Preset::Large,
        };
        let relative_positions = match self.relative_positions {
            Positions::None => RelativePositions::None,
            Positions::Shared => RelativePositions::Shared,
            Positions::PerLayer => RelativePositions::PerLayer,
        };
        Config {
            image: [self.image; 2],
            patch: [self.patch; 2],
            absolute_positions: self.absolute_positions,
            relative_positions,
            layer_scale: self.layer_scale,
            mask_token: false,
            final_norm: false,
            layer_norm_eps: self.layer_norm_eps,
            ..Config::new(preset)
        }
    }

    /// How many tables of relative positions there are.
    pub(super) fn tables(&self) -> usize {
        match self.relative_positions {
            Positions::None => 0,
            Positions::Shared => 1,
            Positions::PerLayer => self.backbone().depth,
        }
    }
}
