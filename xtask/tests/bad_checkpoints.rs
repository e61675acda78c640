//! Checkpoints that are damaged or of another model, and tensors that do not fit: exit code 1, one clear line, and what was there
//! stays as it was.

use crate::common::{
    Named, Place, floats, integers, mask, read_json, short_of_whole_pictures, write_tensors,
};
use safetensors::Dtype;
use std::fs;

const FINETUNE: &str = "--data folder:photos --steps 2 --batch-size 8";

/// With `run`, a run of pre-training, and `tuned`, a classifier.
fn place_with_runs() -> Place {
    let place = Place::with_photos();
    place.good(&format!("pretrain {} --out run", short_of_whole_pictures()));
    place.good(&format!("finetune --init run {FINETUNE} --out tuned"));
    place
}

#[test]
fn another_model() {
    let place = place_with_runs();
    place.photos("other", 4);
    let tokenizer = "--data folder:photos --steps 1 --batch-size 4 --hidden 8 --vocab 16";
    place.good(&format!("tokenizer train {tokenizer} --out tokens"));
    let before = place.contents(".");
    let rows: &[(&str, &[&str])] = &[
        ("evaluate --model missing", &["missing: no such file or folder"]),
        ("evaluate --model photos", &["photos: neither a checkpoint", "nor a run"]),
        ("evaluate --model run --data folder:photos", &["run/last", "expected a classifier"]),
        (
            "evaluate --model tuned --data folder:other",
            &["folder:other", "class `class-3` has no counterpart in the model, which has 3 classes"],
        ),
        (
            "finetune --init run/tokenizer --data folder:photos --out new",
            &["run/tokenizer", "a tokenizer cannot be trained further"],
        ),
        (
            "finetune --init run --patch-size 7 --data folder:photos --out new",
            &["--patch-size", "the checkpoint run has patches of 4x4 pixels"],
        ),
        (
            "finetune --init run --image-size 33 --data folder:photos --out new",
            &["run/last: the image size 33x33 is not divisible by the patch size 4x4"],
        ),
        (
            "pretrain --tokenizer run/last --data folder:photos --out new",
            &["run/last", "expected a tokenizer"],
        ),
        (
            "show reconstruction --model tuned --tokenizer run --data folder:photos",
            &["tuned/last", "this is a classifier"],
        ),
        (
            "show reconstruction --model run --tokenizer tokens --data folder:photos",
            &["16 visual tokens", "do not belong together"],
        ),
        (
            "tokenizer inspect --tokenizer tuned/last --data folder:photos",
            &["tuned/last", "expected a tokenizer"],
        ),
    ];
    for (args, says) in rows {
        place.bad(1, args, says);
    }
    let resume = [
        ("--lr 0.1", &["run/run.toml", "--lr was not given, is 0.1;"][..]),
        ("--seed 5", &["run/run.toml", "--seed was 0, is 5"]),
        ("--no-rel-pos-bias", &["--no-rel-pos-bias was false, is true"]),
        ("--patch-size 2", &["--patch-size was not given, is [2, 2]"]),
    ];
    for (flags, says) in resume {
        let resume = format!("pretrain {} --resume --out run {flags}", short_of_whole_pictures());
        place.bad(1, &resume, says);
    }
    let says = ["tuned/run.toml", "--use-cls was false, is true"];
    place.bad(1, &format!("finetune {FINETUNE} --resume --use-cls --out tuned"), &says);
    place.bad(
        1,
        &format!("finetune {FINETUNE} --resume --out run"),
        &["run/checkpoints/step-", "expected a classifier"],
    );
    assert_eq!(place.contents("."), before);
}

#[test]
fn a_configuration_of_other_sizes() {
    let place = place_with_runs();
    for (checkpoint, copy) in [("run/last/", "narrow-run"), ("tuned/last/", "narrow-tuned")] {
        place.copy(checkpoint, copy);
        let path = place.path(copy).join("config.json");
        let mut config = read_json(&path);
        config["hidden_size"] = 48.into();
        fs::write(path, config.to_string()).unwrap();
    }
    write_tensors(&place.path("pixels.st"), &[floats("pixel_values", &[1, 3, 28, 28])]);
    let before = place.contents(".");
    let says = ["model.safetensors", "cls_token", "[1, 1, 96]", "[1, 1, 48]", "config.json"];
    place.bad(1, "evaluate --model narrow-tuned --data folder:photos", &says);
    place.bad(1, &format!("finetune --init narrow-run {FINETUNE} --out new"), &says);
    place.bad(1, "infer --model narrow-run --pixels pixels.st --out out.st", &says);
    assert_eq!(place.contents("."), before);
}

#[test]
fn damaged_files() {
    let place = place_with_runs();
    let whole = fs::read(place.path("tuned/last/model.safetensors")).unwrap();
    let long = [&(1_u64 << 60).to_le_bytes()[..], b"{}"].concat();
    let flipped: Vec<u8> = whole.iter().enumerate().map(|(i, &b)| if i == 9 { b'!' } else { b }).collect();
    let cases: [(&str, &[u8]); 6] = [
        ("half", &whole[..whole.len() / 2]),
        ("a-byte-short", &whole[..whole.len() - 1]),
        ("half-a-header", &whole[..100]),
        ("empty", b""),
        ("header-of-an-exabyte", &long),
        ("header-that-is-no-json", &flipped),
    ];
    for (name, bytes) in cases {
        place.copy("tuned/last/", name);
        place.write(&format!("{name}/model.safetensors"), bytes);
        let says = format!("{name}/model.safetensors is damaged");
        place.bad(1, &format!("evaluate --model {name} --data folder:photos"), &[&says]);
    }
    place.copy("half", "damaged");
    place.bad(
        1,
        &format!("finetune --init damaged {FINETUNE} --out new"),
        &["damaged/model.safetensors is damaged"],
    );
    fs::remove_file(place.path("damaged/model.safetensors")).unwrap();
    place.bad(1, "evaluate --model damaged --data folder:photos", &["cannot read damaged/model.safetensors"]);
    for (text, says) in [
        ("{\"architectures\": [", "not what transformers writes"),
        ("{\"architectures\": [\"ViTModel\"]}", "ViTModel"),
        ("[]", "config.json"),
        ("", "config.json"),
    ] {
        place.write("damaged/config.json", text);
        place.bad(1, "evaluate --model damaged --data folder:photos", &["damaged/config.json", says]);
    }
    assert!(!place.path("new").exists());
}

#[test]
fn damaged_state_of_training() {
    let place = place_with_runs();
    let resume = format!("pretrain {} --resume --out run", short_of_whole_pictures());
    let training = "run/checkpoints/step-0000002/training";
    for (file, says) in [("optimiser.safetensors", "is damaged"), ("state.json", "does not fit this run")] {
        let name = format!("{training}/{file}");
        let whole = fs::read(place.path(&name)).unwrap();
        place.write(&name, &whole[..whole.len() / 2]);
        let before = place.contents("run/checkpoints");
        place.bad(1, &resume, &[&name, says]);
        assert_eq!(place.contents("run/checkpoints"), before);
        place.write(&name, whole);
    }
    place.good(&resume);
    fs::remove_dir_all(place.path(training)).unwrap();
    place.bad(1, &resume, &["cannot read run/checkpoints/step-0000002/training/state.json"]);
}

#[test]
fn pixels_that_do_not_fit() {
    let place = place_with_runs();
    let pixels = |shape: &[usize]| floats("pixel_values", shape);
    let whole = [1, 3, 28, 28];
    let whole_numbers = ("pixel_values", Dtype::U8, whole.to_vec(), vec![0; 3 * 28 * 28]);
    let rows: [(&str, Vec<Named<'_>>, &[&str]); 10] = [
        ("run", vec![pixels(&[1, 3, 32, 28])], &["pixel_values is 32x28", "28x28"]),
        ("run", vec![pixels(&[1, 1, 28, 28])], &["1 channels, expected 3"]),
        ("run", vec![pixels(&[3, 28, 28])], &["shape [3, 28, 28], expected [B, channels, H, W]"]),
        ("run", vec![floats("pixels", &whole)], &["no tensor `pixel_values`"]),
        ("run", vec![whole_numbers], &["`pixel_values` holds U8", "F32"]),
        ("run", vec![pixels(&whole), mask(&[1, 48])], &["bool_masked_pos has 48 elements", "[1, 49]"]),
        ("tuned", vec![pixels(&[2, 3, 28, 24])], &["pixel_values is 28x24"]),
        ("tuned", vec![pixels(&whole), mask(&[1, 49])], &["bool_masked_pos", "no mask token"]),
        ("run/tokenizer", vec![pixels(&[1, 3, 30, 28])], &["pixel_values is 30x28", "divisible by 4"]),
        ("run/tokenizer", vec![pixels(&[1, 3, 0, 28])], &["pixel_values is 0x28", "divisible by 4"]),
    ];
    for (model, tensors, says) in rows {
        write_tensors(&place.path("pixels.st"), &tensors);
        let args = format!("infer --model {model} --pixels pixels.st --out out.st");
        place.bad(1, &args, &[&["pixels.st"][..], says].concat());
    }
    place.write("pixels.st", [0; 40]);
    place.bad(1, "infer --model run --pixels pixels.st --out out.st", &["pixels.st is damaged"]);
    place.bad(1, "infer --model run --pixels none.st --out out.st", &["cannot read none.st"]);

    let codes = |shape: &[usize], values: &[i64]| vec![integers("codes", shape, values)];
    let rows: [(Vec<Named<'_>>, &str); 5] = [
        (codes(&[1, 1, 2], &[0, 100_000]), "visual token 100000"),
        (codes(&[1, 1, 2], &[0, -1]), "visual token -1"),
        (codes(&[2], &[0, 0]), "shape [2], expected [B, h, w]"),
        (codes(&[0, 7, 7], &[]), "codes.st"),
        (vec![floats("codes", &[1, 1, 2])], "`codes` holds F32"),
    ];
    for (tensors, says) in rows {
        write_tensors(&place.path("codes.st"), &tensors);
        place.bad(1, "tokenizer decode --tokenizer run --codes codes.st --out out.st", &["codes.st", says]);
    }
    assert!(!place.path("out.st").exists());
}
