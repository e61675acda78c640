//! Tokenizers by k-means, which no other tool has: what is saved is loaded, and what is wrong with a folder is named.

use crate::models::{Device, Tensor, distinct};
use beit_ops::{Shape, Tree};
use beit_tokenizer::{KMeans, KMeansConfig};
use beit_weights::{
    Checkpoint, Layout, Model, Origin, Target, TensorFile, TensorWriter, load_encoder, load_kmeans,
    no_more_files, save_kmeans,
};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::{TempDir, tempdir};

const CONFIG: KMeansConfig = KMeansConfig { channels: 3, vocab: 5, sides: [2, 3], mean_weight: 0.5 };

fn kmeans(ops: &Device) -> KMeans<Tensor> {
    use beit_ops::Device as _;
    distinct(ops, &KMeans::<Shape>::shapes(&CONFIG).map(&mut |shape| ops.zeros(*shape)))
}

fn saved() -> (TempDir, PathBuf) {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    let folder = tmp.path().join("tokenizer");
    save_kmeans(&ops, &folder, &kmeans(&ops), no_more_files).unwrap();
    (tmp, folder)
}

fn load_error(folder: &Path) -> String {
    load_kmeans(&Device::new(), folder).map(drop).unwrap_err().to_string()
}

#[test]
fn what_is_saved_is_loaded() {
    let (_tmp, folder) = saved();
    let ops = Device::new();
    let loaded = load_kmeans(&ops, &folder).unwrap();
    assert_eq!((*loaded.params.config(), loaded.params), (CONFIG, kmeans(&ops)));
    let checkpoint = Checkpoint::open(&folder).unwrap();
    assert_eq!((checkpoint.model(), checkpoint.origin()), (&Model::KMeans(CONFIG), &Origin::Ours));
    assert_eq!(checkpoint.weights().layout(), Layout::KMeans);
    assert_eq!(Model::read(&folder).unwrap().codebook(), Some(CONFIG.codebook()));

    let json: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap();
    assert_eq!(json["model_type"], "beit_kmeans_tokenizer");
    assert_eq!(
        (&json["token_height"], &json["token_width"], &json["mean_weight"]),
        (&2.into(), &3.into(), &0.5.into())
    );
}

/// A file by itself: the shapes tell the sizes, and the weight of the mean is in the numbers already.
#[test]
fn a_file_without_a_configuration() {
    let (_tmp, folder) = saved();
    fs::remove_file(folder.join("config.json")).unwrap();
    let checkpoint = Checkpoint::open(folder.join("model.safetensors")).unwrap();
    assert_eq!(checkpoint.model(), &Model::KMeans(KMeansConfig { mean_weight: 1.0, ..CONFIG }));
    assert_eq!(checkpoint.origin(), &Origin::Shapes);
}

#[test]
fn configurations() {
    let (_tmp, folder) = saved();
    let path = folder.join("config.json");
    let whole: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let rows = [
        ("vocab_size", 0.into(), "expected a positive vocabulary, found 0"),
        ("vocab_size", 6.into(), "`scores.weight` has shape [5, 3, 2, 3], expected [6, 3, 2, 3]"),
        ("token_width", 0.into(), "expected a positive side of a token, found 0"),
        ("token_width", (1u64 << 40).into(), "`token_width` is 1099511627776, expected at most 65536"),
        ("token_height", (-1).into(), "invalid value: integer `-1`"),
        ("token_height", serde_json::Value::Null, "`token_height` is absent"),
        ("mean_weight", (-1).into(), "expected a weight of the mean of at least 0, found -1"),
    ];
    for (key, value, part) in rows {
        let mut json = whole.clone();
        json[key] = value;
        fs::write(&path, json.to_string()).unwrap();
        let text = load_error(&folder);
        assert!(text.contains(part) && text.contains(folder.to_str().unwrap()), "{key}: {text}");
    }
    let mut json = whole;
    json.as_object_mut().unwrap().remove("mean_weight");
    fs::write(&path, json.to_string()).unwrap();
    assert!(load_error(&folder).contains("config.json: `mean_weight` is absent"), "{}", load_error(&folder));
}

#[test]
fn tensors_that_are_missing_or_of_another_shape() {
    let (_tmp, folder) = saved();
    let path = folder.join("model.safetensors");
    let file = TensorFile::open(&path).unwrap();
    let mut writer = TensorWriter::new();
    for name in ["scores.weight", "pictures"] {
        writer.floats(name, file.shape(name).unwrap(), &file.floats(name).unwrap());
    }
    writer.floats("pictures", &[4, 3, 2, 3], &[0.0; 72]);
    writer.write(&path).unwrap();
    let text = load_error(&folder);
    for part in [
        "model.safetensors does not fit the model",
        "`scores.bias` [5] is missing",
        "`pictures` has shape [4, 3, 2, 3], expected [5, 3, 2, 3]",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    fs::write(&path, [0; 5]).unwrap();
    assert!(load_error(&folder).contains("model.safetensors is damaged"));
}

#[test]
fn another_kind_of_tokenizer() {
    let (tmp, folder) = saved();
    let text = load_encoder(&Device::new(), &folder).map(drop).unwrap_err().to_string();
    assert!(
        text.ends_with("this is a tokenizer by k-means, expected a tokenizer that is a discrete VAE"),
        "{text}"
    );
    let new = tmp.path().join("new");
    let text =
        Checkpoint::open(&folder).unwrap().convert(Target::Transformers, &new).unwrap_err().to_string();
    assert!(
        text.contains("this is a tokenizer by k-means, expected a model that other tools have"),
        "{text}"
    );
    assert!(!new.exists());
}
