//! What is said of a checkpoint besides its tensors: beside them in a folder, or in the file that holds them.

use super::infer::{Inferred, Known, infer};
use super::keys::Keys;
use super::model::{CONFIG, Model};
use super::timm::Timm;
use crate::checkpoint::OpenOptions;
use crate::error::{Error, Result};
use crate::preprocessor::{self, PREPROCESSOR};
use crate::weights::Weights;
use beit_data::Preprocessing;
use beit_vit::Config;
use std::path::Path;

/// Where a file that this project writes without a folder has `config.json`: a remark of safetensors, or a text beside the parameters
/// of a `.pth`. Readers of the released code look for neither.
pub(crate) const CONFIG_REMARK: &str = "beit_config";
/// The same of `preprocessor_config.json`.
pub(crate) const PREPROCESSOR_REMARK: &str = "beit_preprocessor";

/// Where the configuration of a checkpoint is from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// `config.json` of transformers.
    Transformers,
    /// `config.json` of timm, with the name of the architecture.
    Timm(String),
    /// `config.json` of this project, for what no other tool has.
    Ours,
    /// The same in the file of the tensors, written by this project.
    File,
    /// The shapes of the tensors.
    Shapes,
}

/// What is said of a checkpoint.
pub(crate) struct Described {
    words: Words,
    /// `preprocessor_config.json`
    preprocessor: Option<Keys>,
}

enum Words {
    Transformers(Keys),
    Timm(Timm),
    File(Keys),
    Nothing,
}

impl Described {
    /// By the files of a folder.
    pub(crate) fn by_folder(folder: Option<&Path>) -> Result<Self> {
        let keys = |name: &str| {
            let path = folder.map(|folder| folder.join(name)).filter(|path| path.exists());
            path.as_deref().map(Keys::read).transpose()
        };
        let preprocessor = keys(PREPROCESSOR)?;
        let words = match keys(CONFIG)? {
            None => Words::Nothing,
            Some(keys) => match Timm::read(&keys)? {
                Some(timm) => Words::Timm(timm),
                None => Words::Transformers(keys),
            },
        };
        Ok(Self { words, preprocessor })
    }

    /// The same, or where the folder says nothing, by what the file of the tensors says.
    pub(crate) fn or_by_file(self, weights: &Weights) -> Result<Self> {
        let remark = |name: &str| {
            let text = weights.file().metadata(name);
            text.map(|text| Keys::parse(weights.path(), text)).transpose()
        };
        let (Words::Nothing, Some(keys)) = (&self.words, remark(CONFIG_REMARK)?) else { return Ok(self) };
        let preprocessor = self.preprocessor.or(remark(PREPROCESSOR_REMARK)?);
        Ok(Self { words: Words::File(keys), preprocessor })
    }

    /// The model. The options are for what nothing says.
    pub(crate) fn model(&self, weights: &Weights, options: &OpenOptions) -> Result<Inferred> {
        let OpenOptions { heads, likely, image, .. } = *options;
        let inferred = match &self.words {
            Words::Transformers(keys) | Words::File(keys) => {
                let model = Model::described(keys.clone(), Some(weights))?;
                Inferred { model, guesses: Vec::new() }
            }
            Words::Timm(timm) => {
                let known = timm.known()?;
                infer(weights, &Known { heads: known.heads.or(heads), ..known })?
            }
            Words::Nothing => infer(weights, &Known { heads, usual: likely, image, eps: None })?,
        };
        let found = inferred.model.vit().map(|vit| vit.heads);
        match heads.zip(found).filter(|(asked, found)| asked != found) {
            Some((asked, found)) => {
                let problem =
                    format_args!("--heads {asked}: its configuration says {found}; leave the flag out");
                Err(Error::config(weights.path(), problem))
            }
            None => Ok(inferred),
        }
    }

    /// What is wrong with a configuration of transformers that needs no tensors to be understood.
    pub(crate) fn fault(&self) -> Option<Error> {
        match &self.words {
            Words::Transformers(keys) if keys.has("architectures") => {
                Model::described(keys.clone(), None).err()
            }
            _ => None,
        }
    }

    /// Names of the classes that are told apart from the model.
    pub(crate) fn class_names(&self) -> Option<&[String]> {
        match &self.words {
            Words::Timm(timm) => timm.label_names.as_deref(),
            _ => None,
        }
    }

    /// How pictures become the pixels of the model, where that is said. `vit` is its transformer, if it is one.
    pub(crate) fn preprocessing(&self, vit: Option<&Config>) -> Result<Option<Preprocessing>> {
        match (&self.preprocessor, &self.words) {
            (Some(keys), _) => preprocessor::described(keys, vit).map(Some),
            (None, Words::Timm(timm)) => vit.map(|vit| timm.preprocessing(vit)).transpose(),
            (None, _) => Ok(None),
        }
    }

    /// Where the model is from.
    pub(crate) fn origin(&self, model: &Model) -> Origin {
        match &self.words {
            Words::Transformers(_) if model.is_ours() => Origin::Ours,
            Words::Transformers(_) => Origin::Transformers,
            Words::Timm(timm) => Origin::Timm(timm.architecture().to_owned()),
            Words::File(_) => Origin::File,
            Words::Nothing => Origin::Shapes,
        }
    }
}
