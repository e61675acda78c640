//! Checkpoint folders that other tools read.

use crate::checkpoint::{DECODERS, WEIGHTS};
use crate::config::{Labelled, Model};
use crate::error::{Error, Result};
use crate::folder::replace_folder;
use crate::load::part;
use crate::names::{Kind, Layout};
use crate::tensors::TensorWriter;
use beit_heads::{Classifier, Mim, PixelMim};
use beit_ops::{Device, Tree};
use beit_tokenizer::{KMeans, Tokenizer};
use std::path::Path;

/// Saves a model for masked image modelling in one step; see [`replace_folder`]. `more` may add files.
///
/// # Errors
///
/// When the device or the disk fails, or a parameter is NaN or infinite, and whatever `more` returns. What was there before then
/// stays.
pub fn save_mim<O: Device, E: From<Error>>(
    ops: &O,
    folder: impl AsRef<Path>,
    params: &Mim<O::Tensor>,
    more: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    replace_folder(folder, |folder| {
        Model::Mim(params.config()).write(folder)?;
        save_file(ops, &folder.join(WEIGHTS[0]), params, Layout::Transformers, Kind::Mim)?;
        more(folder)
    })
}

/// Saves a model that draws the pixels of masked patches in one step; see [`replace_folder`]. `more` may add files. Others read it as
/// a transformer without a head.
///
/// # Errors
///
/// When the device or the disk fails, or a parameter is NaN or infinite, and whatever `more` returns. What was there before then
/// stays.
pub fn save_pixel_mim<O: Device, E: From<Error>>(
    ops: &O,
    folder: impl AsRef<Path>,
    params: &PixelMim<O::Tensor>,
    more: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    replace_folder(folder, |folder| {
        Model::Encoder(params.vit.config().clone()).write(folder)?;
        save_file(ops, &folder.join(WEIGHTS[0]), params, Layout::Transformers, Kind::Encoder)?;
        more(folder)
    })
}

/// Saves a classifier, whose classes have these names, in one step; see [`replace_folder`]. `more` may add files.
///
/// # Errors
///
/// When the device or the disk fails, or a parameter is NaN or infinite, and whatever `more` returns. What was there before then
/// stays.
pub fn save_classifier<O: Device, E: From<Error>>(
    ops: &O,
    folder: impl AsRef<Path>,
    params: &Classifier<O::Tensor>,
    labels: &[String],
    more: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    replace_folder(folder, |folder| {
        let config = Labelled { classifier: params.config(), labels: labels.to_vec() };
        Model::Classifier(config).write(folder)?;
        save_file(ops, &folder.join(WEIGHTS[0]), params, Layout::Transformers, Kind::Classifier)?;
        more(folder)
    })
}

/// Saves both halves of a tokenizer in one step; see [`replace_folder`]. `more` may add files.
///
/// # Errors
///
/// When the device or the disk fails, or a parameter is NaN or infinite, and whatever `more` returns. What was there before then
/// stays.
pub fn save_tokenizer<O: Device, E: From<Error>>(
    ops: &O,
    folder: impl AsRef<Path>,
    params: &Tokenizer<O::Tensor>,
    more: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    replace_folder(folder, |folder| {
        Model::Tokenizer(*params.config()).write(folder)?;
        save_file(ops, &folder.join(WEIGHTS[0]), &params.encoder, Layout::Flava, Kind::Tokenizer)?;
        save_file(ops, &folder.join(DECODERS[0]), &params.decoder, Layout::Flava, Kind::Tokenizer)?;
        more(folder)
    })
}

/// Saves a tokenizer by k-means in one step; see [`replace_folder`]. `more` may add files.
///
/// # Errors
///
/// When the device or the disk fails, or a parameter is NaN or infinite, and whatever `more` returns. What was there before then
/// stays.
pub fn save_kmeans<O: Device, E: From<Error>>(
    ops: &O,
    folder: impl AsRef<Path>,
    params: &KMeans<O::Tensor>,
    more: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    replace_folder(folder, |folder| {
        Model::KMeans(*params.config()).write(folder)?;
        save_file(ops, &folder.join(WEIGHTS[0]), params, Layout::KMeans, Kind::Tokenizer)?;
        more(folder)
    })
}

fn save_file<O: Device>(
    ops: &O,
    path: &Path,
    params: &impl Tree<O::Tensor>,
    layout: Layout,
    kind: Kind,
) -> Result<()> {
    let mut writer = TensorWriter::new();
    save_params(ops, &mut writer, params, layout, kind).map_err(|error| error.of_file(path))?;
    writer.write(path)
}

/// Adds the parameters of a model, read from a device, to a file under the names of a layout.
///
/// # Errors
///
/// When the device fails, or a parameter is NaN or infinite.
pub fn save_params<O: Device>(
    ops: &O,
    writer: &mut TensorWriter<'_>,
    params: &impl Tree<O::Tensor>,
    layout: Layout,
    kind: Kind,
) -> Result<()> {
    for (name, param) in params.named() {
        let (shape, values) = (ops.shape(param), ops.read(param)?);
        let names = layout.stored(&name, kind);
        let shape = part(shape, names.len());
        for (name, values) in names.into_iter().zip(values.chunks_exact(shape.elements().max(1))) {
            writer.finite_floats(name, &shape, values)?;
        }
    }
    Ok(())
}
