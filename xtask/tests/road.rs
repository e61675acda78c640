//! The whole road at toy length: a tokenizer, pre-training, fine-tuning, evaluation, pictures, raw tensors.

use crate::common::{Place, SHORT, finite, floats, mask, read_json, read_tensor, write_tensors};
use serde_json::Value;
use std::fs;
use std::path::Path;

const TOKENIZER: &str = "--data folder:photos --steps 6 --hidden 8 --vocab 16 --batch-size 8";

/// Height and width of a picture that decodes.
fn sides(path: &Path) -> [u32; 2] {
    let image = image::open(path).unwrap();
    [image.height(), image.width()]
}

/// The steps that a phase reported.
fn reported(lines: &[Value], phase: &str) -> Vec<u64> {
    let of_phase = lines.iter().filter(|line| line["phase"] == phase && line.get("step").is_some());
    of_phase.map(|line| line["step"].as_u64().unwrap()).collect()
}

#[test]
fn from_images_to_a_classifier() {
    let place = Place::with_photos();
    let flags = "--data folder:photos --tokenizer-kind dvae --accept-tokenizer --tokenizer-steps 4 --steps 6 --batch-size 8 --report-every 2";
    let run = place.good(&format!("pretrain {flags} --out run --json"));
    pre_training_left_a_run(&place, &run.json());

    let finetune = "--data folder:photos --labels 40 --steps 4 --batch-size 8 --report-every 2";
    let run = place.good(&format!("finetune --init run {finetune} --out tuned --json"));
    assert!(run.stderr.contains("tensors taken"), "{run}");
    assert_eq!(reported(&run.json(), "finetune"), [2, 4]);
    let tuned = run.answer();
    assert_eq!(
        (&tuned["labels"], &tuned["images"], &tuned["split"]),
        (&40.into(), &24.into(), &"test".into())
    );
    assert_eq!(reported(&place.metrics("tuned"), "finetune"), [2, 4]);

    // By the link, and by the folder that it points to.
    for model in ["tuned", "tuned/checkpoints/step-0000004"] {
        let args = format!("evaluate --model {model} --data folder:photos --batch-size 8 --json");
        let evaluated = place.good(&args);
        assert_eq!(evaluated.json().len(), 1);
        for key in ["images", "top1", "top5", "loss"] {
            assert_eq!(evaluated.answer()[key], tuned[key], "{key} of {model}");
        }
    }
    let train = place.good("evaluate --model tuned --data folder:photos --train-split");
    assert!(train.stdout.starts_with("train accuracy on 48 images: top-1 "), "{train}");
    raw_tensors(&place);

    place.good("show reconstruction --model run --data folder:photos --images 3 --seed 18446744073709551615 --out r.png");
    // Words of up to eleven letters stand beside the rows.
    assert_eq!(sides(&place.path("r.png")), [4 + 5 * 88, 8 + 11 * 6 + 3 * 88]);
    let inspected = place.good("tokenizer inspect --tokenizer run --data folder:photos --json").answer();
    assert_eq!(inspected["images"], 24);
}

fn pre_training_left_a_run(place: &Place, lines: &[Value]) {
    let names = [
        "checkpoints",
        "last",
        "metrics.jsonl",
        "pictures",
        "report.html",
        "run.toml",
        "tensorboard",
        "tokenizer",
    ];
    assert_eq!(place.names("run"), names);
    let [.., answer] = lines else { panic!("no answer") };
    assert_eq!(answer["checkpoint"], "run/checkpoints/step-0000006");
    assert_eq!(answer["patches"].as_u64().map(|patches| patches > 0), Some(true));
    for lines in [lines, &place.metrics("run")] {
        assert_eq!(reported(lines, "tokenizer"), [2, 4]);
        assert_eq!(reported(lines, "pretrain"), [2, 4, 6]);
        assert!(lines.iter().filter_map(|line| line.get("loss")).all(|loss| loss.as_f64().is_some()));
    }
    let text = fs::read_to_string(place.path("run/run.toml")).unwrap();
    assert!(text.starts_with("# cargo xtask pretrain --data folder:photos"), "{text}");
    let options: toml::Table = text.parse().unwrap();
    assert_eq!(options["training"]["batch_size"].as_integer(), Some(8));

    let drawn = ["masks.png", "reconstruction.png", "step-0000000.png", "step-0000006.png"];
    assert_eq!(place.names("run/pictures"), drawn);
    assert_eq!(sides(&place.path("run/pictures/masks.png")), [4 + 3 * 88, 4 + 8 * 88]);
    assert_eq!(sides(&place.path("run/pictures/reconstruction.png")), [4 + 5 * 88, 8 + 11 * 6 + 8 * 88]);
    assert_eq!(place.names("run/checkpoints"), ["step-0000006"]);
    let files = ["config.json", "model.safetensors", "preprocessor_config.json", "training"];
    assert_eq!(place.names("run/last"), files);
    assert_eq!(place.names("run/last/training"), ["optimiser.safetensors", "state.json"]);
    assert_eq!(place.names("run/tokenizer"), ["config.json", "decoder.safetensors", "model.safetensors"]);
    place.nothing_half_written("run");
}

/// `infer` on a model for masked image modelling, a classifier and a tokenizer.
fn raw_tensors(place: &Place) {
    let pixels = floats("pixel_values", &[3, 3, 28, 28]);
    write_tensors(&place.path("plain.st"), std::slice::from_ref(&pixels));
    write_tensors(&place.path("masked.st"), &[pixels, mask(&[3, 49])]);
    let vocab = read_json(&place.path("run/last/config.json"))["vocab_size"].as_u64().unwrap() as usize;
    let cases = [
        ("run", "plain.st", vec![3, 49, vocab]),
        ("run", "masked.st", vec![3, 49, vocab]),
        ("tuned", "plain.st", vec![3, 3]),
        ("run/tokenizer", "plain.st", vec![3, vocab, 7, 7]),
    ];
    for (model, pixels, shape) in cases {
        // Two batches, the second smaller.
        let args = format!("infer --model {model} --pixels {pixels} --batch-size 2 --overwrite --json --out");
        let answer = place.good(&format!("{args} out-{pixels}")).answer();
        assert_eq!(answer["logits"], Value::from(shape.clone()));
        assert_eq!(finite(&place.path(&format!("out-{pixels}")), "logits"), shape, "{model} on {pixels}");
    }
    assert_eq!(read_tensor(&place.path("out-plain.st"), "codes").0, [3, 7, 7]);
    place.good("infer --overwrite --model run --pixels plain.st --out out-plain.st");
    let logits = |file: &str| read_tensor(&place.path(file), "logits").1;
    assert_ne!(logits("out-plain.st"), logits("out-masked.st"), "the mask is without effect");
}

#[test]
fn from_images_to_visual_tokens_and_back() {
    let place = Place::with_photos();
    let run = place.good(&format!("tokenizer train {TOKENIZER} --report-every 2 --out tokens --json"));
    assert_eq!(reported(&run.json(), "tokenizer"), [2, 4, 6]);
    assert_eq!(run.answer()["quality"]["vocab"], 16);
    assert_eq!(
        place.names("tokens"),
        ["metrics.jsonl", "pictures", "report.html", "run.toml", "tensorboard", "tokenizer"]
    );
    assert_eq!(sides(&place.path("tokens/pictures/tokenizer.png")), [4 + 2 * 88, 4 + 8 * 88]);
    assert_eq!(reported(&place.metrics("tokens"), "tokenizer"), [2, 4, 6]);

    let use_it = "--tokenizer tokens --data folder:photos";
    let answer = place.good(&format!("tokenizer encode {use_it} --images 10 --out codes.st --json")).answer();
    assert_eq!(answer["codes"], Value::from(vec![10, 7, 7]));
    let (shape, bytes) = read_tensor(&place.path("codes.st"), "codes");
    assert_eq!(shape, [10, 7, 7]);
    assert!(bytes.as_chunks().0.iter().all(|&code| (0..16).contains(&i64::from_le_bytes(code))));
    let answer =
        place.good("tokenizer decode --tokenizer tokens --codes codes.st --out pictures.png --json").answer();
    assert_eq!(answer["images"], 10);
    assert_eq!(sides(&place.path("pictures.png")), [4 + 2 * 88, 4 + 8 * 88]);

    let inspected = place.good(&format!("tokenizer inspect {use_it} --picture both.png --json"));
    assert_eq!(inspected.answer(), run.answer()["quality"], "what training measured at its end");
    assert_eq!(sides(&place.path("both.png")), [4 + 2 * 88, 4 + 8 * 88]);
    let counts =
        inspected.answer()["counts"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum::<u64>();
    assert_eq!(counts, 24 * 49);

    // The run of a tokenizer is itself a model, and what pre-training takes its tokens from.
    write_tensors(&place.path("pixels.st"), &[floats("pixel_values", &[2, 3, 8, 12])]);
    place.good("infer --model tokens --pixels pixels.st --out out.st");
    assert_eq!(finite(&place.path("out.st"), "logits"), [2, 16, 2, 3]);
    assert_eq!(read_tensor(&place.path("out.st"), "codes").0, [2, 2, 3]);
    place.good("pretrain --accept-tokenizer --tokenizer tokens --data folder:photos --steps 2 --batch-size 8 --out run");
    assert_eq!(read_json(&place.path("run/last/config.json"))["vocab_size"], 16);
    assert!(!place.path("run/tokenizer").exists());
}

/// The same by k-means, with tokens that are no squares.
#[test]
fn visual_tokens_by_k_means() {
    let place = Place::with_photos();
    let train =
        "tokenizer train --kind kmeans --token-size 4x7 --vocab 16 --data folder:photos --steps 3 --json";
    let run = place.good(&format!("{train} --out tokens"));
    assert!(run.stderr.contains("k-means of "), "{run}");
    let quality = &run.answer()["quality"];
    assert_eq!(quality["vocab"], 16);
    // Few images that were held out need not show every typical patch of the others.
    assert!(quality["used"].as_u64() > Some(8), "{quality}");
    assert_eq!(
        place.names("tokens"),
        ["metrics.jsonl", "pictures", "report.html", "run.toml", "tensorboard", "tokenizer"]
    );
    assert_eq!(place.names("tokens/tokenizer"), ["config.json", "model.safetensors"]);
    assert_eq!(sides(&place.path("tokens/pictures/tokenizer.png")), [4 + 2 * 88, 4 + 8 * 88]);
    place.good(&format!("{train} --threads 1 --out alone"));
    assert_eq!(place.contents("tokens/tokenizer"), place.contents("alone/tokenizer"));

    let use_it = "--tokenizer tokens --data folder:photos";
    let answer = place.good(&format!("tokenizer encode {use_it} --images 10 --out codes.st --json")).answer();
    assert_eq!(answer["codes"], Value::from(vec![10, 7, 4]));
    place.good("tokenizer decode --tokenizer tokens --codes codes.st --out pictures.png");
    assert_eq!(sides(&place.path("pictures.png")), [4 + 2 * 88, 4 + 8 * 88]);
    let inspected = place.good(&format!("tokenizer inspect {use_it} --json")).answer();
    assert_eq!(inspected, *quality, "what training measured at its end");
    let text = place.good(&format!("tokenizer inspect {use_it}")).stdout;
    assert!(text.starts_with("k-means, weight of the mean 1, 16 visual tokens of 4x7 pixels\n"), "{text}");
    let text = place.good("weights inspect tokens").stdout;
    for says in ["a tokenizer by k-means", "4x7", "config.json of this project", "scores.weight"] {
        assert!(text.contains(says), "{says} in {text}");
    }
    write_tensors(&place.path("pixels.st"), &[floats("pixel_values", &[2, 3, 8, 14])]);
    place.good("infer --model tokens --pixels pixels.st --out out.st");
    assert_eq!(finite(&place.path("out.st"), "logits"), [2, 16, 2, 2]);

    // Patches of five pixels, of which a discrete VAE has no tokens, see what tokens of any other sides are of.
    let pretrain = "pretrain --image-size 25 --patch-size 5 --data folder:photos --steps 2 --batch-size 8";
    place.good(&format!("{pretrain} --accept-tokenizer --tokenizer tokens --out given"));
    place.good(&format!(
        "{pretrain} --tokenizer-kind kmeans --accept-tokenizer --tokenizer-steps 2 --out own"
    ));
    assert_eq!(read_json(&place.path("given/last/config.json"))["vocab_size"], 16);
    let drawn = ["masks.png", "reconstruction.png", "step-0000000.png", "step-0000002.png"];
    assert_eq!(place.names("own/pictures"), drawn);
}

#[test]
fn every_kind_of_mask_is_drawn() {
    let place = Place::with_photos();
    for mask in ["block", "exact", "paper", "random"] {
        let args =
            format!("show masks --data folder:photos --mask {mask} --mask-ratio 0.3 --out {mask}.png --json");
        assert_eq!(place.good(&args).answer()["out"], format!("{mask}.png"));
        assert_eq!(sides(&place.path(&format!("{mask}.png"))), [4 + 3 * 88, 4 + 8 * 88]);
    }
    assert_ne!(fs::read(place.path("exact.png")).unwrap(), fs::read(place.path("random.png")).unwrap());
    // With no flags at all: embedded images.
    let run = place.good("show masks");
    assert_eq!(run.stdout, "masks: masks.png\n");
    assert_eq!(sides(&place.path("masks.png")), [4 + 4 * 88, 4 + 8 * 88]);
}

#[test]
fn a_dry_run_writes_nothing() {
    let place = Place::with_photos();
    let run = place.good(&format!("pretrain {SHORT} --dry-run --json --out run"));
    assert_eq!(run.json().len(), 1);
    assert_eq!(run.answer()["steps"], 2);
    assert!(["flops_per_step", "peak_bytes"].iter().all(|key| run.answer()[key].as_u64() > Some(1_000_000)));
    let rate = run.answer()["images_per_second"].as_f64().unwrap();
    assert!((run.answer()["seconds"].as_f64().unwrap() - 2.0 * 8.0 / rate).abs() < 1e-9, "{run}");
    assert_eq!(
        (&run.answer()["data"]["images"], &run.answer()["data"]["undecodable"]),
        (&48.into(), &0.into())
    );
    let run = place.good("pretrain --data folder:photos --preset base --batch-size 2 --dry-run --rate 1");
    assert!(run.stdout.contains("GFLOP"), "{run}");
    let run = place.good("finetune --from-scratch --data folder:photos --dry-run --json");
    assert_eq!(run.json().len(), 1);
    assert!(
        ["seconds", "images_per_second"].iter().all(|key| run.answer()[key].as_f64() > Some(0.0)),
        "{run}"
    );
    assert!(
        ["parameters", "flops_per_step", "peak_bytes"]
            .iter()
            .all(|key| run.answer()[key].as_u64() > Some(1000)),
        "{run}"
    );
    assert_eq!(place.names("."), ["photos"]);
}

#[test]
fn runs_are_numbered_where_no_folder_is_named() {
    let place = Place::with_photos();
    let train = format!("tokenizer train {TOKENIZER}");
    place.good(&train);
    place.good(&train);
    assert_eq!(place.names("runs"), ["tokenizer-001", "tokenizer-002"]);
    let tokenizer = |n| place.contents(&format!("runs/tokenizer-00{n}/tokenizer"));
    assert_eq!(tokenizer(1), tokenizer(2), "one seed, two results");
    place.good(&format!("{train} --overwrite --out runs/tokenizer-001 --seed 1"));
    assert_ne!(tokenizer(1), tokenizer(2));
}

/// Whoever reads the output may go away: `cargo xtask … | head -1`.
#[test]
fn nobody_listens() {
    use std::process::Stdio;

    let place = Place::with_photos();
    let args = format!("tokenizer train {TOKENIZER} --report-every 1 --json --out tokens");
    let mut child = place.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    drop(child.stderr.take());
    assert!(child.wait().unwrap().success());
    assert!(place.path("tokens/tokenizer/model.safetensors").exists());
}
