//! What we save has exactly the tensors that transformers saves; `peers/verify_export.py` loads such folders with transformers.

use beit_ops::Host;
use beit_tests::Golden;
use beit_weights::{Checkpoint, LoadOptions, TensorFile, load_encoder, load_mim, save_classifier, save_mim};
use std::path::Path;

/// Same names, shapes and values.
fn assert_same(ours: &Path, golden: &Golden) {
    let file = |folder: &Path| TensorFile::open(folder.join("model.safetensors")).unwrap();
    let (ours, theirs) = (file(ours), file(&golden.folder));
    let sorted = |file: &TensorFile| {
        let mut names = file.names().to_vec();
        names.sort();
        names
    };
    assert_eq!(sorted(&ours), sorted(&theirs));
    for name in ours.names() {
        assert_eq!(ours.shape(name), theirs.shape(name), "{name}");
        assert_eq!(ours.floats(name).unwrap(), theirs.floats(name).unwrap(), "{name}");
    }
    assert_eq!(ours.metadata("format"), theirs.metadata("format"));
}

#[test]
fn masked_image_modelling() {
    for name in ["hf-mim-relative", "hf-mim-plain"] {
        let (golden, ops, tmp) = (Golden::open(name), Host::<f32>::new(), tempfile::tempdir().unwrap());
        let loaded = load_mim(&ops, &golden.folder).unwrap();
        let folder = tmp.path().join("saved");
        save_mim(&ops, &folder, &loaded.params, beit_weights::no_more_files).unwrap();
        assert_same(&folder, &golden);
        assert_eq!(load_mim(&ops, &folder).unwrap().params.config(), loaded.params.config());
    }
}

#[test]
fn classifier() {
    let (golden, ops, tmp) = (Golden::open("hf-classify"), Host::<f32>::new(), tempfile::tempdir().unwrap());
    let checkpoint = Checkpoint::open(&golden.folder).unwrap();
    let loaded = checkpoint.classifier(&ops, LoadOptions::default()).unwrap();
    let folder = tmp.path().join("saved");
    save_classifier(&ops, &folder, &loaded.params, checkpoint.labels(), beit_weights::no_more_files).unwrap();
    assert_same(&folder, &golden);
    let again = Checkpoint::open(&folder).unwrap();
    assert_eq!(again.labels(), checkpoint.labels());
    assert_eq!(again.classifier(&ops, LoadOptions::default()).unwrap().params, loaded.params);
}

#[test]
fn tokenizer() {
    let (golden, ops, tmp) =
        (Golden::open("flava-codebook"), Host::<f32>::new(), tempfile::tempdir().unwrap());
    let loaded = load_encoder(&ops, &golden.folder).unwrap();
    let mut tokenizer = beit_tokenizer::init(&ops, loaded.params.config(), 0);
    tokenizer.encoder = loaded.params;
    let folder = tmp.path().join("saved");
    beit_weights::save_tokenizer(&ops, &folder, &tokenizer, beit_weights::no_more_files).unwrap();
    assert_same(&folder, &golden);
    assert_eq!(beit_weights::load_tokenizer(&ops, &folder).unwrap().params, tokenizer);
}
