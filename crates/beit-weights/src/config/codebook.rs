//! `FlavaImageCodebookConfig` of transformers, and what it lacks.

use super::keys::Keys;
use super::limit::limit;
use super::measure::{extents, number};
use crate::error::{Error, Result};
use crate::weights::Weights;
use serde::Serialize;
use std::path::Path;

pub(super) const ARCHITECTURE: &str = "FlavaImageCodebook";
pub(super) const MODEL_TYPE: &str = "flava_image_codebook";

/// The keys that matter here, with the values that transformers takes for absent ones. Other keys are ignored.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Config {
    architectures: Vec<String>,
    model_type: String,
    dtype: String,
    torch_dtype: String,
    num_groups: usize,
    input_channels: usize,
    num_blocks_per_group: usize,
    hidden_size: usize,
    vocab_size: usize,
    /// Ours: transformers has no decoder.
    decoder_init_size: usize,
}

impl Default for Config {
    /// The tokenizer of DALL-E.
    fn default() -> Self {
        Self::describing(&beit_tokenizer::Config::dalle())
    }
}

impl Config {
    /// What a file says.
    pub(super) fn read(keys: &Keys) -> Result<Self> {
        let absent = Self::default();
        Ok(Self {
            num_groups: keys.or("num_groups", absent.num_groups)?,
            input_channels: keys.or("input_channels", absent.input_channels)?,
            num_blocks_per_group: keys.or("num_blocks_per_group", absent.num_blocks_per_group)?,
            hidden_size: keys.or("hidden_size", absent.hidden_size)?,
            vocab_size: keys.or("vocab_size", absent.vocab_size)?,
            decoder_init_size: keys.or("decoder_init_size", absent.decoder_init_size)?,
            ..absent
        })
    }

    /// The tokenizer that is described.
    pub(super) fn tokenizer(&self, path: &Path) -> Result<beit_tokenizer::Config> {
        let config = beit_tokenizer::Config {
            channels: self.input_channels,
            groups: self.num_groups,
            blocks_per_group: self.num_blocks_per_group,
            hidden: self.hidden_size,
            decoder_init: self.decoder_init_size,
            vocab: self.vocab_size,
        };
        let extents = [
            ("num_groups", self.num_groups),
            ("input_channels", self.input_channels),
            ("num_blocks_per_group", self.num_blocks_per_group),
            ("hidden_size", self.hidden_size),
            ("vocab_size", self.vocab_size),
            ("decoder_init_size", self.decoder_init_size),
        ];
        limit(path, &extents)?;
        config.validate().map_err(|error| Error::config(path, error))?;
        Ok(config)
    }

    /// The description of a tokenizer.
    pub(super) fn describing(config: &beit_tokenizer::Config) -> Self {
        Self {
            architectures: vec![ARCHITECTURE.into()],
            model_type: MODEL_TYPE.into(),
            dtype: "float32".into(),
            torch_dtype: "float32".into(),
            num_groups: config.groups,
            input_channels: config.channels,
            num_blocks_per_group: config.blocks_per_group,
            hidden_size: config.hidden,
            vocab_size: config.vocab,
            decoder_init_size: config.decoder_init,
        }
    }
}

/// The tokenizer whose encoder these are.
pub(super) fn infer(weights: &Weights) -> Result<beit_tokenizer::Config> {
    let [hidden, channels, side, _] = extents(weights, "blocks.input.weight")?;
    if side == 1 {
        let problem = "this is the decoder of a tokenizer; give the file or folder with the encoder";
        return Err(Error::malformed(weights.path(), problem));
    }
    let [vocab, ..]: [usize; 4] = extents(weights, "blocks.output.conv.weight")?;
    let config = beit_tokenizer::Config {
        channels,
        groups: number(weights, "blocks.group_")?,
        blocks_per_group: number(weights, "blocks.group_1.group.block_")?,
        hidden,
        vocab,
        ..beit_tokenizer::Config::dalle()
    };
    config.validate().map_err(|error| Error::malformed(weights.path(), error))?;
    Ok(config)
}

/// The width that a decoder begins with.
pub(crate) fn decoder_init(weights: &Weights) -> Result<usize> {
    let [width, _, side, _] = extents(weights, "blocks.input.weight")?;
    match side {
        1 => Ok(width),
        _ => {
            Err(Error::malformed(weights.path(), "this is the encoder of a tokenizer, expected the decoder"))
        }
    }
}
