//! Folders and files of timm: what they say of themselves wins over guesses, and guesses are said.

use crate::made::{Change, answer, answer_with, edit, refusal, saved_as, vit};
use beit_data::{Filter, Fit, Normalise};
use beit_heads::{ClassifierConfig, Pooling};
use beit_vit::{Config, RelativePositions};
use beit_weights::{Checkpoint, OpenOptions, Target};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn without_tables() -> Config {
    Config { relative_positions: RelativePositions::None, absolute_positions: true, ..vit() }
}

/// The folder that timm gets of a model of ours, and what ours answers.
fn timm(vit: Config) -> (TempDir, PathBuf, Vec<u32>) {
    let (tmp, folder) = saved_as(&ClassifierConfig::on(vit, 3, Pooling::Mean));
    let timm = tmp.path().join("timm");
    Checkpoint::open(&folder).unwrap().convert(Target::Timm, &timm).unwrap();
    (tmp, timm, answer(&folder))
}

fn notes(path: &Path) -> String {
    Checkpoint::open(path).unwrap().notes().join("\n")
}

#[test]
fn heads_and_sizes_are_those_of_the_folder() {
    for vit in [
        without_tables(),
        Config { heads: 8, ..without_tables() },
        Config { image: [16, 64], ..without_tables() },
        Config { image: [16, 64], ..vit() },
        Config { image: [64, 16], patch: [16, 8], ..vit() },
    ] {
        let (_tmp, timm, expected) = timm(vit);
        assert_eq!(answer(&timm), expected);
        assert_eq!(notes(&timm), "");
    }
}

/// The same keys as timm's own files have them.
#[test]
fn words_of_timms_writers() {
    let changes: [Change; 4] = [
        |json| json["model_args"]["img_size"] = json!("16"),
        |json| {
            json["model_args"]["num_heads"] = json!("2");
            json["num_classes"] = json!("3");
        },
        |json| {
            json["model_args"]["img_size"] = Value::Null;
            json["global_pool"] = Value::Null;
        },
        |json| json["pretrained_cfg"]["pool_size"] = Value::Null,
    ];
    let (_tmp, timm, expected) = timm(without_tables());
    for change in changes {
        edit(&timm.join("config.json"), change);
        assert_eq!(answer(&timm), expected);
    }
}

#[test]
fn the_first_form_has_one_object_for_everything() {
    let (_tmp, timm, expected) = timm(Config { image: [16, 32], ..vit() });
    edit(&timm.join("config.json"), |json| {
        let mut flat = json["pretrained_cfg"].clone();
        flat["architecture"] = json["architecture"].clone();
        flat["num_features"] = json["num_features"].clone();
        flat["labels"] = json!(["ant", "bee", "cat"]);
        flat["interpolation"] = json!("bicubic");
        flat["layer_norm_eps"] = json["layer_norm_eps"].clone();
        *json = flat;
    });
    assert_eq!(answer(&timm), expected);
    let checkpoint = Checkpoint::open(&timm).unwrap();
    assert_eq!(checkpoint.labels(), ["ant", "bee", "cat"]);
    assert_eq!(checkpoint.preprocessing().unwrap().filter, Filter::Bicubic);
}

/// What `resolve_data_config` and `PretrainedCfg` of timm 1.0.31 take for absent keys.
#[test]
fn preparation_is_timms() {
    let (_tmp, timm, _) = timm(vit());
    let read = |prepared: Value| {
        edit(&timm.join("config.json"), |json| json["pretrained_cfg"] = prepared);
        *Checkpoint::open(&timm).unwrap().preprocessing().unwrap()
    };
    let absent = read(json!({"input_size": [3, 16, 16], "mean": null}));
    assert_eq!((absent.fit, absent.filter), (Fit::CentreCrop { least: [18; 2] }, Filter::Bicubic));
    assert_eq!(absent.normalise, Normalise::IMAGENET);
    let rows = [
        (json!({"crop_mode": "squash", "crop_pct": "0.8"}), Fit::SquashAndCrop { to: [20; 2] }),
        (json!({"crop_mode": "squash", "crop_pct": 1}), Fit::Squash),
        (json!({"crop_mode": "border", "crop_pct": 1.0}), Fit::Border { within: [16; 2] }),
        (
            json!({"crop_mode": "center", "crop_pct": 0.9, "input_size": ["3", 16, 32]}),
            Fit::CentreCrop { least: [17, 35] },
        ),
    ];
    for (prepared, fit) in rows {
        assert_eq!(read(prepared.clone()).fit, fit, "{prepared}");
    }
    edit(&timm.join("config.json"), |json| json["pretrained_cfg"] = json!({"crop_mode": "zoom"}));
    assert!(refusal(&timm).contains("`pretrained_cfg.crop_mode` is zoom, expected center, squash or border"));
}

#[test]
fn of_bare_files_guesses_are_said_and_words_decide() {
    let wide = Config { width: 128, heads: 4, hidden: 32, image: [16, 64], ..without_tables() };
    let (_tmp, timm, expected) = timm(wide);
    let bare = timm.join("bare.safetensors");
    std::fs::rename(timm.join("model.safetensors"), &bare).unwrap();
    let said = OpenOptions { heads: Some(4), image: Some([16, 64]), ..OpenOptions::default() };
    assert_eq!(answer_with(&bare, said), expected);
    // 16 patches may be a square of four, and 128 two heads of 64.
    let guessed = notes(&bare);
    assert!(
        guessed.contains("2 heads are guessed from the width of 128; --heads says another number"),
        "{guessed}"
    );
    assert!(guessed.contains("images of 32x32 pixels are guessed"), "{guessed}");
    assert_ne!(answer(&bare), expected);
}

#[test]
fn what_cannot_be_guessed_is_asked_for() {
    let (_tmp, timm, _) = timm(Config { image: [16, 24], ..without_tables() });
    let bare = timm.join("bare.safetensors");
    std::fs::rename(timm.join("model.safetensors"), &bare).unwrap();
    let text = refusal(&bare);
    assert!(
        text.contains("is of no square of patches") && text.contains("--image-size HEIGHTxWIDTH"),
        "{text}"
    );
    let image = OpenOptions { image: Some([16, 24]), ..OpenOptions::default() };
    let text = Checkpoint::open_with(&bare, image).map(drop).unwrap_err().to_string();
    assert!(
        text.contains("its width of 16 does not tell the number of heads; say it with --heads"),
        "{text}"
    );
}

#[test]
fn heads_that_contradict_the_table_are_refused() {
    let (_tmp, timm, _) = timm(vit());
    let heads = OpenOptions { heads: Some(4), ..OpenOptions::default() };
    let refused = |path: &Path| Checkpoint::open_with(path, heads).map(drop).unwrap_err().to_string();
    let text = refused(&timm);
    assert!(text.contains("--heads 4: its configuration says 2"), "{text}");
    let bare = timm.join("bare.safetensors");
    std::fs::rename(timm.join("model.safetensors"), &bare).unwrap();
    let text = refused(&bare);
    assert!(text.contains("is of 2 heads, but 4 are said"), "{text}");
}
