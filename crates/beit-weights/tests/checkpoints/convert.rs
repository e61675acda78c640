//! From layout to layout, to the bit.

use crate::models::{Device, classifier, classifier_config, distinct, mim};
use beit_data::Preprocessing;
use beit_heads::Pooling;
use beit_weights::{
    Checkpoint, Error, Labelled, Layout, Model, Origin, Target, TensorFile, load_classifier, load_mim,
    load_tokenizer, no_more_files, save_classifier, save_mim, save_tokenizer, write_preprocessing,
};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::{TempDir, tempdir};

fn bytes(file: &Path) -> Vec<u8> {
    fs::read(file).unwrap()
}

fn convert(from: &Path, target: Target, out: PathBuf) -> PathBuf {
    let converted = Checkpoint::open(from).unwrap().convert(target, &out).unwrap();
    assert!(converted.written > 0);
    out
}

/// Checkpoints of masked image modelling and of both poolings.
fn saved() -> (TempDir, Vec<PathBuf>) {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    let mut folders = vec![tmp.path().join("mim")];
    save_mim(&ops, &folders[0], &mim(&ops), no_more_files).unwrap();
    for pooling in [Pooling::Mean, Pooling::Cls] {
        let folder = tmp.path().join(format!("{pooling:?}"));
        let labels = ["cat", "dog", "10"].map(str::to_owned).to_vec();
        let config = Labelled { classifier: classifier_config(pooling), labels };
        let preprocessing = Preprocessing::timm([8; 2]).covering(9);
        save_classifier(&ops, &folder, &classifier(&ops, pooling), &config.labels, |folder| {
            write_preprocessing(folder, &preprocessing)
        })
        .unwrap();
        folders.push(folder);
    }
    (tmp, folders)
}

/// transformers to every other layout and back gives the same file.
#[test]
fn there_and_back_is_the_same_file() {
    let (tmp, folders) = saved();
    for (i, folder) in folders.iter().enumerate() {
        let out = |name: &str| tmp.path().join(format!("{i}-{name}"));
        for (target, name) in
            [(Target::Timm, "timm"), (Target::Unilm, "unilm.safetensors"), (Target::Unilm, "unilm.pth")]
        {
            let there = convert(folder, target, out(name));
            let back = convert(&there, Target::Transformers, out(&format!("{name}-back")));
            let file = "model.safetensors";
            assert_eq!(bytes(&back.join(file)), bytes(&folder.join(file)), "{} by {name}", folder.display());
        }
    }
}

/// The released code's layout has no place for the names of classes: they stand beside the parameters.
#[test]
fn classes_keep_their_names_in_every_layout() {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    let save = |name: &str, labels: [&str; 3]| {
        let folder = tmp.path().join(name);
        let labels = labels.map(str::to_owned);
        save_classifier(&ops, &folder, &classifier(&ops, Pooling::Mean), &labels, no_more_files).unwrap();
        folder
    };
    let all = [
        ("words", ["cat", "dog", "cow"]),
        ("numbers", ["0", "1", "10"]),
        ("letters", ["caf\u{e9}", "\"x\", y", "\u{d55c}"]),
        ("same", ["crane", "crane", ""]),
    ];
    for (i, (name, labels)) in all.into_iter().enumerate() {
        let folder = save(name, labels);
        for (target, ending) in [
            (Target::Transformers, ""),
            (Target::Timm, ""),
            (Target::Unilm, ".pth"),
            (Target::Unilm, ".safetensors"),
        ] {
            let out = convert(&folder, target, tmp.path().join(format!("{i}-{target:?}{ending}")));
            assert_eq!(Checkpoint::open(&out).unwrap().labels(), labels, "{}", out.display());
            let again =
                convert(&out, Target::Transformers, tmp.path().join(format!("{i}-{target:?}{ending}-again")));
            assert_eq!(Checkpoint::open(&again).unwrap().labels(), labels, "{}", again.display());
        }
    }
}

#[test]
fn the_models_are_the_same_too() {
    let (tmp, folders) = saved();
    let ops = Device::new();
    let pth = convert(&folders[0], Target::Unilm, tmp.path().join("mim.pth"));
    let loaded = load_mim(&ops, &pth).unwrap();
    assert_eq!(loaded.params, mim(&ops));
    // What a file without a configuration cannot say: drop path, epsilon, the beginning of LayerScale.
    assert_eq!((loaded.params.config().vocab, loaded.params.vit.config().image), (6, [8; 2]));
    assert!(loaded.report.buffers.iter().all(|name| name.contains("relative_position_index")));
    assert_eq!(loaded.report.buffers.len(), 1);

    let timm = convert(&folders[1], Target::Timm, tmp.path().join("timm"));
    let checkpoint = Checkpoint::open(&timm).unwrap();
    assert!(matches!(checkpoint.origin(), Origin::Timm(name) if name == "beit_base_patch16_224"));
    let loaded = load_classifier(&ops, &timm).unwrap();
    assert_eq!(loaded.params, classifier(&ops, Pooling::Mean));
    assert_eq!(checkpoint.labels(), ["cat", "dog", "10"]);
    assert_eq!(checkpoint.preprocessing(), Some(&Preprocessing::timm([8; 2]).covering(9)));
}

#[test]
fn timm_needs_to_know_what_differs_from_its_architecture() {
    let (tmp, folders) = saved();
    let timm = convert(&folders[2], Target::Timm, tmp.path().join("timm"));
    let config: serde_json::Value = serde_json::from_slice(&bytes(&timm.join("config.json"))).unwrap();
    let args = config["model_args"].as_object().unwrap();
    assert_eq!((&args["embed_dim"], &args["depth"], &args["num_heads"]), (&8.into(), &2.into(), &2.into()));
    assert_eq!((&args["global_pool"], &args["mlp_ratio"]), (&"token".into(), &2.0.into()));
    assert!(!args.contains_key("use_rel_pos_bias") && !args.contains_key("init_values"));
    assert_eq!(config["num_classes"], 3);
}

/// The released code has an index beside each table; timm's strict loading would refuse it.
#[test]
fn only_the_released_code_gets_indices() {
    let (tmp, folders) = saved();
    let indices = |path: &Path| {
        let file = TensorFile::open(path).unwrap();
        file.names().iter().filter(|name| name.ends_with("relative_position_index")).count()
    };
    let unilm = convert(&folders[1], Target::Unilm, tmp.path().join("c.safetensors"));
    assert_eq!(indices(&unilm), 2);
    let index = TensorFile::open(&unilm).unwrap().integers("blocks.1.attn.relative_position_index").unwrap();
    // Four patches in two rows, spec of the released code: the corner is the last of 12 rows.
    assert_eq!((index.len(), index[0], index[1], index[5], index[6]), (25, 11, 9, 10, 4));
    let timm = convert(&unilm, Target::Timm, tmp.path().join("t"));
    assert_eq!(indices(&timm.join("model.safetensors")), 0);
}

#[test]
fn tokenizers_have_no_other_layout() {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    let config = beit_tokenizer::Config::tiny();
    let tokenizer = distinct(&ops, &beit_tokenizer::init(&ops, &config, 0));
    let folder = tmp.path().join("tokenizer");
    save_tokenizer(&ops, &folder, &tokenizer, no_more_files).unwrap();
    let again = convert(&folder, Target::Transformers, tmp.path().join("again"));
    assert_eq!(load_tokenizer(&ops, again).unwrap().params, tokenizer);
    let error = Checkpoint::open(&folder).unwrap().convert(Target::Timm, tmp.path().join("no")).unwrap_err();
    assert!(error.to_string().contains("this layout has no tokenizers"), "{error}");
    assert!(!tmp.path().join("no").exists());
}

/// openai/DALL-E's names, encoder and decoder in files of their own.
#[test]
fn tokenizers_of_dalle() {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    let config = beit_tokenizer::Config { groups: 4, ..beit_tokenizer::Config::tiny() };
    let tokenizer = distinct(&ops, &beit_tokenizer::init(&ops, &config, 0));
    let (ours, theirs) = (tmp.path().join("ours"), tmp.path().join("theirs"));
    save_tokenizer(&ops, &ours, &tokenizer, no_more_files).unwrap();
    fs::create_dir(&theirs).unwrap();
    for file in ["model.safetensors", "decoder.safetensors"] {
        let source = TensorFile::open(ours.join(file)).unwrap();
        let mut writer = beit_weights::TensorWriter::new();
        for name in source.names() {
            let [stored] = &Layout::Dalle.stored(name, beit_weights::Kind::Tokenizer)[..] else { panic!() };
            assert!(stored.ends_with(".w") || stored.ends_with(".b"), "{stored}");
            writer.floats(stored, source.shape(name).unwrap(), &source.floats(name).unwrap());
        }
        writer.write(theirs.join(file)).unwrap();
    }
    let checkpoint = Checkpoint::open(&theirs).unwrap();
    assert_eq!(checkpoint.weights().layout(), Layout::Dalle);
    assert_eq!(checkpoint.model(), &Model::Tokenizer(config));
    assert_eq!(load_tokenizer(&ops, &theirs).unwrap().params, tokenizer);
    fs::remove_file(theirs.join("decoder.safetensors")).unwrap();
    let error = load_tokenizer(&ops, &theirs).map(drop).unwrap_err();
    assert!(matches!(error, Error::NoDecoder { .. }), "{error}");
}
