//! A small classifier, its folder, and what it answers.

use beit_data::{Image, Preprocessing};
use beit_heads::{Classifier, ClassifierConfig, Pooling};
use beit_ops::prelude::*;
use beit_ops::{Host, Tree};
use beit_vit::{Config, Preset, RelativePositions};
use beit_weights::{
    Checkpoint, LoadOptions, OpenOptions, TensorFile, TensorWriter, save_classifier, write_preprocessing,
};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::{TempDir, tempdir};

pub(crate) type Device = Host<f32>;

/// 16x16 images in four patches, 2 heads, which the width does not tell.
pub(crate) fn vit() -> Config {
    Config {
        image: [16; 2],
        patch: [8; 2],
        width: 16,
        depth: 2,
        heads: 2,
        hidden: 24,
        relative_positions: RelativePositions::PerLayer,
        drop_path: 0.0,
        ..Config::new(Preset::Tiny)
    }
}

pub(crate) fn classes(count: usize) -> Vec<String> {
    (0..count).map(|class| format!("class {class}")).collect()
}

/// Saves a classifier with a preprocessing.
pub(crate) fn save(folder: &Path, config: &ClassifierConfig, seed: u64) {
    let ops = Device::new();
    // No parameter is zero, so that one that is lost or exchanged shows.
    let mut number = seed;
    let mut model = Classifier::init(&ops, config, seed).map(&mut |param| {
        let (shape, values) = (ops.shape(param), ops.read(param).unwrap());
        let moved: Vec<f32> = values
            .into_iter()
            .map(|x| {
                number += 1;
                x + ((number * 7919) % 101) as f32 / 1010.0 - 0.05
            })
            .collect();
        ops.upload(shape, &moved)
    });
    // Logits of untrained heads are nearly alike.
    let count = config.classes * config.vit.width;
    let head: Vec<f32> = (0..count).map(|i| ((i * 7919 + seed as usize) % 101) as f32 / 25.0 - 2.0).collect();
    model.head.weight = ops.upload([config.classes, config.vit.width], &head);
    let preprocessing = Preprocessing::hugging_face(config.vit.image);
    save_classifier(&ops, folder, &model, &classes(config.classes), |folder| {
        write_preprocessing(folder, &preprocessing)
    })
    .unwrap();
}

pub(crate) fn saved_as(config: &ClassifierConfig) -> (TempDir, PathBuf) {
    let tmp = tempdir().unwrap();
    let folder = tmp.path().join("model");
    save(&folder, config, 3);
    (tmp, folder)
}

pub(crate) fn saved() -> (TempDir, PathBuf) {
    saved_as(&ClassifierConfig::on(vit(), 3, Pooling::Mean))
}

/// What a checkpoint says of one picture, in bits.
pub(crate) fn answer(path: &Path) -> Vec<u32> {
    answer_with(path, OpenOptions::default())
}

pub(crate) fn answer_with(path: &Path, options: OpenOptions) -> Vec<u32> {
    let checkpoint = Checkpoint::open_with(path, options).unwrap();
    logits(&checkpoint).into_iter().map(f32::to_bits).collect()
}

fn logits(checkpoint: &Checkpoint) -> Vec<f32> {
    let ops = Device::new();
    let model = checkpoint.classifier(&ops, LoadOptions::default()).unwrap().params;
    let config = model.vit.config();
    let numbers: Vec<f32> = (0..config.numbers()).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
    let images = ops.upload(config.images(1), &numbers);
    ops.read(&model.infer(&ops, &images)).unwrap()
}

/// What is said where a checkpoint cannot be used.
pub(crate) fn refusal(path: &Path) -> String {
    let opened = Checkpoint::open(path)
        .and_then(|checkpoint| checkpoint.classifier(&Device::new(), LoadOptions::default()).map(drop));
    opened.unwrap_err().to_string()
}

/// A change of a JSON file.
pub(crate) type Change = fn(&mut Value);

/// Changes a JSON file.
pub(crate) fn edit(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut json = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut json);
    fs::write(path, json.to_string()).unwrap();
}

/// Writes the tensors of a file under other names to another: a name may become several.
pub(crate) fn rename(from: &Path, to: &Path, names: impl Fn(&str) -> Vec<(String, f32)>) {
    let file = TensorFile::open(from).unwrap();
    let mut writer = TensorWriter::new();
    for name in file.names() {
        for (new, factor) in names(name) {
            let values: Vec<f32> = file.floats(name).unwrap().into_iter().map(|x| x * factor).collect();
            writer.floats(new, file.shape(name).unwrap(), &values);
        }
    }
    writer.write(to).unwrap();
}

/// A picture in which no two pixels are alike.
pub(crate) fn picture(height: usize, width: usize) -> Image {
    Image::new(height, width, (0..height * width * 3).map(|i| (i * 41 % 251) as u8).collect())
}
