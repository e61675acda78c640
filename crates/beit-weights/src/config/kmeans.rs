//! A tokenizer by k-means: a folder of this project's, which no other tool has.

use super::keys::Keys;
use super::limit::limit;
use super::measure::extents;
use crate::error::{Error, Result};
use crate::weights::Weights;
use beit_tokenizer::KMeansConfig;
use serde::Serialize;
use std::path::Path;

pub(super) const ARCHITECTURE: &str = "BeitKMeansTokenizer";
pub(super) const MODEL_TYPE: &str = "beit_kmeans_tokenizer";

/// The keys, of which none but the number of channels may be absent.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Config {
    architectures: Vec<String>,
    model_type: String,
    dtype: String,
    num_channels: usize,
    vocab_size: usize,
    token_height: usize,
    token_width: usize,
    mean_weight: f32,
}

impl Config {
    /// What a file says.
    pub(super) fn read(keys: &Keys) -> Result<Self> {
        Ok(Self::describing(&KMeansConfig {
            channels: keys.or("num_channels", 3)?,
            vocab: keys.must("vocab_size")?,
            sides: [keys.must("token_height")?, keys.must("token_width")?],
            mean_weight: keys.must("mean_weight")?,
        }))
    }

    /// The tokenizer that is described.
    pub(super) fn tokenizer(&self, path: &Path) -> Result<KMeansConfig> {
        let extents = [
            ("num_channels", self.num_channels),
            ("vocab_size", self.vocab_size),
            ("token_height", self.token_height),
            ("token_width", self.token_width),
        ];
        limit(path, &extents)?;
        let config = KMeansConfig {
            channels: self.num_channels,
            vocab: self.vocab_size,
            sides: [self.token_height, self.token_width],
            mean_weight: self.mean_weight,
        };
        config.validate().map_err(|error| Error::config(path, error))?;
        Ok(config)
    }

    /// The description of a tokenizer.
    pub(super) fn describing(config: &KMeansConfig) -> Self {
        Self {
            architectures: vec![ARCHITECTURE.into()],
            model_type: MODEL_TYPE.into(),
            dtype: "float32".into(),
            num_channels: config.channels,
            vocab_size: config.vocab,
            token_height: config.sides[0],
            token_width: config.sides[1],
            mean_weight: config.mean_weight,
        }
    }
}

/// The tokenizer whose parameters these are. The weight of the mean is folded into them, so that it is forgotten and does not matter.
pub(super) fn infer(weights: &Weights) -> Result<KMeansConfig> {
    let [vocab, channels, height, width] = extents(weights, "scores.weight")?;
    let config = KMeansConfig { channels, vocab, ..KMeansConfig::new([height, width]) };
    config.validate().map_err(|error| Error::malformed(weights.path(), error))?;
    Ok(config)
}
