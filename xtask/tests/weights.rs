//! Checkpoints of others: layouts, official names, the hub's cache, another image size.

use crate::common::{Outcome, Place, short_of_whole_pictures, without_metadata};
use serde_json::Value;
use std::fs;

/// With `run`, a run of pre-training, and `tuned`, a classifier of three classes.
fn place_with_runs() -> Place {
    let place = Place::with_photos();
    place.good(&format!("pretrain {} --out run", short_of_whole_pictures()));
    place.good("finetune --init run --data folder:photos --steps 3 --batch-size 8 --out tuned");
    place
}

#[test]
fn weights() {
    let place = place_with_runs();
    layouts(&place);
    other_sizes(&place);
    the_hub(&place);
    bad_conversions(&place);
}

/// What every layout says of the classifier, by `weights inspect`.
fn inspected(place: &Place, model: &str) -> Value {
    place.good(&format!("weights inspect {model} --json")).answer()
}

fn layouts(place: &Place) {
    let accuracy = |model: &str| {
        let run = place.good(&format!("evaluate --model {model} --data folder:photos --json"));
        ["top1", "loss"].map(|key| run.answer()[key].as_f64().unwrap())
    };
    let expected = accuracy("tuned");
    for (layout, out, name) in
        [("hf", "hf", "transformers"), ("timm", "timm", "timm"), ("unilm", "tuned.pth", "unilm")]
    {
        let converted = place.good(&format!("weights convert tuned {out} --layout {layout} --json"));
        let found = inspected(place, out);
        assert_eq!(
            (&found["model"], &found["layout"]),
            (&"a classifier".into(), &name.into()),
            "{converted}"
        );
        assert_eq!(found["parameters"], inspected(place, "tuned")["parameters"]);
    }
    assert_eq!(accuracy("hf"), expected);
    assert_eq!(accuracy("timm"), expected);
    assert_eq!(accuracy("tuned.pth"), expected);
    // Other files for the released code have no names of classes: folders are then named by number.
    place.good("weights convert tuned tuned.safetensors --layout unilm");
    without_metadata(&place.path("tuned.safetensors"), &place.path("nameless.safetensors"));
    place.bad(
        1,
        "evaluate --model nameless.safetensors --data folder:photos",
        &["`class-0` has no counterpart", "LABEL_0"],
    );
    for class in 0..3 {
        place.copy(&format!("photos/test/class-{class}"), &format!("numbered-{class}"));
        fs::create_dir_all(place.path("numbered/val")).unwrap();
        fs::rename(place.path(&format!("numbered-{class}")), place.path(&format!("numbered/val/{class}")))
            .unwrap();
    }
    let run =
        place.good("evaluate --model nameless.safetensors --data folder:numbered --preprocess unilm --json");
    assert_eq!(run.answer()["images"], 24);
    assert!(
        run.stderr.contains("preprocessing: shorter side to 28, centre 28x28, Bicubic, mean [0.5"),
        "{run}"
    );
    // A file under an official name is prepared as that was: the second version has the statistics of ImageNet.
    let official = "beitv2_base_patch16_224_pt1k_ft1k.pth";
    place.copy("nameless.safetensors", official);
    let run = place.good(&format!("evaluate --model {official} --data folder:numbered"));
    assert!(run.stderr.contains("mean [0.485, 0.456, 0.406]"), "{run}");
    // There and back again, from the file.
    place.good("weights convert tuned.pth back --layout hf");
    let file = "model.safetensors";
    assert_eq!(
        fs::read(place.path("back").join(file)).unwrap(),
        fs::read(place.path("hf").join(file)).unwrap()
    );
}

/// Pre-trained at 28 pixels, fine-tuned and evaluated at 56: one command, from a file in the released code's layout.
fn other_sizes(place: &Place) {
    place.good("weights convert run mim.pth --layout unilm");
    let args = "--data folder:photos --steps 1 --batch-size 8 --image-size 56";
    let run = place.good(&format!("finetune --init mim.pth {args} --out larger"));
    let said = "resized from 7x7 to 14x14 patches (unilm's way): pos_embed, blocks.{0-3}.attn.relative_position_bias_table";
    assert!(run.stderr.contains(said), "{run}");
    assert_eq!(inspected(place, "larger")["sizes"]["images"], "56x56 in 14x14 patches of 4x4 pixels");
    place.good("evaluate --model larger --data folder:photos");
    let run = place.good("evaluate --model tuned --data folder:photos --image-size 56 --resizing hf --json");
    assert!(run.stderr.contains("transformers's way"), "{run}");
    place.bad(1, "evaluate --model tuned --data folder:photos --image-size 55", &["55x55", "not divisible"]);
}

/// A model in the hub's cache, as another tool would have left it.
fn the_hub(place: &Place) {
    let hub = |args: &str, env: &[(&str, &str)]| {
        let mut command = place.command(args);
        for name in ["HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN", "HF_HUB_OFFLINE"] {
            command.env_remove(name);
        }
        command.env("HF_HOME", place.path("hub")).envs(env.iter().copied());
        Outcome::of(args, command.output().unwrap())
    };
    let offline = [("HF_HUB_OFFLINE", "1")];
    let args = "evaluate --model somebody/photos --data folder:photos --json";
    hub(args, &offline).fails(1, &["somebody/photos", "HF_HUB_OFFLINE"]);
    let commit = "0123456789012345678901234567890123456789";
    let repo = "hub/hub/models--somebody--photos";
    fs::create_dir_all(place.path(&format!("{repo}/snapshots"))).unwrap();
    place.copy("hf", &format!("{repo}/snapshots/{commit}"));
    place.write(&format!("{repo}/refs/main"), commit);
    let run = hub(args, &offline);
    assert_eq!(run.code, Some(0), "{run}");
    let local = place.good("evaluate --model hf --data folder:photos --json").answer();
    assert_eq!((&run.answer()["top1"], &run.answer()["loss"]), (&local["top1"], &local["loss"]));
    // A port that nobody listens on.
    let dead = [("HF_ENDPOINT", "http://127.0.0.1:9")];
    hub("evaluate --model somebody/else --data folder:photos", &dead)
        .fails(1, &["somebody/else", "127.0.0.1:9"]);
    hub("predict photos --model nothing", &offline)
        .fails(1, &["nothing: no such file or folder", "weights list"]);
    // An official name that the hub does not have says where the file is.
    let args = "weights fetch beit_base_patch16_224_pt1k_800ep";
    hub(args, &offline).fails(1, &["is not on the hub", "beit_base_patch16_224_pt1k_800ep.pth"]);
    // What is there on this machine wins over the hub.
    place.copy("hf", "local");
    fs::create_dir_all(place.path("somebody")).unwrap();
    fs::rename(place.path("local"), place.path("somebody/else")).unwrap();
    assert_eq!(hub("weights inspect somebody/else", &dead).code, Some(0));
}

fn bad_conversions(place: &Place) {
    let rows = [
        (2, "weights convert tuned hf --layout hf", vec!["hf is there already", "--overwrite"]),
        (2, "weights convert tuned new.pth --layout hf", vec!["expected the name of a folder"]),
        (
            2,
            "weights convert tuned new --layout unilm",
            vec!["expected a file ending in .pth or .safetensors"],
        ),
        (1, "weights convert run/tokenizer new --layout timm", vec!["this is a tokenizer", "no tokenizers"]),
        (1, "weights verify nothing", vec!["nothing: no official checkpoint"]),
    ];
    for (code, args, says) in rows {
        place.bad(code, args, &says);
    }
    assert!(!place.path("new").exists());
    place.good("weights convert tuned hf --layout hf --overwrite");
    place.nothing_half_written(".");
    let run = place.run("weights verify microsoft/beit-base-patch16-224 --path tuned");
    assert_eq!(run.code, Some(1), "{run}");
    assert!(run.stdout.contains("DIFFERS") && run.stdout.contains("published 86530984"), "{run}");
}

#[test]
fn the_catalogue() {
    let place = Place::new();
    let lines = place.good("weights list --json").json();
    assert_eq!(lines.len(), beit_weights::catalogue().len());
    let table = place.good("weights list --task mim").stdout;
    assert!(table.contains("beit_base_patch16_224_pt22k ") && !table.contains("ft22kto1k"), "{table}");
    assert!(
        table.contains("licence") && table.contains("apache-2.0") && table.contains("not stated"),
        "{table}"
    );
    let encoders = place.good("weights list --task encoder --json").json();
    let data2vec = encoders.iter().find(|line| line["name"] == "data2vec-vision-base").unwrap();
    assert_eq!(
        (&data2vec["family"], &data2vec["licence"]),
        (&"data2vec-vision".into(), &"apache-2.0".into())
    );
    assert!(encoders.iter().all(|line| line["task"] == "encoder"));
}

/// A pickle that would run a program when Python loads it.
#[test]
fn hostile_files() {
    let place = Place::new();
    place.write("evil.pth", b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00echo\x85R.");
    place.bad(1, "weights inspect evil.pth", &["evil.pth", "os.system", "nothing of it was run"]);
    place.bad(
        1,
        "finetune --init evil.pth --data folder:nowhere",
        &["evil.pth", "os.system", "nothing of it was run"],
    );
    place.write("cut.safetensors", [0u8; 7]);
    place.bad(1, "weights inspect cut.safetensors", &["cut.safetensors is damaged"]);
    place.write("claims.safetensors", {
        let header =
            br#"{"a":{"dtype":"F32","shape":[1152921504606846976],"data_offsets":[0,4611686018427387904]}}"#;
        [&(header.len() as u64).to_le_bytes()[..], header].concat()
    });
    place.bad(1, "weights inspect claims.safetensors", &["claims.safetensors is damaged"]);
}
