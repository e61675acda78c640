//! Every error names the file and what is wrong with it.

use crate::models::{Device, classifier, classifier_config, mim};
use beit_heads::Pooling;
use beit_weights::{
    Checkpoint, Error, Labelled, Model, Problem, TensorFile, TensorWriter, load_classifier, load_encoder,
    load_mim, load_tokenizer, no_more_files, save_classifier, save_mim,
};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::{TempDir, tempdir};

/// A sound checkpoint of masked image modelling.
fn saved() -> (TempDir, PathBuf) {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    let folder = tmp.path().join("mim");
    save_mim(&ops, &folder, &mim(&ops), no_more_files).unwrap();
    (tmp, folder)
}

fn load_error(folder: &Path) -> Error {
    load_mim(&Device::new(), folder).map(|_| ()).unwrap_err()
}

/// Writes the checkpoint's tensors again after `change`.
fn rewrite(folder: &Path, change: impl Fn(&str) -> Option<String>, more: impl Fn(&mut TensorWriter<'_>)) {
    let path = folder.join("model.safetensors");
    let file = TensorFile::open(&path).unwrap();
    let mut writer = TensorWriter::new();
    for name in file.names() {
        if let Some(renamed) = change(name) {
            writer.floats(renamed, file.shape(name).unwrap(), &file.floats(name).unwrap());
        }
    }
    more(&mut writer);
    writer.write(path).unwrap();
}

#[test]
fn missing_unexpected_and_misshapen_tensors_are_all_named() {
    let (_tmp, folder) = saved();
    let keep = |name: &str| match name {
        "lm_head.bias" => None,
        "layernorm.bias" => Some("layernorm.bais".to_owned()),
        other => Some(other.to_owned()),
    };
    rewrite(&folder, keep, |writer| {
        writer.floats("beit.embeddings.cls_token", &[1, 1, 9], &[0.0; 9]);
        writer.integers("layernorm.weight", &[8], &[0; 8]);
    });
    let error = load_error(&folder);
    let text = error.to_string();
    for part in [
        "model.safetensors does not fit the model",
        "`lm_head.bias` [6] is missing",
        "`layernorm.bias` [8] is missing",
        "`layernorm.bais` [8] is no parameter of it",
        "`beit.embeddings.cls_token` has shape [1, 1, 9], expected [1, 1, 8]",
        "`layernorm.weight` holds I64, expected F32, F16, BF16 or F64",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(matches!(error, Error::Tensors { problems, .. } if problems.len() == 5));
}

#[test]
fn long_lists_are_cut() {
    let (_tmp, folder) = saved();
    let keep = |name: &str| name.starts_with("beit.encoder.layer.0").then(|| name.to_owned());
    rewrite(&folder, keep, |_| {});
    assert!(load_error(&folder).to_string().contains(" more; check"), "{}", load_error(&folder));
}

#[test]
fn damaged_files() {
    let (_tmp, folder) = saved();
    let path = folder.join("model.safetensors");
    let whole = fs::read(&path).unwrap();
    let header = u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let claims = |json: &str| [&(json.len() as u64).to_le_bytes()[..], json.as_bytes()].concat();
    let rows = [
        ("empty", Vec::new()),
        ("a few bytes", whole[..5].to_vec()),
        ("half a header", whole[..header / 2].to_vec()),
        ("without its end", whole[..whole.len() - 1].to_vec()),
        ("with something behind its end", [&whole[..], &[0]].concat()),
        ("a header of 2^60 bytes", [&(1u64 << 60).to_le_bytes()[..], &whole[8..]].concat()),
        (
            "2^40 numbers",
            claims(r#"{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}"#),
        ),
        (
            "an overflow",
            claims(r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#),
        ),
        ("offsets out of order", claims(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[8,4]}}"#)),
        ("no JSON", claims("{{{{")),
    ];
    for (what, bytes) in rows {
        fs::write(&path, bytes).unwrap();
        let error = load_error(&folder);
        assert!(matches!(error, Error::Damaged { .. }), "{what}: {error:?}");
        assert!(error.to_string().contains("model.safetensors is damaged"), "{what}: {error}");
    }
}

#[test]
fn absent_files() {
    let (_tmp, folder) = saved();
    assert!(
        matches!(load_error(Path::new("/nowhere")), Error::NoCheckpoint { path } if path == Path::new("/nowhere"))
    );
    fs::remove_file(folder.join("model.safetensors")).unwrap();
    assert!(matches!(load_error(&folder), Error::Read { path, .. } if path.ends_with("model.safetensors")));
}

/// Changes one key of config.json.
fn with_key(folder: &Path, key: &str, value: serde_json::Value) -> String {
    let path = folder.join("config.json");
    let whole = fs::read(&path).unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&whole).unwrap();
    json[key] = value;
    fs::write(&path, json.to_string()).unwrap();
    let text = load_error(folder).to_string();
    fs::write(&path, whole).unwrap();
    text
}

#[test]
fn configurations() {
    let (_tmp, folder) = saved();
    let rows = [
        ("hidden_act", "relu".into(), "`hidden_act` is \"relu\", but only \"gelu\" is supported"),
        ("use_mean_pooling", false.into(), "`use_mean_pooling` is false, but only true is supported"),
        ("use_relative_position_bias", true.into(), "are both true"),
        ("num_attention_heads", 3.into(), "not divisible by the number of heads"),
        (
            "num_hidden_layers",
            (1u64 << 60).into(),
            "`num_hidden_layers` is 1152921504606846976, expected at most 65536",
        ),
        ("hidden_size", (-8).into(), "`hidden_size` is -8: invalid value"),
        ("vocab_size", 0.into(), "`vocab_size` is 0"),
        ("vocab_size", 7.into(), "`lm_head.weight` has shape [6, 8], expected [7, 8]"),
        ("hidden_size", "big".into(), "`hidden_size` is \"big\": invalid type"),
    ];
    for (key, value, part) in rows {
        let text = with_key(&folder, key, value);
        assert!(text.contains(part) && text.contains(folder.to_str().unwrap()), "{key}: {text}");
    }
}

#[test]
fn defaults_of_transformers() {
    let tmp = tempdir().unwrap();
    fs::write(tmp.path().join("config.json"), r#"{"architectures": ["BeitForImageClassification"]}"#)
        .unwrap();
    let Model::Classifier(Labelled { classifier, labels }) = Model::read(tmp.path()).unwrap() else {
        panic!("a classifier")
    };
    assert_eq!(labels, ["LABEL_0", "LABEL_1"]);
    assert_eq!((classifier.vit.width, classifier.vit.layer_norm_eps), (768, 1e-12));
    let text = r#"{"architectures": ["BeitForImageClassification"], "image_size": [224, 448], "patch_size": [16, 32],
        "layer_scale_init_value": 0.0, "id2label": {"10": "c", "9": "b", "0": "a"}}"#;
    fs::write(tmp.path().join("config.json"), text).unwrap();
    let Model::Classifier(Labelled { classifier, labels }) = Model::read(tmp.path()).unwrap() else {
        panic!("a classifier")
    };
    assert_eq!(labels, ["a", "b", "c"]);
    assert_eq!((classifier.vit.grid(), classifier.vit.layer_scale), ([14, 14], None));
}

#[test]
fn another_kind_of_model() {
    let (tmp, folder) = saved();
    let ops = Device::new();
    let message = |result: Result<(), Error>| result.unwrap_err().to_string();
    let text = message(load_classifier(&ops, &folder).map(drop));
    assert!(text.ends_with("this is a model for masked image modelling, expected a classifier"), "{text}");
    let text = message(load_encoder(&ops, &folder).map(drop));
    assert!(text.ends_with("expected a tokenizer that is a discrete VAE"), "{text}");
    assert_eq!(message(load_tokenizer(&ops, &folder).map(drop)), text);
    let folder = tmp.path().join("c");
    let config = Labelled::unnamed(classifier_config(Pooling::Mean));
    save_classifier(&ops, &folder, &classifier(&ops, Pooling::Mean), &config.labels, no_more_files).unwrap();
    assert!(load_error(&folder).to_string().ends_with("expected a model for masked image modelling"));
}

#[test]
fn tensors_by_name() {
    let (_tmp, folder) = saved();
    let file = TensorFile::open(folder.join("model.safetensors")).unwrap();
    let problem = |result: Result<(), Error>| match result {
        Err(Error::Tensor { problem, .. }) => problem,
        other => panic!("{other:?}"),
    };
    assert!(matches!(problem(file.floats("nothing").map(drop)), Problem::Missing { .. }));
    assert!(matches!(problem(file.integers("lm_head.bias").map(drop)), Problem::Type { .. }));
    assert!(matches!(problem(file.floats_of("lm_head.bias", &[7]).map(drop)), Problem::Shape { .. }));
}

/// Neither a pipe into which nobody writes nor a device without an end is waited for, in whichever place it stands.
#[cfg(target_os = "linux")]
#[test]
fn what_is_no_file_is_called_what_it_is() {
    use rustix::fs::{CWD, FileType, mknodat};
    let make = |kind: &str, path: &Path| match kind {
        "a named pipe" => mknodat(CWD, path, FileType::Fifo, 0o600.into(), 0).unwrap(),
        "a device" => std::os::unix::fs::symlink("/dev/zero", path).unwrap(),
        _ => fs::create_dir(path).unwrap(),
    };
    for name in ["config.json", "preprocessor_config.json", "model.safetensors", "pytorch_model.bin"] {
        for kind in ["a named pipe", "a device", "a folder"] {
            let (_tmp, folder) = saved();
            if name == "pytorch_model.bin" {
                fs::remove_file(folder.join("model.safetensors")).unwrap();
            }
            let _ = fs::remove_file(folder.join(name));
            make(kind, &folder.join(name));
            let error = Checkpoint::open(&folder).map(|_| ()).unwrap_err();
            let Error::Read { path, source } = error else { panic!("{name}: {error}") };
            assert_eq!(path, folder.join(name));
            assert_eq!(source.to_string(), format!("it is {kind}, expected a regular file"));
        }
    }
}

#[test]
fn a_configuration_without_end_is_not_read() {
    let (_tmp, folder) = saved();
    // A hole, which takes no room on the disk.
    fs::File::create(folder.join("config.json")).unwrap().set_len(1 << 36).unwrap();
    let error = load_error(&folder);
    let Error::Read { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.to_string(), "expected at most 33554432 bytes, found 68719476736 bytes");
}
