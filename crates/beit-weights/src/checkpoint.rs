//! Checkpoint folders: configuration and parameters together.

use crate::config::{CONFIG, Labelled, Model};
use crate::error::{Error, Result};
use crate::folder::replace_folder;
use crate::names::Layout;
use crate::params::{load_params, save_params};
use crate::tensors::{TensorFile, TensorWriter};
use beit_heads::{Classifier, Mim, MimConfig};
use beit_ops::{Ops, Shape, Tree};
use beit_tokenizer::{Decoder, Encoder, Tokenizer};
use std::path::Path;

/// The parameters that transformers reads.
pub(crate) const MODEL: &str = "model.safetensors";
/// The half of a tokenizer that transformers does not have. In a file of its own, so that the other is read strictly.
const DECODER: &str = "decoder.safetensors";

/// A model from a checkpoint.
#[derive(Clone, Debug)]
pub struct Loaded<C, P> {
    /// Its sizes.
    pub config: C,
    /// Its parameters, on a device.
    pub params: P,
}

/// Loads a model for masked image modelling.
///
/// # Errors
///
/// When the folder holds something else, or file and configuration do not fit.
pub fn load_mim<O: Ops>(ops: &O, folder: impl AsRef<Path>) -> Result<Loaded<MimConfig, Mim<O::Tensor>>> {
    let folder = folder.as_ref();
    match Model::read(folder)? {
        Model::Mim(config) => {
            let params = load_file(ops, &folder.join(MODEL), &Mim::<Shape>::of(&config))?;
            Ok(Loaded { config, params })
        }
        other => Err(wrong_kind(folder, "a model for masked image modelling", &other)),
    }
}

/// Loads a classifier.
///
/// # Errors
///
/// When the folder holds something else, or file and configuration do not fit.
pub fn load_classifier<O: Ops>(
    ops: &O,
    folder: impl AsRef<Path>,
) -> Result<Loaded<Labelled, Classifier<O::Tensor>>> {
    let folder = folder.as_ref();
    match Model::read(folder)? {
        Model::Classifier(config) => {
            let shapes = Classifier::<Shape>::of(&config.classifier);
            let params = load_file(ops, &folder.join(MODEL), &shapes)?;
            Ok(Loaded { config, params })
        }
        other => Err(wrong_kind(folder, "a classifier", &other)),
    }
}

/// Loads both halves of a tokenizer.
///
/// # Errors
///
/// When the folder holds something else or has no decoder, or files and configuration do not fit.
pub fn load_tokenizer<O: Ops>(
    ops: &O,
    folder: impl AsRef<Path>,
) -> Result<Loaded<beit_tokenizer::Config, Tokenizer<O::Tensor>>> {
    let folder = folder.as_ref();
    let Loaded { config, params: encoder } = load_encoder(ops, folder)?;
    let decoder = load_file(ops, &folder.join(DECODER), &Decoder::<Shape>::of(&config))?;
    Ok(Loaded { config, params: Tokenizer { encoder, decoder } })
}

/// Loads the half of a tokenizer that names visual tokens; `FlavaImageCodebook` of transformers has no other.
///
/// # Errors
///
/// When the folder holds something else, or file and configuration do not fit.
pub fn load_encoder<O: Ops>(
    ops: &O,
    folder: impl AsRef<Path>,
) -> Result<Loaded<beit_tokenizer::Config, Encoder<O::Tensor>>> {
    let folder = folder.as_ref();
    match Model::read(folder)? {
        Model::Tokenizer(config) => {
            let params = load_file(ops, &folder.join(MODEL), &Encoder::<Shape>::of(&config))?;
            Ok(Loaded { config, params })
        }
        other => Err(wrong_kind(folder, "a tokenizer", &other)),
    }
}

/// Saves a model for masked image modelling in one step; see [`replace_folder`]. `more` may add files.
///
/// # Errors
///
/// When the device or the disk fails, and whatever `more` returns.
pub fn save_mim<O: Ops, E: From<Error>>(
    ops: &O,
    folder: impl AsRef<Path>,
    config: &MimConfig,
    params: &Mim<O::Tensor>,
    more: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    replace_folder(folder, |folder| {
        Model::Mim(config.clone()).write(folder)?;
        save_file(ops, &folder.join(MODEL), params, Layout::TransformersMim)?;
        more(folder)
    })
}

/// Saves a classifier in one step; see [`replace_folder`]. `more` may add files.
///
/// # Errors
///
/// When the device or the disk fails, and whatever `more` returns.
pub fn save_classifier<O: Ops, E: From<Error>>(
    ops: &O,
    folder: impl AsRef<Path>,
    config: &Labelled,
    params: &Classifier<O::Tensor>,
    more: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    replace_folder(folder, |folder| {
        Model::Classifier(config.clone()).write(folder)?;
        save_file(ops, &folder.join(MODEL), params, Layout::TransformersClassifier)?;
        more(folder)
    })
}

/// Saves both halves of a tokenizer in one step; see [`replace_folder`]. `more` may add files.
///
/// # Errors
///
/// When the device or the disk fails, and whatever `more` returns.
pub fn save_tokenizer<O: Ops, E: From<Error>>(
    ops: &O,
    folder: impl AsRef<Path>,
    config: &beit_tokenizer::Config,
    params: &Tokenizer<O::Tensor>,
    more: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    replace_folder(folder, |folder| {
        Model::Tokenizer(*config).write(folder)?;
        save_file(ops, &folder.join(MODEL), &params.encoder, Layout::Native)?;
        save_file(ops, &folder.join(DECODER), &params.decoder, Layout::Native)?;
        more(folder)
    })
}

fn load_file<O: Ops, S: Tree<Shape>>(ops: &O, path: &Path, shapes: &S) -> Result<S::Of<O::Tensor>> {
    load_params(ops, &TensorFile::open(path)?, shapes)
}

fn save_file<O: Ops>(ops: &O, path: &Path, params: &impl Tree<O::Tensor>, layout: Layout) -> Result<()> {
    let mut writer = TensorWriter::new();
    save_params(ops, &mut writer, params, layout)?;
    writer.write(path)
}

fn wrong_kind(folder: &Path, expected: &str, found: &Model) -> Error {
    Error::config(&folder.join(CONFIG), format_args!("this is {}, expected {expected}", found.name()))
}
