//! What `config.json` says of a segmentation head, and which blocks its numbers mean.

use crate::models::Device;
use crate::segmenters::{config, edit, keys, refusal, saved, upernet};
use beit_heads::HeadConfig;
use beit_weights::{Checkpoint, Model, OpenOptions, Taps, Target, load_segmenter};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// The blocks that the head of a checkpoint reads, and what is said of them.
fn opened(folder: &Path, taps: Taps) -> ([usize; 4], Vec<String>) {
    let options = OpenOptions { taps, ..OpenOptions::default() };
    let checkpoint = Checkpoint::open_with(folder, options).unwrap();
    let Model::Segmenter(model) = checkpoint.model() else { panic!("a segmenter") };
    (model.segmenter.taps, checkpoint.notes().to_vec())
}

/// The folder that the Hub has: numbers of blocks, and no word of ours.
#[test]
fn numbers_of_blocks_mean_what_is_asked_for() {
    let (_tmp, folder) = saved(&config(upernet(), [2, 3, 4, 5]));
    assert_eq!(opened(&folder, Taps::Transformers), ([2, 3, 4, 5], vec![]), "the file says them");
    edit(&folder, |keys| drop(keys.remove("segmentation_taps")));
    edit(&folder, |keys| drop(keys.insert("out_indices".into(), json!([2, 3, 4, 5]))));
    let (taps, notes) = opened(&folder, Taps::Official);
    assert_eq!(taps, [2, 3, 4, 5]);
    assert!(notes[0].contains("those of [0, 1, 2, 3], which --taps transformers takes"), "{notes:?}");
    let (taps, notes) = opened(&folder, Taps::Transformers);
    assert_eq!(taps, [0, 1, 2, 3]);
    assert!(notes[0].contains("those of [2, 3, 4, 5], which --taps official takes"), "{notes:?}");
    // There is no block 6, so that only transformers can mean it.
    edit(&folder, |keys| drop(keys.insert("out_indices".into(), json!([3, 4, 5, 6]))));
    let (taps, notes) = opened(&folder, Taps::Official);
    assert_eq!(taps, [1, 2, 3, 4]);
    assert!(notes[0].ends_with("as transformers does; they can mean no others"), "{notes:?}");
    for numbers in [json!([2, 4]), json!([2, 2, 3, 4]), json!([3, 4, 5, 9])] {
        edit(&folder, |keys| drop(keys.insert("out_indices".into(), numbers)));
        assert!(refusal(&folder).contains("expected four ascending numbers of blocks below 6"));
    }
}

/// What transformers reads of what is written: the same blocks, but for the last one.
#[test]
fn transformers_finds_the_blocks() {
    for (taps, numbers) in [([0, 1, 2, 4], [2, 3, 4, 6]), ([1, 2, 3, 5], [3, 4, 5, 6])] {
        let (tmp, folder) = saved(&config(upernet(), taps));
        let written = keys(&folder);
        assert_eq!((&written["out_indices"], &written["segmentation_taps"]), (&json!(numbers), &json!(taps)));
        assert_eq!(written["architectures"], json!(["BeitForSemanticSegmentation"]));
        let converted =
            Checkpoint::open(&folder).unwrap().convert(Target::Transformers, tmp.path().join("o")).unwrap();
        assert_eq!(converted.notes.len(), usize::from(taps[3] == 5), "{:?}", converted.notes);
    }
}

/// Nothing that a file of the Hub says of its head is lost on the way.
#[test]
fn what_a_configuration_says_stays() {
    let (tmp, folder) = saved(&config(upernet(), [1, 2, 3, 5]));
    let said = json!({
        "out_indices": [1, 2, 3, 5], "pool_scales": [4, 2], "use_auxiliary_head": true, "auxiliary_channels": 5,
        "auxiliary_num_convs": 2, "auxiliary_concat_input": false, "auxiliary_loss_weight": 0.25,
        "semantic_loss_ignore_index": -100, "use_mean_pooling": true,
    });
    edit(&folder, |keys| {
        keys.remove("segmentation_taps");
        keys.extend(said.as_object().unwrap().clone());
    });
    let pth = tmp.path().join("u.pth");
    Checkpoint::open(&folder).unwrap().convert(Target::Unilm, &pth).unwrap();
    let back = tmp.path().join("back");
    Checkpoint::open(&pth).unwrap().convert(Target::Transformers, &back).unwrap();
    let found = keys(&back);
    for (key, value) in said.as_object().unwrap() {
        assert_eq!(&found[key], value, "{key}");
    }
    assert_eq!(found["segmentation_taps"], Value::Null);
}

/// What a file leaves out, the tensors tell.
#[test]
fn tensors_tell_what_is_not_said() {
    for head in [upernet(), HeadConfig::Upernet { channels: 4, scales: vec![2, 1], auxiliary: None }] {
        let config = config(head, [1, 2, 3, 5]);
        let (_tmp, folder) = saved(&config);
        edit(&folder, |keys| {
            for key in keys.keys().cloned().collect::<Vec<_>>() {
                let kept = ["architectures", "pool_scales", "segmentation_taps", "layer_norm_eps"];
                if !kept.contains(&key.as_str()) {
                    keys.remove(&key);
                }
            }
        });
        assert_eq!(load_segmenter(&Device::new(), &folder).unwrap().params.model.config(), &config);
    }
}

#[test]
fn configurations_that_cannot_be() {
    let (_tmp, folder) = saved(&config(upernet(), [1, 2, 3, 5]));
    let whole = fs::read(folder.join("config.json")).unwrap();
    for (key, value, part) in [
        (
            "auxiliary_concat_input",
            json!(true),
            "`auxiliary_concat_input` is true, but only false is supported",
        ),
        ("auxiliary_num_convs", json!(0), "`auxiliary_num_convs` is 0, expected at least 1"),
        ("auxiliary_channels", json!(1u64 << 60), "expected at most 65536"),
        ("pool_scales", json!([]), "`pool_scales` is [], expected sides from 1 to 256"),
        ("pool_scales", json!([1, 999_999]), "expected sides from 1 to 256"),
        (
            "pool_scales",
            json!([1, 2, 3]),
            "`decode_head.psp_modules.2.1.conv.weight` [8, 8, 1, 1] is missing",
        ),
        ("segmentation_taps", json!([1, 2, 3, 6]), "`segmentation_taps` is [1, 2, 3, 6]"),
        ("segmentation_head", json!("fcn"), "expected \"setr-pup\" or \"upernet\""),
        ("auxiliary_channels", json!(6), "has shape [5, 8, 3, 3], expected [6, 8, 3, 3]"),
    ] {
        edit(&folder, |keys| drop(keys.insert(key.into(), value)));
        let text = refusal(&folder);
        assert!(text.contains(part) && text.contains(folder.to_str().unwrap()), "{key}: {text}");
        fs::write(folder.join("config.json"), &whole).unwrap();
    }
}
