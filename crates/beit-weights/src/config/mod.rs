//! `config.json`: what kind of model a folder holds, and its sizes.

mod beit;
mod codebook;
mod infer;
mod timm;

pub(crate) use codebook::decoder_init;
pub(crate) use infer::infer;
pub(crate) use timm::{Labels as TimmLabels, Timm};

use crate::error::{Error, Result};
use crate::file::write_file;
use beit_heads::{ClassifierConfig, MimConfig};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs;
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
}

/// A model for semantic segmentation that knows the names of its classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Segmenter {
    /// The transformer.
    pub vit: beit_vit::Config,
    /// A name for each class.
    pub labels: Vec<String>,
    /// Blocks whose outputs the head reads, from 0.
    pub taps: [usize; 4],
}

impl Segmenter {
    /// The blocks at a third, a half, two thirds and the end, as in the released configurations (3, 5, 7, 11 of 12; 7, 11, 15, 23 of
    /// 24); of shallow transformers the last four.
    #[must_use]
    pub fn usual_taps(depth: usize) -> [usize; 4] {
        if depth < 6 {
            return [4, 3, 2, 1].map(|from_end| depth.saturating_sub(from_end));
        }
        [2, 3, 4, 6].map(|sixths| depth * sixths / 6 - 1)
    }
}

/// A classifier that knows the names of its classes.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    /// The model.
    pub classifier: ClassifierConfig,
    /// A name for each class.
    pub labels: Vec<String>,
}

impl Labelled {
    /// With the names that transformers gives to classes without one: `LABEL_0` and so on.
    #[must_use]
    pub fn unnamed(classifier: ClassifierConfig) -> Self {
        let labels = unnamed(classifier.classes);
        Self { classifier, labels }
    }
}

/// The names that transformers gives to classes without one.
pub(crate) fn unnamed(classes: usize) -> Vec<String> {
    (0..classes).map(|class| format!("LABEL_{class}")).collect()
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
            Self::Mim(config) => write_json(path, &beit::Config::of_mim(config)),
            Self::Classifier(config) => write_json(path, &beit::Config::of_classifier(config)),
            Self::Segmenter(config) => write_json(path, &beit::Config::of_segmenter(config)),
            Self::Encoder(vit) => write_json(path, &beit::Config::of_encoder(vit)),
            Self::Tokenizer(config) => write_json(path, &codebook::Config::of(config)),
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
            Self::Tokenizer(_) => None,
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
            Self::Tokenizer(_) => None,
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
    let known =
        [beit::MIM, beit::CLASSIFIER, beit::SEGMENTER, beit::ENCODER, codebook::ARCHITECTURE].join(", ");
    Error::config(path, format_args!("`architectures` is {found:?}, expected one of {known}"))
}

/// No published model has an extent near this one, and no damaged file shall make us reserve memory for more.
const LIMIT: usize = 1 << 16;

/// Refuses absurd numbers.
fn limit(path: &Path, extents: &[(&str, usize)]) -> Result<()> {
    match extents.iter().find(|(_, value)| *value > LIMIT) {
        None => Ok(()),
        Some((key, value)) => {
            Err(Error::config(path, format_args!("`{key}` is {value}, expected at most {LIMIT}")))
        }
    }
}

/// Reads a JSON file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read(path).map_err(Error::read(path))?;
    serde_json::from_slice(&text).map_err(|source| Error::Json { path: path.to_owned(), source })
}

/// Writes an indented JSON file.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let json = |source| Error::Json { path: path.to_owned(), source };
    let mut text = serde_json::to_string_pretty(value).map_err(json)?;
    text.push('\n');
    write_file(path, text).map_err(Error::write(path))
}
