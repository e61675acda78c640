//! What is no number is neither saved nor taken.

use crate::models::{Device, classifier, mim};
use beit_heads::Pooling;
use beit_ops::Tree;
use beit_weights::{
    Checkpoint, Error, Layout, LoadOptions, Problem, Target, TensorFile, TensorWriter, load_mim,
    no_more_files, read_preprocessing, save_classifier, save_mim, save_params, save_tokenizer,
};
use safetensors::{Dtype, tensor::TensorView};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::{TempDir, tempdir};

const BAD: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
const NAME: &str = "beit.encoder.layer.1.layernorm_after.weight";

/// A sound checkpoint of masked image modelling.
fn saved() -> (TempDir, PathBuf) {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    let folder = tmp.path().join("mim");
    save_mim(&ops, &folder, &mim(&ops), no_more_files).unwrap();
    (tmp, folder)
}

/// Writes the checkpoint's tensors again, one with `value` in its last place, and `more`.
fn break_tensor(folder: &Path, name: &str, value: f32, more: impl Fn(&mut TensorWriter<'_>)) {
    let path = folder.join("model.safetensors");
    let file = TensorFile::open(&path).unwrap();
    let mut writer = TensorWriter::new();
    for stored in file.names() {
        let mut values = file.floats(stored).unwrap();
        if stored == name {
            *values.last_mut().unwrap() = value;
        }
        writer.floats(stored, file.shape(stored).unwrap(), &values);
    }
    more(&mut writer);
    writer.write(path).unwrap();
}

#[test]
fn what_is_not_finite_is_not_saved_and_the_old_one_stays() {
    let (ops, (_tmp, folder)) = (Device::new(), saved());
    for bad in BAD {
        let mut broken = mim(&ops);
        broken.vit.blocks[1].norm2.weight[7] = bad;
        let error = save_mim(&ops, &folder, &broken, no_more_files).unwrap_err();
        let text = error.to_string();
        for part in ["model.safetensors", NAME, &bad.to_string(), "1 of 8 numbers", "stays as it was"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(matches!(error, Error::NotSaved { problem: Problem::NotFinite { count: [1, 8], .. }, .. }));
        assert_eq!(load_mim(&ops, &folder).unwrap().params, mim(&ops));
        let mut writer = TensorWriter::new();
        let kind = beit_weights::Kind::Mim;
        assert!(save_params(&ops, &mut writer, &broken, Layout::Unilm, kind).is_err());
    }
}

#[test]
fn no_kind_of_model_is_saved_with_what_is_not_finite() {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    let mut model = classifier(&ops, Pooling::Mean);
    *model.leaves_mut().pop().unwrap().last_mut().unwrap() = f32::NAN;
    let labels = ["a", "b", "c"].map(str::to_owned);
    assert!(save_classifier(&ops, tmp.path().join("c"), &model, &labels, no_more_files).is_err());
    for half in 0..2 {
        let mut model = beit_tokenizer::init(&ops, &beit_tokenizer::Config::tiny(), 0);
        let mut leaves = if half == 0 { model.encoder.leaves_mut() } else { model.decoder.leaves_mut() };
        leaves[0][0] = f32::INFINITY;
        let error =
            save_tokenizer(&ops, tmp.path().join("t"), &model, no_more_files).unwrap_err().to_string();
        assert!(error.contains(["model.safetensors", "decoder.safetensors"][half]), "{error}");
    }
    assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0);
}

#[test]
fn what_is_not_finite_is_refused_by_tensor_and_file() {
    for bad in BAD {
        let (_tmp, folder) = saved();
        break_tensor(&folder, NAME, bad, |_| {});
        let error = load_mim(&Device::new(), &folder).map(drop).unwrap_err();
        let text = error.to_string();
        for part in [folder.join("model.safetensors").to_str().unwrap(), NAME, &bad.to_string()] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(matches!(error, Error::Unsound { problems, .. } if problems.len() == 1));
    }
}

/// The tensor is then one that the file lacks: the report names it.
#[test]
fn leniency_goes_on_without_it() {
    let (ops, (_tmp, folder)) = (Device::new(), saved());
    break_tensor(&folder, NAME, f32::NAN, |_| {});
    let lenient = LoadOptions { lenient: true, ..LoadOptions::default() };
    let loaded = Checkpoint::open(&folder).unwrap().mim(&ops, lenient).unwrap();
    assert_eq!(loaded.report.new, ["blocks.1.norm2.weight"]);
    assert!(!loaded.report.taken.contains(&loaded.report.new[0]));
    let text = loaded.report.to_string();
    assert!(text.contains("overlooked") && text.contains(NAME) && text.contains("NaN"), "{text}");
    assert!(loaded.params.vit.blocks[1].norm2.weight.iter().all(|&w| w == 1.0));
}

/// Whatever the type in which it is stored.
#[test]
fn half_precision() {
    let (_tmp, folder) = saved();
    let path = folder.join("model.safetensors");
    for (dtype, bad) in [(Dtype::F16, 0x7C00u16), (Dtype::F16, 0xFE00), (Dtype::BF16, 0x7FC0)] {
        let file = TensorFile::open(&path).unwrap();
        let tensor = |name: &String| {
            let mut bytes = vec![0; 2 * file.shape(name).unwrap().iter().product::<usize>()];
            if name == NAME {
                bytes[4..6].copy_from_slice(&bad.to_le_bytes());
            }
            (name.clone(), file.shape(name).unwrap().to_vec(), bytes)
        };
        let tensors: Vec<_> = file.names().iter().map(tensor).collect();
        drop(file);
        let view = |(name, shape, bytes)| (name, TensorView::new(dtype, shape, bytes).unwrap());
        let views = tensors.iter().map(|(name, shape, bytes)| view((name.clone(), shape.clone(), bytes)));
        safetensors::serialize_to_file(views, None, &path).unwrap();
        let text = load_mim(&Device::new(), &folder).map(drop).unwrap_err().to_string();
        assert!(text.contains(NAME) && text.contains("1 of 8 numbers"), "{dtype:?} {bad:x}: {text}");
    }
}

/// Only what becomes a parameter is asked to be a number.
#[test]
fn tensors_beside_the_model_may_be_anything() {
    let (_tmp, folder) = saved();
    break_tensor(&folder, "", 0.0, |writer| {
        writer.floats(
            "beit.encoder.relative_position_bias.relative_position_index",
            &[2],
            &[f32::NEG_INFINITY; 2],
        );
    });
    assert!(load_mim(&Device::new(), &folder).is_ok());
}

#[test]
fn what_is_not_finite_is_not_converted() {
    let (tmp, folder) = saved();
    break_tensor(&folder, NAME, f32::NAN, |_| {});
    for (target, out) in [(Target::Transformers, "t"), (Target::Timm, "m"), (Target::Unilm, "u.pth")] {
        let out = tmp.path().join(out);
        let text = Checkpoint::open(&folder).unwrap().convert(target, &out).unwrap_err().to_string();
        assert!(text.contains("model.safetensors") && text.contains("NaN") && !out.exists(), "{text}");
    }
}

#[test]
fn a_configuration_with_absurd_numbers_is_refused() {
    let (_tmp, folder) = saved();
    let path = folder.join("config.json");
    let whole = fs::read_to_string(&path).unwrap();
    let with = |eps: f64| {
        let mut config: serde_json::Value = serde_json::from_str(&whole).unwrap();
        config["layer_norm_eps"] = eps.into();
        fs::write(&path, config.to_string()).unwrap();
        Checkpoint::open(&folder).map(drop)
    };
    for eps in [256.0, 0.02, 0.0, -1e-6, 1e-300] {
        let text = with(eps).unwrap_err().to_string();
        for part in [path.to_str().unwrap(), "layer_norm_eps", "expected more than 0 and at most 0.01"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
    for eps in [1e-12, 1e-6, 1e-5, 1e-2] {
        assert!(with(eps).is_ok(), "{eps}");
    }
}

#[test]
fn preprocessing_with_absurd_numbers_is_refused() {
    let tmp = tempdir().unwrap();
    let path = tmp.path().join("preprocessor_config.json");
    let with = |key: &str, value: &str| {
        fs::write(&path, format!(r#"{{"size": 224, "{key}": {value}}}"#)).unwrap();
        read_preprocessing(tmp.path()).map(drop)
    };
    for (key, value) in [
        ("image_mean", "[1e30, 0.5, 0.5]"),
        ("image_mean", "[0.5, 0.5, -1e30]"),
        ("image_std", "[0.5, 1e30, 0.5]"),
        ("image_std", "[0.5, 0.5, 0.0]"),
        ("image_std", "[0.5, 1e-30, 0.5]"),
        ("image_std", "[-0.5, 0.5, 0.5]"),
    ] {
        let text = with(key, value).unwrap_err().to_string();
        for part in [path.to_str().unwrap(), key, "expected numbers from"] {
            assert!(text.contains(part), "{value}: {part} in {text}");
        }
    }
    for (key, value) in [
        ("image_mean", "[0, 0, 0]"),
        ("image_mean", "[123.675, 116.28, 103.53]"),
        ("image_std", "[1, 1, 1]"),
        ("image_std", "[58.395, 57.12, 57.375]"),
    ] {
        assert!(with(key, value).is_ok(), "{key} {value}");
    }
}
