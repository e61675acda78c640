//! What is saved is loaded bit for bit, whatever the layout.

use crate::models::{Device, classifier, classifier_config, distinct, mim, mim_config};
use beit_data::{Bands, Channels, Filter, Fit, Normalise, PerChannel, Preprocessing};
use beit_heads::{Mim, Pooling};
use beit_ops::prelude::*;
use beit_ops::{Shape, Tree};
use beit_weights::{
    Labelled, Model, TensorFile, TensorWriter, Weights, load_classifier, load_mim, load_params,
    load_tokenizer, no_more_files, read_preprocessing, save_classifier, save_mim, save_tokenizer,
    write_preprocessing,
};
use half::{bf16, f16};
use safetensors::{Dtype, tensor::TensorView};
use tempfile::tempdir;

#[test]
fn masked_image_modelling() {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    let folder = tmp.path().join("a/b");
    save_mim(&ops, &folder, &mim(&ops), no_more_files).unwrap();
    let loaded = load_mim(&ops, &folder).unwrap();
    assert_eq!((loaded.params.config(), loaded.params), (mim_config(), mim(&ops)));
}

#[test]
fn classifiers() {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    for pooling in [Pooling::Mean, Pooling::Cls] {
        let labels = ["cat", "dog", "10"].map(str::to_owned).to_vec();
        let config = Labelled { classifier: classifier_config(pooling), labels };
        save_classifier(
            &ops,
            tmp.path().join("c"),
            &classifier(&ops, pooling),
            &config.labels,
            no_more_files,
        )
        .unwrap();
        let loaded = load_classifier(&ops, tmp.path().join("c")).unwrap();
        assert_eq!((loaded.params.config(), loaded.params), (config.classifier, classifier(&ops, pooling)));
    }
}

#[test]
fn tokenizers() {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    let config = beit_tokenizer::Config::tiny();
    let tokenizer = distinct(&ops, &beit_tokenizer::init(&ops, &config, 0));
    save_tokenizer(&ops, tmp.path().join("t"), &tokenizer, no_more_files).unwrap();
    let loaded = load_tokenizer(&ops, tmp.path().join("t")).unwrap();
    assert_eq!((*loaded.params.config(), loaded.params), (config, tokenizer));
    assert_eq!(Model::read(tmp.path().join("t")).unwrap(), Model::Tokenizer(config));
}

/// The official names, wrapped, with the index that the released files carry.
#[test]
fn official_names() {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    let path = tmp.path().join("official.safetensors");
    let mut writer = TensorWriter::new();
    for (name, param) in mim(&ops).named() {
        writer.floats(format!("model.{name}"), &ops.shape(param), &ops.read(param).unwrap());
    }
    writer.integers("model.rel_pos_bias.relative_position_index", &[5, 5], &[0; 25]);
    writer.write(&path).unwrap();
    let loaded: Mim<_> =
        load_params(&ops, &Weights::open(path).unwrap(), &Mim::<Shape>::shapes(&mim_config())).unwrap();
    assert_eq!(loaded, mim(&ops));
}

#[test]
fn half_precision() {
    let tmp = tempdir().unwrap();
    let path = tmp.path().join("half.safetensors");
    let values = [0.5f32, -3.0, 0.15625, 1024.0];
    let f16: Vec<u8> = values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect();
    let bf16: Vec<u8> = values.iter().flat_map(|&x| bf16::from_f32(x).to_le_bytes()).collect();
    let views = [
        ("f16", TensorView::new(Dtype::F16, vec![4], &f16).unwrap()),
        ("bf16", TensorView::new(Dtype::BF16, vec![2, 2], &bf16).unwrap()),
    ];
    safetensors::serialize_to_file(views, None, &path).unwrap();
    let file = TensorFile::open(&path).unwrap();
    assert_eq!(file.floats("f16").unwrap(), values);
    assert_eq!(file.floats_of("bf16", &[2, 2]).unwrap(), values);
}

#[test]
fn masks_of_any_type() {
    let tmp = tempdir().unwrap();
    let path = tmp.path().join("mask.safetensors");
    let mut writer = TensorWriter::new();
    writer.bytes("u8", &[3], &[0, 1, 2]).integers("i64", &[3], &[0, 1, -1]).floats(
        "f32",
        &[3],
        &[0.0, 1.0, 0.5],
    );
    writer.metadata("step", "7").write(&path).unwrap();
    let file = TensorFile::open(&path).unwrap();
    for name in ["u8", "i64", "f32"] {
        assert_eq!(file.mask(name).unwrap(), [false, true, true], "{name}");
    }
    assert_eq!(file.integers("u8").unwrap(), [0, 1, 2]);
    assert_eq!((file.metadata("step"), file.metadata("format")), (Some("7"), Some("pt")));
}

/// How pictures are read that have other channels than colours, with statistics of dark pictures of 16 bits.
#[test]
fn channels_as_they_are_are_said() {
    let tmp = tempdir().unwrap();
    for count in [1, 2, 3, 5, 16] {
        let numbers = |from: f32| -> Vec<f32> { (0..count).map(|c| from * (c + 1) as f32).collect() };
        let normalise = Normalise {
            channels: Channels::Own(Bands::new(count).unwrap()),
            mean: PerChannel::new(&numbers(2e-3)).unwrap(),
            std: PerChannel::new(&numbers(1e-4)).unwrap(),
        };
        write_preprocessing(tmp.path(), &Preprocessing { normalise, ..Preprocessing::unilm([28; 2]) })
            .unwrap();
        let read = read_preprocessing(tmp.path()).unwrap().normalise;
        assert_eq!(read.channels, normalise.channels);
        assert_eq!((&read.mean[..count], &read.std[..count]), (&normalise.mean[..], &normalise.std[..]));
    }
}

#[test]
fn preprocessors() {
    let tmp = tempdir().unwrap();
    let cropped = Preprocessing {
        filter: Filter::Bicubic,
        normalise: Normalise { mean: [0.485, 0.456, 0.406].into(), ..Normalise::HALF },
        ..Preprocessing::hugging_face([224, 192]).covering(256)
    };
    for preprocessing in [Preprocessing::hugging_face([224, 160]), cropped] {
        write_preprocessing(tmp.path(), &preprocessing).unwrap();
        assert_eq!(read_preprocessing(tmp.path()).unwrap(), preprocessing);
    }
    let file = tmp.path().join("preprocessor_config.json");
    let published = r#"{"crop_size": 224, "do_center_crop": false, "do_normalize": true, "do_resize": true,
        "feature_extractor_type": "BeitFeatureExtractor", "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5], "resample": 2, "size": 384}"#;
    std::fs::write(file, published).unwrap();
    assert_eq!(read_preprocessing(tmp.path()).unwrap(), Preprocessing::hugging_face([384; 2]));
}

/// A file has one number for the shorter side: a rectangle that is covered in its own aspect comes back covering a square.
#[test]
fn what_a_file_says_of_a_rectangle_stays() {
    let tmp = tempdir().unwrap();
    let written = |preprocessing: &Preprocessing| {
        write_preprocessing(tmp.path(), preprocessing).unwrap();
        read_preprocessing(tmp.path()).unwrap()
    };
    let proportional = Preprocessing::unilm([224, 192]);
    assert_eq!(proportional.fit, Fit::CentreCrop { least: [256, 219] });
    let read = written(&proportional);
    assert_eq!(read.fit, Fit::CentreCrop { least: [224, 219] });
    assert_eq!(written(&read), read);
}
