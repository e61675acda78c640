//! Every layout is recognised by its names; what lies around the model is passed over and reported.

use crate::models::{Device, Tensor, classifier, classifier_config, mim, mim_config};
use beit_heads::{Classifier, Mim, Pooling};
use beit_ops::{Shape, Tree};
use beit_weights::{
    Checkpoint, Error, Kind, Labelled, Layout, LoadOptions, Model, TensorFile, TensorWriter, Weights,
    load_classifier, load_mim, load_params, no_more_files, save_mim, save_params,
};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::{TempDir, tempdir};

/// The parameters in one file under the names of a layout.
fn written(path: &Path, params: &impl Tree<Tensor>, layout: Layout, kind: Kind) {
    let mut writer = TensorWriter::new();
    save_params(&Device::new(), &mut writer, params, layout, kind).unwrap();
    writer.write(path).unwrap();
}

#[test]
fn names_of_both_versions_of_transformers() {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    for layout in [Layout::Transformers, Layout::Transformers5, Layout::Timm] {
        let path = tmp.path().join("mim.safetensors");
        written(&path, &mim(&ops), layout, Kind::Mim);
        let weights = Weights::open(&path).unwrap();
        assert_eq!((weights.layout(), weights.kind()), (layout, Kind::Mim));
        let loaded: Mim<_> = load_params(&ops, &weights, &Mim::<Shape>::shapes(&mim_config())).unwrap();
        assert_eq!(loaded, mim(&ops), "{layout}");
    }
    for pooling in [Pooling::Mean, Pooling::Cls] {
        let path = tmp.path().join("classifier.safetensors");
        written(&path, &classifier(&ops, pooling), Layout::Transformers5, Kind::Classifier);
        let shapes = Classifier::<Shape>::shapes(&classifier_config(pooling));
        let loaded = load_params(&ops, &Weights::open(&path).unwrap(), &shapes).unwrap();
        assert_eq!(loaded, classifier(&ops, pooling));
    }
}

/// A file alone says what model it holds.
#[test]
fn models_from_shapes() {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    let path = tmp.path().join("alone.safetensors");
    written(&path, &classifier(&ops, Pooling::Mean), Layout::Timm, Kind::Classifier);
    let checkpoint = Checkpoint::open(&path).unwrap();
    let Model::Classifier(found) = checkpoint.model() else { panic!("a classifier") };
    let mut expected = classifier_config(Pooling::Mean);
    expected.vit.drop_path = found.classifier.vit.drop_path;
    assert_eq!(*found, Labelled::unnamed(expected));
    assert_eq!(load_classifier(&ops, &path).unwrap().params, classifier(&ops, Pooling::Mean));
}

#[test]
fn tensors_beside_the_model_are_reported() {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    let (bare, path) = (tmp.path().join("bare.safetensors"), tmp.path().join("wrapped.safetensors"));
    written(&bare, &mim(&ops), Layout::Timm, Kind::Mim);
    let file = TensorFile::open(&bare).unwrap();
    let mut writer = TensorWriter::new();
    for name in file.names() {
        writer.floats(format!("module.{name}"), file.shape(name).unwrap(), &file.floats(name).unwrap());
    }
    writer.integers("optimizer.step", &[1], &[7]).write(&path).unwrap();
    let loaded = load_mim(&ops, &path).unwrap();
    assert_eq!(loaded.params, mim(&ops));
    assert_eq!(loaded.report.outside, ["optimizer.step"]);
    assert!(loaded.report.to_string().contains("not of the model: optimizer.step"), "{}", loaded.report);
}

#[test]
fn nobody_knows_these() {
    let tmp = tempdir().unwrap();
    let path = tmp.path().join("resnet.safetensors");
    TensorWriter::new().floats("layer1.0.conv1.weight", &[1], &[0.0]).write(&path).unwrap();
    let text = Checkpoint::open(&path).map(drop).unwrap_err().to_string();
    assert!(text.contains("found `layer1.0.conv1.weight`, expected the names of a BEiT model"), "{text}");
    TensorWriter::new().write(&path).unwrap();
    let text = Checkpoint::open(&path).map(drop).unwrap_err().to_string();
    assert!(text.contains("found no tensors"), "{text}");
}

fn saved() -> (TempDir, PathBuf) {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    let folder = tmp.path().join("mim");
    save_mim(&ops, &folder, &mim(&ops), no_more_files).unwrap();
    (tmp, folder)
}

/// Splits `model.safetensors` of a folder into two files and an index.
fn shard(folder: &Path) {
    let whole = folder.join("model.safetensors");
    let file = TensorFile::open(&whole).unwrap();
    let mut map = serde_json::Map::new();
    for (part, own) in [("a", 0), ("b", 1)] {
        let mut writer = TensorWriter::new();
        for (_, name) in file.names().iter().enumerate().filter(|(i, _)| i % 2 == own) {
            writer.floats(name, file.shape(name).unwrap(), &file.floats(name).unwrap());
            map.insert(name.clone(), format!("model-{part}.safetensors").into());
        }
        writer.write(folder.join(format!("model-{part}.safetensors"))).unwrap();
    }
    let index = serde_json::json!({ "metadata": {}, "weight_map": map });
    fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
    fs::remove_file(whole).unwrap();
}

#[test]
fn weights_in_several_files() {
    let ((_tmp, folder), ops) = (saved(), Device::new());
    shard(&folder);
    assert_eq!(load_mim(&ops, &folder).unwrap().params, mim(&ops));
    let message = || load_mim(&ops, &folder).map(drop).unwrap_err().to_string();

    let index = folder.join("model.safetensors.index.json");
    let whole = fs::read_to_string(&index).unwrap();
    fs::write(&index, whole.replacen("model-a.safetensors", "../model-a.safetensors", 1)).unwrap();
    assert!(message().contains("asks for the file `../model-a.safetensors`"), "{}", message());
    let name = "beit.embeddings.cls_token";
    let mut changed: serde_json::Value = serde_json::from_str(&whole).unwrap();
    changed["weight_map"].as_object_mut().unwrap().remove(name);
    fs::write(&index, changed.to_string()).unwrap();
    assert!(message().contains(&format!("tensor `{name}` is not in the index")), "{}", message());
    changed["weight_map"]["more"] = "model-a.safetensors".into();
    changed["weight_map"][name] = "model-b.safetensors".into();
    fs::write(&index, changed.to_string()).unwrap();
    assert!(message().contains("is not in model-"), "{}", message());
    fs::write(&index, whole).unwrap();
    fs::copy(folder.join("model-a.safetensors"), folder.join("model-b.safetensors")).unwrap();
    assert!(message().contains("another tensor called"), "{}", message());
}

/// JSON with a key twice is legal, and readers take the last; a tensor that is there twice is not.
#[test]
fn duplicates_and_overlaps_are_refused() {
    let tmp = tempdir().unwrap();
    let path = tmp.path().join("twice.safetensors");
    let file = |header: &str, data: usize| {
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; data]].concat();
        fs::write(&path, bytes).unwrap();
        TensorFile::open(&path).map(drop).unwrap_err()
    };
    let tensor = r#"{"dtype":"F32","shape":[1],"data_offsets":[0,4]}"#;
    let error = file(&format!(r#"{{"cls_token":{tensor},"cls_token":{tensor}}}"#), 4);
    assert!(error.to_string().contains("two tensors are called `cls_token`"), "{error}");
    let error = file(&format!(r#"{{"a":{tensor},"b":{tensor}}}"#), 4);
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    let error = file(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, 4);
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
}

#[test]
fn leniency_takes_what_fits_and_says_what_does_not() {
    let ((_tmp, folder), ops) = (saved(), Device::new());
    let path = folder.join("model.safetensors");
    let file = TensorFile::open(&path).unwrap();
    let mut writer = TensorWriter::new();
    for name in file.names().iter().filter(|name| *name != "layernorm.weight") {
        writer.floats(name, file.shape(name).unwrap(), &file.floats(name).unwrap());
    }
    writer.floats("more", &[1], &[0.0]).write(&path).unwrap();
    assert!(matches!(load_mim(&ops, &folder), Err(Error::Tensors { problems, .. }) if problems.len() == 2));
    let options = LoadOptions { lenient: true, ..LoadOptions::default() };
    let loaded = Checkpoint::open(&folder).unwrap().mim(&ops, options).unwrap();
    assert_eq!(loaded.params.lm_head, mim(&ops).lm_head);
    assert_eq!(&loaded.params.vit.norm.unwrap().weight[..], [1.0; 8]);
    assert_eq!(loaded.report.new, ["norm.weight"]);
    let text = loaded.report.to_string();
    for part in ["new: norm.weight", "`layernorm.weight` [8] is missing", "`more` [1] is no parameter"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}
