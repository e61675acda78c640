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
    /// Whether each block has two more norms, see [`Config::inner_norms`].
    #[serde(default)]
    pub inner_norms: bool,
    /// Whether keys have a bias, see [`Config::key_bias`].
    #[serde(default)]
    pub key_bias: bool,
    /// What represents an image, for a classifier, or for an encoder that has the norm for it.
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
    /// EVA-g (arXiv 2211.07636, timm/models/eva.py): width 1408, 40 layers of 16 heads, 6144 wide inside.
    Giant,
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
            inner_norms: self.inner_norms,
            key_bias: self.key_bias,
            mask_token: false,
            final_norm: false,
            layer_norm_eps: self.layer_norm_eps,
            ..self.size.config()
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

impl Size {
    fn config(self) -> Config {
        match self {
            Self::Base => Config::new(Preset::Base),
            Self::Large => Config::new(Preset::Large),
            Self::Giant => {
                Config { width: 1408, depth: 40, heads: 16, hidden: 6144, ..Config::new(Preset::Large) }
            }
        }
    }
}
