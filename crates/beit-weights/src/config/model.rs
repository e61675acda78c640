//! `config.json` of transformers: what kind of model a folder holds.

use super::labelled::{Labelled, Segmenter};
use super::{beit, codebook, kmeans};
use crate::error::{Error, Result};
use crate::json::{read_json, write_json};
use beit_heads::MimConfig;
use beit_tokenizer::{Codebook, KMeansConfig};
use std::path::Path;

/// The name of the file.
pub const CONFIG: &str = "config.json";

/// What a checkpoint folder holds.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Model {
    /// `BeitForMaskedImageModeling`
    Mim(MimConfig),
    /// `BeitForImageClassification`
    Classifier(Labelled),
    /// `BeitForSemanticSegmentation`: UPerNet
    Segmenter(Segmenter),
    /// `BeitModel`: a transformer without a head
    Encoder(beit_vit::Config),
    /// `FlavaImageCodebook`
    Tokenizer(beit_tokenizer::Config),
    /// A tokenizer by k-means, which transformers does not have
    KMeans(KMeansConfig),
}

impl Model {
    /// Reads `config.json` of a checkpoint folder.
    ///
    /// # Errors
    ///
    /// When the file is absent or damaged, or describes a model that this project does not have.
    pub fn read(folder: impl AsRef<Path>) -> Result<Self> {
        let path = &folder.as_ref().join(CONFIG);
        if !path.exists() {
            return Err(Error::NoCheckpoint { path: folder.as_ref().to_owned() });
        }
        let kind: Kind = read_json(path)?;
        match kind.architectures.iter().flatten().map(String::as_str).collect::<Vec<_>>()[..] {
            [beit::MIM] => Ok(Self::Mim(read_json::<beit::Config>(path)?.mim(path)?)),
            [beit::CLASSIFIER] => Ok(Self::Classifier(read_json::<beit::Config>(path)?.classifier(path)?)),
            [beit::SEGMENTER] => Ok(Self::Segmenter(read_json::<beit::Config>(path)?.segmenter(path)?)),
            [beit::ENCODER] => Ok(Self::Encoder(read_json::<beit::Config>(path)?.encoder(path)?)),
            [codebook::ARCHITECTURE] => {
                Ok(Self::Tokenizer(read_json::<codebook::Config>(path)?.tokenizer(path)?))
            }
            [] if kind.model_type.as_deref() == Some(codebook::MODEL_TYPE) => {
                Ok(Self::Tokenizer(read_json::<codebook::Config>(path)?.tokenizer(path)?))
            }
            [kmeans::ARCHITECTURE] => Ok(Self::KMeans(kmeans::Config::read(path)?.tokenizer(path)?)),
            [] if kind.model_type.as_deref() == Some(kmeans::MODEL_TYPE) => {
                Ok(Self::KMeans(kmeans::Config::read(path)?.tokenizer(path)?))
            }
            ref other => Err(unknown(path, other)),
        }
    }

    /// Writes `config.json` into a folder.
    ///
    /// # Errors
    ///
    /// When the disk does not take it.
    pub fn write(&self, folder: impl AsRef<Path>) -> Result<()> {
        let path = &folder.as_ref().join(CONFIG);
        match self {
            Self::Mim(config) => write_json(path, &beit::Config::describing_mim(config)),
            Self::Classifier(config) => write_json(path, &beit::Config::describing_classifier(config)),
            Self::Segmenter(config) => write_json(path, &beit::Config::describing_segmenter(config)),
            Self::Encoder(vit) => write_json(path, &beit::Config::describing_encoder(vit)),
            Self::Tokenizer(config) => write_json(path, &codebook::Config::describing(config)),
            Self::KMeans(config) => write_json(path, &kmeans::Config::describing(config)),
        }
    }

    /// The transformer. None for a tokenizer.
    #[must_use]
    pub const fn vit(&self) -> Option<&beit_vit::Config> {
        match self {
            Self::Mim(config) => Some(&config.vit),
            Self::Classifier(config) => Some(&config.classifier.vit),
            Self::Segmenter(config) => Some(&config.vit),
            Self::Encoder(vit) => Some(vit),
            Self::Tokenizer(_) | Self::KMeans(_) => None,
        }
    }

    /// The transformer, to be changed, for instance to see pictures of another size. None for a tokenizer.
    #[must_use]
    pub const fn vit_mut(&mut self) -> Option<&mut beit_vit::Config> {
        match self {
            Self::Mim(config) => Some(&mut config.vit),
            Self::Classifier(config) => Some(&mut config.classifier.vit),
            Self::Segmenter(config) => Some(&mut config.vit),
            Self::Encoder(vit) => Some(vit),
            Self::Tokenizer(_) | Self::KMeans(_) => None,
        }
    }

    /// The visual tokens of a tokenizer of any kind. None for a transformer.
    #[must_use]
    pub const fn codebook(&self) -> Option<Codebook> {
        match self {
            Self::Tokenizer(config) => Some(config.codebook()),
            Self::KMeans(config) => Some(config.codebook()),
            _ => None,
        }
    }

    /// What the folder holds, for a message.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Mim(_) => "a model for masked image modelling",
            Self::Classifier(_) => "a classifier",
            Self::Segmenter(_) => "a model for semantic segmentation",
            Self::Encoder(_) => "a transformer without a head",
            Self::Tokenizer(_) => "a tokenizer",
            Self::KMeans(_) => "a tokenizer by k-means",
        }
    }
}

/// The keys that say which class of transformers a folder is for.
#[derive(serde::Deserialize)]
struct Kind {
    architectures: Option<Vec<String>>,
    model_type: Option<String>,
}

fn unknown(path: &Path, found: &[&str]) -> Error {
    let tokenizers = [codebook::ARCHITECTURE, kmeans::ARCHITECTURE].join(", ");
    let known = [beit::MIM, beit::CLASSIFIER, beit::SEGMENTER, beit::ENCODER].join(", ");
    Error::config(path, format_args!("`architectures` is {found:?}, expected one of {known}, {tokenizers}"))
}
