//! `config.json` of transformers: what kind of model a folder holds.

use super::beit::OUR_SEGMENTER;
use super::family::{is_model_type, kind_of_class, model_types};
use super::keys::Keys;
use super::labelled::{Labelled, Segmenter};
use super::{beit, codebook, kmeans};
use crate::error::{Error, Result};
use crate::json::write_json;
use crate::names::Kind;
use crate::weights::Weights;
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
    /// `BeitForSemanticSegmentation`: UPerNet; or a head that transformers does not have
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
        Self::described(Keys::read(path)?, None)
    }

    /// The model that the keys of a file describe. Where they leave something out, the tensors beside them decide.
    pub(crate) fn described(keys: Keys, weights: Option<&Weights>) -> Result<Self> {
        let path = keys.path().to_owned();
        let beit = |keys| beit::Config::read(keys, weights);
        Ok(match Described::by(&keys, weights)? {
            Described::Transformer(Kind::Mim) => Self::Mim(beit(keys)?.mim(&path)?),
            Described::Transformer(Kind::Classifier) => Self::Classifier(beit(keys)?.classifier(&path)?),
            Described::Transformer(Kind::Segmenter) => {
                Self::Segmenter(beit::Config::segmenter(keys, weights)?)
            }
            Described::Transformer(_) => Self::Encoder(beit(keys)?.encoder(&path)?),
            Described::Codebook => Self::Tokenizer(codebook::Config::read(&keys)?.tokenizer(&path)?),
            Described::KMeans => Self::KMeans(kmeans::Config::read(&keys)?.tokenizer(&path)?),
        })
    }

    /// Writes `config.json` into a folder.
    ///
    /// # Errors
    ///
    /// When the disk does not take it.
    pub fn write(&self, folder: impl AsRef<Path>) -> Result<()> {
        let path = &folder.as_ref().join(CONFIG);
        match self {
            Self::Tokenizer(config) => write_json(path, &codebook::Config::describing(config)),
            Self::KMeans(config) => write_json(path, &kmeans::Config::describing(config)),
            transformer => write_json(path, &beit::Config::describing_model(transformer)),
        }
    }

    /// `config.json` of a transformer as one text. None for a tokenizer.
    pub(crate) fn text(&self) -> Option<String> {
        serde_json::to_string(&beit::Config::describing_model(self)?).ok()
    }

    /// A name for each class, where the model has classes.
    #[must_use]
    pub fn labels(&self) -> Option<&[String]> {
        match self {
            Self::Classifier(config) => Some(&config.labels),
            Self::Segmenter(config) => Some(&config.labels),
            _ => None,
        }
    }

    /// The transformer. None for a tokenizer.
    #[must_use]
    pub const fn vit(&self) -> Option<&beit_vit::Config> {
        match self {
            Self::Mim(config) => Some(&config.vit),
            Self::Classifier(config) => Some(&config.classifier.vit),
            Self::Segmenter(config) => Some(&config.segmenter.vit),
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
            Self::Segmenter(config) => Some(&mut config.segmenter.vit),
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

    /// Whether only this project has such a model.
    pub(crate) fn is_ours(&self) -> bool {
        match self {
            Self::KMeans(_) => true,
            Self::Segmenter(config) => !config.is_of_transformers(),
            _ => false,
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

/// What the file describes.
enum Described {
    Transformer(Kind),
    Codebook,
    KMeans,
}

impl Described {
    /// By the class, by the type of model, or by the tensors: whichever is known first.
    fn by(keys: &Keys, weights: Option<&Weights>) -> Result<Self> {
        let classes = keys.value("architectures").map(texts).unwrap_or_default();
        let model_type: Option<String> = keys.get("model_type")?;
        let is = |class: &str, own: &str| {
            classes.contains(&class) || (classes.is_empty() && model_type.as_deref() == Some(own))
        };
        if is(codebook::ARCHITECTURE, codebook::MODEL_TYPE) {
            return Ok(Self::Codebook);
        }
        if is(kmeans::ARCHITECTURE, kmeans::MODEL_TYPE) {
            return Ok(Self::KMeans);
        }
        if is(OUR_SEGMENTER.class, OUR_SEGMENTER.model_type) {
            return Ok(Self::Transformer(Kind::Segmenter));
        }
        if let Some(kind) = classes.iter().find_map(|class| kind_of_class(class)) {
            // A file of another head was saved beside the configuration of what it was trained from: the tensors decide.
            let other = weights.filter(|weights| !weights.has_head(kind)).map(Weights::kind);
            let other = other.filter(|other| !matches!(other, Kind::Encoder | Kind::Tokenizer));
            return Ok(Self::Transformer(other.unwrap_or(kind)));
        }
        let known = model_type.as_deref().map_or(classes.is_empty(), is_model_type);
        match weights.map(Weights::kind) {
            Some(kind) if known && kind != Kind::Tokenizer => Ok(Self::Transformer(kind)),
            _ => Err(unknown(keys, &classes, model_type.as_deref())),
        }
    }
}

/// The texts of a list, or a text alone.
fn texts(value: &serde_json::Value) -> Vec<&str> {
    match value {
        serde_json::Value::Array(values) => values.iter().filter_map(|value| value.as_str()).collect(),
        value => value.as_str().into_iter().collect(),
    }
}

fn unknown(keys: &Keys, classes: &[&str], model_type: Option<&str>) -> Error {
    let others = [codebook::MODEL_TYPE, kmeans::MODEL_TYPE, OUR_SEGMENTER.model_type].join(", ");
    let model_type = model_type.unwrap_or("absent");
    keys.wrong(
        "model_type",
        format_args!(
            "is {model_type} and `architectures` {classes:?}, expected the class of one of {}, {others}",
            model_types()
        ),
    )
}
