//! `config.json` as its writers write it.

use crate::made::{Change, answer, edit, refusal, rename, saved};
use beit_weights::{Checkpoint, Model};
use serde_json::{Value, json};
use std::fs;

/// Changes of a configuration that change nothing of the model.
fn harmless() -> Vec<(&'static str, Change)> {
    vec![
        ("architectures null", |json| json["architectures"] = Value::Null),
        ("architectures empty", |json| json["architectures"] = json!([])),
        ("architectures absent", |json| drop(json.as_object_mut().unwrap().remove("architectures"))),
        ("architectures a text", |json| json["architectures"] = json!("BeitForImageClassification")),
        ("the class of another head", |json| json["architectures"] = json!(["BeitForMaskedImageModeling"])),
        ("the class of no head", |json| json["architectures"] = json!(["BeitModel"])),
        ("a class of somebody's own", |json| json["architectures"] = json!(["MyBeit"])),
        ("numbers as texts", |json| {
            for key in
                ["hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "image_size"]
            {
                json[key] = json[key].to_string().into();
            }
        }),
        ("numbers with a point", |json| {
            json["hidden_size"] = json!(16.0);
            json["patch_size"] = json!([8.0, "8"]);
            json["image_size"] = json!({"height": 16, "width": 16});
        }),
        ("flags as numbers and texts", |json| {
            json["use_relative_position_bias"] = json!(1);
            json["use_mean_pooling"] = json!("True");
        }),
        ("an epsilon as a text", |json| json["layer_norm_eps"] = json!("1e-6")),
        ("numbers of labels as texts", |json| {
            json["label2id"] = json!({"class 0": "0", "class 1": "1", "class 2": "2"});
        }),
        ("no labels by name", |json| json["label2id"] = Value::Null),
        ("labels in a list", |json| json["id2label"] = json!(["class 0", "class 1", "class 2"])),
        ("unknown keys", |json| {
            json["quantization_config"] = Value::Null;
            json["transformers_version"] = json!(5);
            json["auto_map"] = json!({"AutoModel": "own.Model"});
        }),
        ("sizes that the tensors tell", |json| {
            for key in [
                "hidden_size",
                "num_hidden_layers",
                "num_attention_heads",
                "intermediate_size",
                "image_size",
                "patch_size",
                "num_channels",
                "use_relative_position_bias",
                "layer_scale_init_value",
            ] {
                json[key] = Value::Null;
            }
        }),
        ("an activation by another name", |json| json["hidden_act"] = json!("gelu_python")),
    ]
}

#[test]
fn what_writers_leave_out_or_write_otherwise_changes_nothing() {
    let (_tmp, folder) = saved();
    let (path, expected) = (folder.join("config.json"), answer(&folder));
    let whole = fs::read(&path).unwrap();
    for (what, change) in harmless() {
        edit(&path, change);
        assert_eq!(answer(&folder), expected, "{what}");
        let labels = Checkpoint::open(&folder).unwrap().labels().to_vec();
        assert_eq!(labels, ["class 0", "class 1", "class 2"], "{what}");
        fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn a_mark_before_the_text_is_passed_over() {
    let (_tmp, folder) = saved();
    let (path, expected) = (folder.join("config.json"), answer(&folder));
    let text = fs::read(&path).unwrap();
    fs::write(&path, [&b"\xef\xbb\xbf"[..], &text].concat()).unwrap();
    assert_eq!(answer(&folder), expected);
}

#[test]
fn without_names_the_classes_are_counted_by_the_head() {
    let (_tmp, folder) = saved();
    let (path, expected) = (folder.join("config.json"), answer(&folder));
    edit(&path, |json| {
        json["id2label"] = Value::Null;
        json["label2id"] = Value::Null;
    });
    assert_eq!(answer(&folder), expected);
    let Model::Classifier(config) = Checkpoint::open(&folder).unwrap().model().clone() else { panic!() };
    assert_eq!(config.labels, ["LABEL_0", "LABEL_1", "LABEL_2"]);
}

#[test]
fn other_models_are_refused_by_name() {
    let rows: [(Change, &str); 4] = [
        (
            |json| *json = json!({"model_type": "vit", "hidden_size": 16}),
            "`model_type` is vit and `architectures` []",
        ),
        (
            |json| *json = json!({"model_type": "vit", "architectures": ["ViTForImageClassification"]}),
            "`architectures` [\"ViTForImageClassification\"], expected the class of one of beit, data2vec-vision",
        ),
        (|json| *json = json!([1, 2]), "config.json: it is a list, expected an object of keys"),
        (|json| json["hidden_size"] = json!("wide"), "`hidden_size` is \"wide\": invalid type"),
    ];
    for (change, expected) in rows {
        let (_tmp, folder) = saved();
        edit(&folder.join("config.json"), change);
        let text = refusal(&folder);
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn a_family_of_the_same_architecture() {
    for architectures in [json!(["Data2VecVisionForImageClassification"]), Value::Null] {
        let (_tmp, folder) = saved();
        let expected = answer(&folder);
        edit(&folder.join("config.json"), |json| {
            json["model_type"] = json!("data2vec-vision");
            json["architectures"] = architectures;
        });
        let path = folder.join("model.safetensors");
        rename(&path, &path, |name| {
            let renamed = name.strip_prefix("beit.").map(|rest| format!("data2vec_vision.{rest}"));
            vec![(renamed.unwrap_or_else(|| name.to_owned()), 1.0)]
        });
        assert_eq!(answer(&folder), expected);
    }
}
