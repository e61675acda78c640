//! Segmenters: what is saved is loaded bit for bit, in every layout; blocks and heads are as the file says.

use crate::models::{Device, Tensor, classifier, distinct, vit};
use beit_heads::segmenter::HeadRunning;
use beit_heads::{Auxiliary, HeadConfig, Pooling, Segmenter, SegmenterConfig};
use beit_ops::Tree;
use beit_ops::prelude::*;
use beit_vit::{Config, RelativePositions};
use beit_weights::{
    Checkpoint, Error, Kind, Layout, LoadOptions, Origin, Target, TensorFile, TensorWriter, WholeSegmenter,
    load_classifier, load_segmenter, no_more_files, save_classifier, save_params, save_segmenter,
};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::{TempDir, tempdir};

const LABELS: [&str; 3] = ["wall", "sky", "10"];

/// 6 blocks, of which transformers reads all but the last.
pub(crate) fn config(head: HeadConfig, taps: [usize; 4]) -> SegmenterConfig {
    let relative_positions = RelativePositions::PerLayer;
    let vit = Config { depth: 6, relative_positions, layer_norm_eps: 1e-6, ..vit() };
    SegmenterConfig::on(vit, LABELS.len(), taps, head)
}

pub(crate) fn upernet() -> HeadConfig {
    let auxiliary = Some(Auxiliary { channels: 5, layers: 2 });
    HeadConfig::Upernet { channels: vit().width, scales: vec![1, 2], auxiliary }
}

/// Every head that files can have: those of transformers first.
fn heads() -> [HeadConfig; 6] {
    let narrow = HeadConfig::Upernet { channels: 4, scales: vec![1, 2, 3, 6], auxiliary: None };
    [
        upernet(),
        HeadConfig::upernet(vit().width),
        HeadConfig::Upernet { channels: vit().width, scales: vec![3], auxiliary: None },
        narrow,
        HeadConfig::SetrPup { channels: 4, auxiliary: false },
        HeadConfig::SetrPup { channels: 5, auxiliary: true },
    ]
}

pub(crate) fn segmenter(config: &SegmenterConfig) -> WholeSegmenter<Tensor> {
    let ops = Device::new();
    let (model, running) = (Segmenter::init(&ops, config, 0), Segmenter::init_running(&ops, config));
    distinct(&ops, &WholeSegmenter { model, running })
}

pub(crate) fn saved(config: &SegmenterConfig) -> (TempDir, PathBuf) {
    let tmp = tempdir().unwrap();
    let folder = tmp.path().join("segmenter");
    save(&folder, &segmenter(config)).unwrap();
    (tmp, folder)
}

fn save(folder: &Path, whole: &WholeSegmenter<Tensor>) -> Result<(), Error> {
    let labels = LABELS.map(str::to_owned);
    save_segmenter(&Device::new(), folder, &whole.model, &whole.running, &labels, no_more_files)
}

pub(crate) fn edit(folder: &Path, change: impl FnOnce(&mut serde_json::Map<String, Value>)) {
    let path = folder.join("config.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(json.as_object_mut().unwrap());
    fs::write(path, json.to_string()).unwrap();
}

pub(crate) fn keys(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("config.json")).unwrap()).unwrap()
}

pub(crate) fn refusal(path: &Path) -> String {
    load_segmenter(&Device::new(), path).map(drop).unwrap_err().to_string()
}

#[test]
fn of_every_head_are_loaded_as_they_were_saved() {
    for (i, head) in heads().into_iter().enumerate() {
        let config = config(head, [1, 2, 3, 5]);
        let (_tmp, folder) = saved(&config);
        let checkpoint = Checkpoint::open(&folder).unwrap();
        let loaded = checkpoint.segmenter(&Device::new(), LoadOptions::default()).unwrap();
        assert_eq!(loaded.params.model.config(), &config);
        assert_eq!(loaded.params, segmenter(&config), "{config:?}");
        assert!(loaded.report.dropped.is_empty() && loaded.report.new.is_empty());
        assert!(loaded.report.buffers.iter().all(|name| name.ends_with("num_batches_tracked")));
        assert_eq!((checkpoint.labels(), checkpoint.notes()), (&LABELS.map(str::to_owned)[..], &[][..]));
        let ours = if i < 3 { Origin::Transformers } else { Origin::Ours };
        assert_eq!(checkpoint.origin(), &ours, "{config:?}");
    }
}

/// To every layout, and back from it to that of transformers.
#[test]
fn every_conversion_keeps_every_bit() {
    let ops = Device::new();
    for head in heads() {
        let config = config(head, [1, 2, 3, 5]);
        let (tmp, folder) = saved(&config);
        for (target, name) in [
            (Target::Transformers, "hf"),
            (Target::Timm, "timm"),
            (Target::Unilm, "u.pth"),
            (Target::Unilm, "u.safetensors"),
        ] {
            let (there, back) = (tmp.path().join(name), tmp.path().join("back"));
            let whole = Checkpoint::open(&folder).unwrap();
            whole.convert(target, &there).unwrap();
            let converted = Checkpoint::open(&there).unwrap();
            assert_eq!((converted.model(), converted.notes()), (whole.model(), &[][..]), "{name}");
            let loaded = converted.segmenter(&ops, LoadOptions::default()).unwrap();
            assert_eq!(loaded.params, segmenter(&config), "{name} {config:?}");
            converted.convert(Target::Transformers, &back).unwrap();
            for file in ["model.safetensors", "config.json"] {
                let bytes = |folder: &Path| fs::read(folder.join(file)).unwrap();
                assert!(bytes(&back) == bytes(&folder), "{file} by {name}: {config:?}");
            }
        }
    }
}

/// mmsegmentation keeps the transformer and the larger maps under `backbone.`, the heads beside it, all in `state_dict`.
#[test]
fn names_of_mmsegmentation() {
    let (tmp, folder) = saved(&config(upernet(), [1, 2, 3, 5]));
    let pth = tmp.path().join("ade.pth");
    Checkpoint::open(&folder).unwrap().convert(Target::Unilm, &pth).unwrap();
    let file = TensorFile::open(&pth).unwrap();
    for name in [
        "backbone.blocks.5.attn.relative_position_index",
        "backbone.fpn1.1.num_batches_tracked",
        "backbone.fpn2.0.bias",
        "decode_head.psp_modules.1.1.bn.running_var",
        "decode_head.conv_seg.weight",
        "auxiliary_head.convs.1.bn.running_mean",
    ] {
        assert!(file.names().contains(&format!("state_dict.{name}")), "{name} in {:?}", file.names());
    }
    let count = "state_dict.decode_head.bottleneck.bn.num_batches_tracked";
    assert_eq!((file.shape(count), file.integers(count).unwrap()), (Some(&[][..]), vec![0]));
}

/// The authors' file has no words of ours: its blocks are the usual ones, and nothing about them is open.
#[test]
fn the_file_of_the_authors() {
    let config = config(HeadConfig::upernet(vit().width), SegmenterConfig::usual_taps(6));
    let (tmp, folder) = saved(&config);
    let (pth, bare) = (tmp.path().join("ade.pth"), tmp.path().join("bare.safetensors"));
    Checkpoint::open(&folder).unwrap().convert(Target::Unilm, &pth).unwrap();
    let file = TensorFile::open(&pth).unwrap();
    let mut writer = TensorWriter::new();
    for name in file.names() {
        let shape = file.shape(name).unwrap();
        match file.integers(name) {
            Ok(values) => writer.integers(name, shape, &values),
            Err(_) => writer.floats(name, shape, &file.floats(name).unwrap()),
        };
    }
    writer.write(&bare).unwrap();
    let checkpoint = Checkpoint::open(&bare).unwrap();
    assert_eq!((checkpoint.origin(), checkpoint.weights().layout()), (&Origin::Shapes, Layout::Unilm));
    assert!(checkpoint.notes().iter().all(|note| !note.contains("blocks")), "{:?}", checkpoint.notes());
    let loaded = checkpoint.segmenter(&Device::new(), LoadOptions::default()).unwrap();
    assert_eq!(loaded.params, segmenter(&config));
    // An index in each block, and a count beside each batch norm.
    assert_eq!(loaded.report.buffers.len(), 6 + 14);
    let hf = tmp.path().join("hf");
    checkpoint.convert(Target::Transformers, &hf).unwrap();
    let bytes = |folder: &Path| fs::read(folder.join("model.safetensors")).unwrap();
    assert!(bytes(&hf) == bytes(&folder));
    assert_eq!(keys(&hf)["segmentation_taps"], json!([1, 2, 3, 5]));
}

/// A file without a configuration, by its shapes, in both versions of transformers.
#[test]
fn from_shapes_alone() {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    for (i, head) in heads().into_iter().enumerate() {
        let config = config(head, SegmenterConfig::usual_taps(6));
        let whole = segmenter(&config);
        for layout in [Layout::Timm, Layout::Transformers, Layout::Transformers5] {
            let path = tmp.path().join("alone.safetensors");
            let mut writer = TensorWriter::new();
            save_params(&ops, &mut writer, &whole, layout, Kind::Segmenter).unwrap();
            writer.write(&path).unwrap();
            let checkpoint = Checkpoint::open(&path).unwrap();
            assert_eq!(checkpoint.weights().layout(), layout);
            let loaded = checkpoint.segmenter(&ops, LoadOptions::default()).unwrap().params;
            let expected = &config.head;
            match &loaded.model.config().head {
                // One module of scale 3 is guessed to be one of scale 1; two are of 1 and 2.
                HeadConfig::Upernet { scales, .. } if i == 2 => assert_eq!(scales, &[1]),
                found => assert_eq!(found, expected),
            }
            let guessed = checkpoint.notes().iter().any(|note| note.contains("1 to"));
            assert_eq!(guessed, [0, 2].contains(&i), "{:?}", checkpoint.notes());
            let differs = checkpoint.notes().iter().any(|note| note.contains("--taps transformers"));
            assert!(!differs, "six blocks leave transformers too few: {:?}", checkpoint.notes());
            assert_eq!(loaded.running, whole.running);
        }
    }
}

#[test]
fn every_tensor_that_does_not_fit_is_named() {
    let (_tmp, folder) = saved(&config(upernet(), [1, 2, 3, 5]));
    let path = folder.join("model.safetensors");
    let file = TensorFile::open(&path).unwrap();
    let mut writer = TensorWriter::new();
    for name in file.names().iter().filter(|name| !name.ends_with("num_batches_tracked")) {
        let (shape, values) = (file.shape(name).unwrap(), file.floats(name).unwrap());
        match name.as_str() {
            "fpn1.1.running_mean" => {}
            "decode_head.bottleneck.bn.running_var" => {
                writer.floats("decode_head.more", shape, &values);
            }
            "beit.embeddings.cls_token" => {
                writer.floats(name, &[8], &values);
            }
            _ => {
                writer.floats(name, shape, &values);
            }
        }
    }
    writer.write(&path).unwrap();
    let text = refusal(&folder);
    for part in [
        "`fpn1.1.running_mean` [8] is missing",
        "`decode_head.bottleneck.bn.running_var` [8] is missing",
        "`decode_head.more` [8] is no parameter",
        "`beit.embeddings.cls_token` has shape [8], expected [1, 1, 8]",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn what_is_no_number_is_neither_saved_nor_loaded() {
    let (ops, config) = (Device::new(), config(upernet(), [1, 2, 3, 5]));
    let ((tmp, folder), mut whole) = (saved(&config), segmenter(&config));
    let HeadRunning::Upernet(running) = &mut whole.running else { panic!("UPerNet") };
    running.main.fpn_bottleneck.norm.variance = ops.upload([8], &[f32::NAN; 8]);
    let text = save(&tmp.path().join("nan"), &whole).unwrap_err().to_string();
    assert!(text.contains("`decode_head.fpn_bottleneck.bn.running_var` holds NaN"), "{text}");
    let path = folder.join("model.safetensors");
    let file = TensorFile::open(&path).unwrap();
    let mut writer = TensorWriter::new();
    for name in file.names().iter().filter(|name| !name.ends_with("num_batches_tracked")) {
        let mut values = file.floats(name).unwrap();
        if name == "fpn1.1.running_var" {
            values[3] = f32::INFINITY;
        }
        writer.floats(name, file.shape(name).unwrap(), &values);
    }
    writer.write(&path).unwrap();
    assert!(
        refusal(&folder).contains("`fpn1.1.running_var` holds inf (1 of 8 numbers)"),
        "{}",
        refusal(&folder)
    );
}

#[test]
fn for_larger_pictures() {
    let ops = Device::new();
    let config = config(upernet(), [1, 2, 3, 5]);
    let (_tmp, folder) = saved(&config);
    let options = LoadOptions { image: Some([16, 24]), ..LoadOptions::default() };
    let loaded = Checkpoint::open(&folder).unwrap().segmenter(&ops, options).unwrap();
    assert_eq!(loaded.report.resized.len(), 6);
    let WholeSegmenter { model, running } = loaded.params;
    let logits = model.infer(&ops, &ops.zeros([1, 3, 16, 24]), &running);
    assert_eq!(logits.shape(), [1, 16, 24, 3]);
    // One patch is too little for UPerNet.
    let options = LoadOptions { image: Some([4, 4]), ..options };
    let text = Checkpoint::open(&folder).unwrap().segmenter(&ops, options).map(drop).unwrap_err().to_string();
    assert!(text.contains("expected at least 2x2 patches for UPerNet, found 1x1"), "{text}");
}

/// A final norm and a mask token, which transformers may have and no head reads, stay in the file and in what it is converted to.
#[test]
fn what_no_head_reads() {
    let (ops, config) = (Device::new(), config(upernet(), [1, 2, 3, 5]));
    let (tmp, folder) = saved(&config);
    let path = folder.join("model.safetensors");
    let file = TensorFile::open(&path).unwrap();
    let mut writer = TensorWriter::new();
    for name in file.names().iter().filter(|name| !name.ends_with("num_batches_tracked")) {
        writer.floats(name, file.shape(name).unwrap(), &file.floats(name).unwrap());
    }
    for name in ["beit.layernorm.weight", "beit.layernorm.bias"] {
        writer.floats(name, &[8], &[1.0; 8]);
    }
    writer.floats("beit.embeddings.mask_token", &[1, 1, 8], &[0.5; 8]).write(&path).unwrap();
    edit(&folder, |keys| {
        keys.insert("use_mean_pooling".into(), json!(false));
        keys.insert("use_mask_token".into(), json!(true));
    });
    let loaded = load_segmenter(&ops, &folder).unwrap();
    assert_eq!(loaded.params, segmenter(&config));
    assert_eq!(loaded.report.dropped, ["mask_token", "norm.bias", "norm.weight"]);
    let again = tmp.path().join("again");
    Checkpoint::open(&folder).unwrap().convert(Target::Transformers, &again).unwrap();
    assert_eq!(
        (&keys(&again)["use_mean_pooling"], &keys(&again)["use_mask_token"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(TensorFile::open(again.join("model.safetensors")).unwrap().names(), file_names(&path));
}

fn file_names(path: &Path) -> Vec<String> {
    TensorFile::open(path).unwrap().names().to_vec()
}

#[test]
fn another_kind_of_model_is_refused() {
    let (ops, (tmp, folder)) = (Device::new(), saved(&config(upernet(), [1, 2, 3, 5])));
    let text = load_classifier(&ops, &folder).map(drop).unwrap_err().to_string();
    assert!(text.contains("this is a model for semantic segmentation, expected a classifier"), "{text}");
    let other = tmp.path().join("classifier");
    let labels = LABELS.map(str::to_owned);
    save_classifier(&ops, &other, &classifier(&ops, Pooling::Mean), &labels, no_more_files).unwrap();
    let text = refusal(&other);
    let expected = "this is a classifier, expected a model for semantic segmentation: fine-tune one from it";
    assert!(text.contains(expected) && text.contains("config.json"), "{text}");
}

/// The root of a variance below zero is no number: every answer would be NaN.
#[test]
fn variances_are_not_negative() {
    let config = config(HeadConfig::SetrPup { channels: 4, auxiliary: false }, [1, 2, 3, 5]);
    let mut whole = segmenter(&config);
    let HeadRunning::SetrPup(running) = &mut whole.running else { unreachable!() };
    running.main.up_convs[0].layer.norm.variance[2] = -0.5;
    let tmp = tempdir().unwrap();
    let folder = tmp.path().join("segmenter");
    save(&folder, &whole).unwrap();
    let text = refusal(&folder);
    let said = "running_var` holds -0.5 (1 of 4 numbers), expected variances of at least 0";
    assert!(text.contains(said) && text.contains("model.safetensors"), "{text}");
    let options = LoadOptions { lenient: true, ..LoadOptions::default() };
    let loaded = Checkpoint::open(&folder).unwrap().segmenter(&Device::new(), options).unwrap();
    assert_eq!(loaded.report.new.len(), 1, "it begins anew: {:?}", loaded.report.new);
}

#[test]
fn statistics_are_no_parameters() {
    let config = config(upernet(), [1, 2, 3, 5]);
    let (_tmp, folder) = saved(&config);
    let checkpoint = Checkpoint::open(&folder).unwrap();
    let shapes = Segmenter::<beit_ops::Shape>::shapes(&config);
    let mut expected: Vec<String> = shapes.named().into_iter().map(|(name, _)| name).collect();
    expected.sort();
    assert_eq!(checkpoint.weights().parameters().collect::<Vec<_>>(), expected);
}
