//! Models as people have them, through the verbs: of other channels than three, in bare files, with an average beside the last step.

use crate::common::{Place, finite, floats, read_json, write_tensors};
use beit_weights::{TensorFile, TensorWriter};
use serde_json::json;
use std::fs;

const TINY: &str = "--from-scratch --preset tiny --steps 2 --batch-size 4 --data folder:photos";

const PHOTO: &str = "photos/test/class-0/00.png";

/// What a model answers, class by class, and what it says besides.
fn probabilities(place: &Place, flags: &str) -> (Vec<(u64, String)>, String) {
    let outcome = place.good(&format!("predict {PHOTO} {flags} --json"));
    let answer = outcome.answer()["predictions"].as_array().unwrap().clone();
    let pair = |one: &serde_json::Value| (one["class"].as_u64().unwrap(), one["probability"].to_string());
    (answer.iter().map(pair).collect(), outcome.stderr)
}

/// A place with photographs and a fine-tuned model in a folder of its own.
fn place() -> Place {
    let place = Place::with_photos();
    place.good(&format!("finetune {TINY} --out run"));
    place.good("weights convert run model --layout hf");
    place
}

/// Makes the model one that sees so many channels.
fn with_channels(place: &Place, channels: usize) {
    let path = place.path("model/model.safetensors");
    let file = TensorFile::open(&path).unwrap();
    let mut writer = TensorWriter::new();
    for name in file.names() {
        let (mut shape, mut values) = (file.shape(name).unwrap().to_vec(), file.floats(name).unwrap());
        if name.ends_with("projection.weight") {
            let patch = shape[2] * shape[3];
            let of = |row: &[f32]| row.iter().copied().cycle().take(channels * patch).collect::<Vec<_>>();
            values = values.chunks_exact(shape[1] * patch).flat_map(of).collect();
            shape[1] = channels;
        }
        writer.floats(name, &shape, &values);
    }
    let new = place.path("new.safetensors");
    writer.write(&new).unwrap();
    drop(file);
    fs::rename(new, path).unwrap();
    let path = place.path("model/config.json");
    let mut config = read_json(&path);
    config["num_channels"] = json!(channels);
    fs::write(path, config.to_string()).unwrap();
    let path = place.path("model/preprocessor_config.json");
    let mut preprocessor = read_json(&path);
    preprocessor["image_mean"] = json!(vec![0.5; channels]);
    preprocessor["image_std"] = json!(vec![0.5; channels]);
    fs::write(path, preprocessor.to_string()).unwrap();
}

#[test]
fn a_model_of_one_channel_sees_grey_in_every_verb() {
    let place = place();
    with_channels(&place, 1);
    assert!(probabilities(&place, "--model model").1.contains(", grey, "));
    let judged = place.good("evaluate --model model --data folder:photos --json").answer();
    assert_eq!(judged["images"], 24);
    place.good("embed --model model --data folder:photos --out f.safetensors");
    finite(&place.path("f.safetensors"), "features");
    place.good("probe knn --model model --data folder:photos");
    place.good("finetune --init model --data folder:photos --steps 2 --batch-size 4 --out tuned");
    let again = place.good("evaluate --model tuned --data folder:photos --json");
    assert!(again.stderr.contains(", grey, "), "{again}");
    for (layout, out) in [("timm", "timm"), ("unilm", "there.pth")] {
        place.good(&format!("weights convert tuned {out} --layout {layout}"));
        let same = place.good(&format!("evaluate --model {out} --data folder:photos --json")).answer();
        assert_eq!(same["top1"], again.answer()["top1"], "{layout}");
    }
    write_tensors(&place.path("in.safetensors"), &[floats("pixel_values", &[2, 1, 28, 28])]);
    place.good("infer --model model --pixels in.safetensors --out out.safetensors");
    write_tensors(&place.path("three.safetensors"), &[floats("pixel_values", &[2, 3, 28, 28])]);
    let says = ["pixel_values has 3 channels, expected 1, the num_channels of the model"];
    place.bad(1, "infer --model model --pixels three.safetensors --out other.safetensors", &says);
}

#[test]
fn models_of_other_channels_refuse_photographs_in_every_verb() {
    let place = place();
    for channels in [2, 4, 17] {
        with_channels(&place, channels);
        let says = match channels {
            17 => "the model sees 17 channels (num_channels), expected 1 to 16".to_owned(),
            _ => format!("it has 3 channels, expected {channels}"),
        };
        let predicted = place.run("predict photos/test/class-0/00.png --model model");
        assert!(predicted.code == Some(1) && predicted.stderr.contains(&says), "{predicted}");
        for verb in [
            "evaluate --model model --data folder:photos",
            "embed --model model --data folder:photos --out f.safetensors",
            "probe knn --model model --data folder:photos",
            &format!(
                "finetune --init model --data folder:photos --steps 2 --batch-size 4 --out tuned-{channels}"
            ),
        ] {
            place.bad(1, verb, &[&says]);
        }
        assert!(!place.path("f.safetensors").exists());
        if channels == 4 {
            write_tensors(&place.path("in.safetensors"), &[floats("pixel_values", &[2, channels, 28, 28])]);
            place.good("infer --model model --pixels in.safetensors --out out.safetensors");
        }
    }
}

/// Tiny models are 96 wide, which is no whole number of heads of 64.
#[test]
fn heads_and_sizes_of_a_bare_file_are_said_by_flags() {
    let place = Place::with_photos();
    place.good(&format!("finetune {TINY} --no-rel-pos-bias --image-size 28x56 --out run"));
    place.good("weights convert run timm --layout timm");
    fs::copy(place.path("timm/model.safetensors"), place.path("bare.safetensors")).unwrap();
    let says =
        ["`pos_embed` has shape [1, 99, 96], which is of no square of patches", "--image-size HEIGHTxWIDTH"];
    place.bad(1, &format!("predict {PHOTO} --model bare.safetensors"), &says);
    let says = ["its width of 96 does not tell the number of heads; say it with --heads"];
    place.bad(1, &format!("predict {PHOTO} --model bare.safetensors --image-size 28x56"), &says);
    let flags = "--model bare.safetensors --image-size 28x56 --heads 4";
    let predicted = |flags: &str| probabilities(&place, &format!("{flags} --preprocess hf")).0;
    assert_eq!(predicted(flags), predicted("--model timm"));
    place.good("weights convert bare.safetensors back --layout hf --image-size 28x56 --heads 4");
    place.bad(1, "weights inspect timm --heads 8", &["--heads 8", "says 4"]);
}

#[test]
fn an_average_is_taken_and_said() {
    let place = place();
    place.good("weights convert run timm --layout timm");
    let file = TensorFile::open(place.path("timm/model.safetensors")).unwrap();
    let mut writer = TensorWriter::new();
    for name in file.names() {
        let (shape, values) = (file.shape(name).unwrap(), file.floats(name).unwrap());
        let average: Vec<f32> = values.iter().map(|x| x * 0.5).collect();
        writer.floats(format!("model.{name}"), shape, &values);
        writer.floats(format!("model_ema.{name}"), shape, &average);
    }
    writer.write(place.path("both.safetensors")).unwrap();
    let predicted =
        |flags: &str| probabilities(&place, &format!("--model both.safetensors --heads 4 {flags}"));
    let [(unsaid, said), (average, _), (raw, left)] = ["", "--weights ema", "--weights raw"].map(predicted);
    assert!(
        said.contains("took the average (EMA) at `model_ema.` and left `model.`; --weights raw"),
        "{said}"
    );
    assert!(left.contains("--weights ema takes the other"), "{left}");
    assert!(unsaid == average && unsaid != raw);
}
