//! Verbs that use a trained classifier: `evaluate` with its files, `predict`, `embed`.

use crate::common::{Place, SHORT, finite, read_json, read_tensor};
use serde_json::Value;
use std::fs;

/// With `run`, a run of pre-training, and `tuned`, a classifier of three classes.
fn place_with_runs() -> Place {
    let place = Place::with_photos();
    place.good(&format!("pretrain {SHORT} --out run"));
    place.good("finetune --init run --data folder:photos --steps 3 --batch-size 8 --out tuned");
    place
}

/// The rows of a CSV file without commas in its cells.
fn csv(place: &Place, name: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(place.path(name)).unwrap();
    text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

fn number(cell: &str) -> u64 {
    cell.parse().unwrap()
}

#[test]
fn evaluation() {
    let place = place_with_runs();
    files_agree(&place);
    resumes(&place);
    three_crops(&place);
    classes_are_matched(&place);
}

fn files_agree(place: &Place) {
    let args = "evaluate --model tuned --data folder:photos --batch-size 5";
    let run = place.good(&format!("{args} --out whole --per-class --json"));
    let names = ["confusion.csv", "evaluation.json", "per_class.csv", "progress.json"];
    assert_eq!(place.names("whole"), names);
    let (answer, written) = (run.answer(), read_json(&place.path("whole/evaluation.json")));
    for key in ["images", "top1", "top5", "loss", "left_out", "split", "batch_size"] {
        assert_eq!(answer[key], written[key], "{key}");
    }
    assert_eq!((&answer["images"], &answer["top5"]), (&24.into(), &1.0.into()));

    let (classes, confusion) = (csv(place, "whole/per_class.csv"), csv(place, "whole/confusion.csv"));
    assert_eq!(confusion[0], ["true \\ predicted", "class-0", "class-1", "class-2"]);
    let mut right = 0;
    for (class, (row, matrix)) in classes[1..].iter().zip(&confusion[1..]).enumerate() {
        assert_eq!((row[1].as_str(), row[2].as_str()), (matrix[0].as_str(), "8"), "{row:?}");
        assert_eq!(matrix[1..].iter().map(|cell| number(cell)).sum::<u64>(), 8);
        assert_eq!(number(&row[3]), number(&matrix[1 + class]));
        assert_eq!(answer["per_class"][class]["right"].as_u64(), Some(number(&row[3])));
        right += number(&row[3]);
    }
    assert_eq!(answer["top1"].as_f64(), Some(right as f64 / 24.0));
    let table = place.good(&format!("{args} --per-class"));
    assert!(table.stdout.contains("class    images   top-1   top-5\nclass-0       8  "), "{table}");
}

/// A file that cannot be decoded ends an evaluation in the middle; with the file in place it goes on.
/// Square pictures are the same three times; the evaluation is another one all the same.
fn three_crops(place: &Place) {
    let args = "evaluate --model tuned --data folder:photos --batch-size 5";
    let (one, three) =
        (place.good(&format!("{args} --json")), place.good(&format!("{args} --crops 3 --out three --json")));
    let loss = |answer: &Value| answer["loss"].as_f64().unwrap();
    assert_eq!(one.answer()["top1"], three.answer()["top1"]);
    // The mean is taken in double precision.
    assert!((loss(&one.answer()) - loss(&three.answer())).abs() < 1e-5, "{three}");
    let written = read_json(&place.path("three/evaluation.json"));
    assert_eq!((&written["crops"], &one.answer()["crops"]), (&3.into(), &1.into()));
    assert!(written["preprocessing"].as_str().unwrap().contains("three crops"), "{written}");
    assert_eq!(place.good(&format!("{args} --crops 3 --out three --resume --json")).answer(), three.answer());
    place.bad(1, &format!("{args} --out three --resume"), &["three crops"]);
    place.run(&format!("{args} --crops 2")).is_refused(&["--crops"]);
}

fn resumes(place: &Place) {
    let args =
        "evaluate --model tuned --data folder:photos --batch-size 5 --save-every 1 --max-bad-share 0 --json";
    let file = "photos/test/class-2/01.png";
    let good = fs::read(place.path(file)).unwrap();
    place.write(file, "broken");
    place.bad(1, &format!("{args} --out stopped"), &["cannot be decoded", file]);
    assert_eq!(place.names("stopped"), ["progress.json"]);
    assert_eq!(read_json(&place.path("stopped/progress.json"))["state"]["batches"], 3);
    place.write(file, good);

    for (flags, says) in [
        ("--data folder:photos --batch-size 6", "the batch size was 5, is 6"),
        ("--data folder:photos --batch-size 5 --train-split", "the data was folder:photos with 24 images"),
        ("--data folder:photos/train --batch-size 5", "the data was folder:photos with 24 images"),
    ] {
        let args = format!("evaluate --model tuned {flags} --out stopped --resume");
        place.bad(1, &args, &["stopped/progress.json is of another evaluation", says]);
    }
    place.good("finetune --init run --data folder:photos --steps 4 --batch-size 8 --out other");
    let other = args.replace("tuned", "other");
    place.bad(1, &format!("{other} --out stopped --resume"), &["the model was"]);

    let run = place.good(&format!("{args} --out stopped --resume"));
    assert!(run.stderr.contains("resumed after 3 of 5 batches"), "{run}");
    for name in ["confusion.csv", "evaluation.json", "per_class.csv"] {
        let [whole, stopped] = ["whole", "stopped"].map(|dir| fs::read(place.path(dir).join(name)).unwrap());
        assert!(whole == stopped, "{name} differs");
    }
    // At its end there is nothing left to do, and nothing changes.
    assert_eq!(place.good(&format!("{args} --out stopped --resume")).answer(), run.answer());
    place.nothing_half_written("stopped");

    place.bad(2, &format!("{args} --out stopped"), &["stopped is not empty", "--resume"]);
    place.bad(1, &format!("{args} --out new --resume"), &["new: no progress.json to resume"]);
    place.copy("stopped", "edited");
    // The counts of a class, doubled: the sum is wrong. And one that fits, but was not counted.
    let text = fs::read_to_string(place.path("edited/progress.json")).unwrap();
    let state = |change: &dyn Fn(&mut Value)| {
        let mut value: Value = serde_json::from_str(&text).unwrap();
        change(&mut value["state"]);
        place.write("edited/progress.json", value.to_string());
        place.bad(1, &format!("{args} --out edited --resume"), &["edited/progress.json is damaged"]);
    };
    state(&|state| state["confusion"][0][2] = 80.into());
    state(&|state| state["batches"] = 0.into());
    state(&|state| state["batches"] = u64::MAX.into());
    state(&|state| state["left_out"] = 7.into());
    state(&|state| state["classes"] = 5.into());
    state(&|state| state["in_5"][0][1] = 9.into());
    state(&|state| state["loss_bits"] = 4_633_059_880_628_912_128_u64.into());
    // Another picture under the name of one that was counted.
    let first = "photos/test/class-0/00.png";
    let kept = fs::read(place.path(first)).unwrap();
    place.copy("photos/test/class-1/00.png", first);
    place.bad(1, &format!("{args} --out stopped --resume"), &["has counts of other pictures"]);
    place.write(first, kept);
    place.write("damaged/progress.json", "{");
    place.bad(1, &format!("{args} --out damaged --resume"), &["damaged/progress.json is damaged"]);
}

/// A set with some of the model's classes, in another order, and one with a class that the model does not know.
fn classes_are_matched(place: &Place) {
    for (from, to) in [("class-2", "some/class-2"), ("class-1", "some/class-1"), ("class-1", "more/cow")] {
        fs::create_dir_all(place.path(to).parent().unwrap()).unwrap();
        place.copy(&format!("photos/test/{from}"), to);
    }
    place.good("evaluate --model tuned --data folder:some --train-split --out part");
    let [whole, part] = ["whole", "part"].map(|dir| csv(place, &format!("{dir}/per_class.csv")));
    assert_eq!(part[1], ["0", "class-0", "0", "0", "0", "", ""]);
    assert_eq!(part[2..], whole[2..]);
    let says = ["folder:more", "class `cow` has no counterpart", "3 classes: class-0, class-1, class-2"];
    place.bad(1, "evaluate --model tuned --data folder:more --train-split", &says);
}

#[test]
fn predictions() {
    let place = place_with_runs();
    let args = "predict photos/test/class-1/03.png photos/test/class-0 --model tuned";
    let run = place.good(&format!("{args} --batch-size 4 --json"));
    let lines = run.json();
    assert_eq!(lines.len(), 9);
    let file = |line: &Value| line["file"].as_str().unwrap().to_owned();
    assert_eq!(file(&lines[0]), "photos/test/class-1/03.png");
    assert_eq!(file(&lines[8]), "photos/test/class-0/07.png");
    for line in &lines {
        let predictions = line["predictions"].as_array().unwrap();
        let probabilities: Vec<f64> =
            predictions.iter().map(|p| p["probability"].as_f64().unwrap()).collect();
        assert!(probabilities.len() == 3 && probabilities.is_sorted_by(|a, b| a >= b), "{line}");
        assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{line}");
        for prediction in predictions {
            let class = prediction["class"].as_u64().unwrap();
            assert_eq!(prediction["label"], format!("class-{class}"));
        }
    }
    let text = place.good(&format!("{args} --top-k 1"));
    assert_eq!(text.stdout.lines().count(), 18, "{text}");
    assert!(text.stdout.starts_with("photos/test/class-1/03.png\n  0."), "{text}");

    place.broken_jpeg("broken.jpg");
    let run = place.run("predict broken.jpg photos/test/class-0/00.png missing.png --model tuned --json");
    assert_eq!((run.json().len(), run.code), (1, Some(1)));
    for says in
        ["cannot decode broken.jpg", "cannot decode missing.png", "error: 2 of 3 files cannot be decoded"]
    {
        assert!(run.stderr.contains(says), "{run}");
    }
    place.bad(1, "predict broken.jpg missing.png --model tuned", &["2 of 2 files cannot be decoded"]);
    place.bad(1, "predict photos --model run", &["run/last", "expected a classifier"]);
    place.bad(2, "predict photos --model tuned --top-k 0", &["--top-k 0"]);
    place.bad(2, "predict photos --model tuned --batch-size 0", &["image per batch"]);
    place.run("predict --model tuned").is_refused(&["IMAGE"]);
}

#[test]
fn features() {
    let place = place_with_runs();
    let data = "--data folder:photos --batch-size 5";
    let width = read_json(&place.path("run/last/config.json"))["hidden_size"].as_u64().unwrap() as usize;
    let shapes = [
        ("run", "--layer 1", vec![24, width]),
        ("run", "--pool cls", vec![24, width]),
        ("run", "--pool none", vec![24, 16, width]),
        ("tuned", "--layer 2 --pool none", vec![24, 16, width]),
        ("tuned", "--pool model", vec![24, width]),
    ];
    for (model, flags, shape) in shapes {
        let args = format!("embed --model {model} {data} {flags} --out out.safetensors --overwrite --json");
        assert_eq!(place.good(&args).answer()["features"], serde_json::json!(shape), "{args}");
        assert_eq!(finite(&place.path("out.safetensors"), "features"), shape, "{args}");
    }
    let (shape, labels) = read_tensor(&place.path("out.safetensors"), "labels");
    assert_eq!((shape, labels[8 * 8], labels[23 * 8]), (vec![24], 1, 2));
    let names = fs::read_to_string(place.path("out.safetensors.names.txt")).unwrap();
    assert_eq!(names.lines().nth(8), Some("photos/test/class-1/00.png"));
    the_head_sees_the_pooled_features(&place, width);
    arrays_of_numpy(&place, data, width);
    bad_features(&place);
}

/// `head(--pool model)` are the logits of the classifier: the differences of two logits are those of the log-probabilities.
fn the_head_sees_the_pooled_features(place: &Place, width: usize) {
    let floats = |file: &str, name: &str| -> Vec<f32> {
        let (_, bytes) = read_tensor(&place.path(file), name);
        bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect()
    };
    let features = floats("out.safetensors", "features");
    let weight = floats("tuned/last/model.safetensors", "classifier.weight");
    let bias = floats("tuned/last/model.safetensors", "classifier.bias");
    let logit = |class: usize| {
        let row = &weight[class * width..][..width];
        bias[class] + row.iter().zip(&features).map(|(w, x)| w * x).sum::<f32>()
    };
    let answer = place.good("predict photos/test/class-0/00.png --model tuned --json").answer();
    let predictions = answer["predictions"].as_array().unwrap();
    let [first, last] = [&predictions[0], &predictions[2]]
        .map(|p| (p["class"].as_u64().unwrap() as usize, p["probability"].as_f64().unwrap().ln()));
    let (found, expected) = (logit(first.0) - logit(last.0), (first.1 - last.1) as f32);
    // Sums of 64 products in single precision, in another order.
    assert!((found - expected).abs() < 1e-4, "{found} {expected}");
}

fn arrays_of_numpy(place: &Place, data: &str, width: usize) {
    place.good(&format!("embed --model run {data} --out one.npy"));
    place.good(&format!("embed --model run {data} --out one.safetensors"));
    let bytes = fs::read(place.path("one.npy")).unwrap();
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': (24, {width},), }}");
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00") && bytes[10..].starts_with(header.as_bytes()));
    assert_eq!(bytes[128..], read_tensor(&place.path("one.safetensors"), "features").1);
    // Files by name are the same images.
    place.good("embed photos/test --model run --batch-size 5 --out files.npy");
    assert_eq!(place.contents("files.npy"), place.contents("one.npy"));
    assert_eq!(place.contents("files.npy.names.txt"), place.contents("one.npy.names.txt"));
}

fn bad_features(place: &Place) {
    let before = place.names(".");
    for (args, says) in [
        ("--model run --layer 0 --out new.npy", "--layer 0"),
        ("--model run --layer 99 --out new.npy", "--layer 99: expected a block of the model, 1 to"),
        ("--model run --pool model --out new.npy", "has no head that sees whole images"),
        ("--model tuned --pool model --layer 1 --out new.npy", "leave --layer out"),
        ("--model run --out new.csv", "expected a name that ends in .safetensors or .npy"),
    ] {
        place.bad(2, &format!("embed --data folder:photos {args}"), &[says]);
    }
    place.bad(1, "embed --data folder:missing --model run --out new.npy", &["no folder at missing"]);
    place.bad(1, "embed missing.png --model run --out new.npy", &["missing.png"]);
    place.bad(1, "embed photos --model run/tokenizer --out new.npy", &["a tokenizer has no layers"]);
    place.run("embed --model run --out new.npy").is_refused(&["IMAGE"]);
    place.run("embed photos --data folder:photos --model run --out new.npy").is_refused(&["--data"]);
    assert_eq!(place.names("."), before);
}

/// What this program would not have written there stays, whatever is asked for.
#[test]
fn files_of_others_are_not_replaced() {
    let place = place_with_runs();
    fs::write(place.path("mine.png"), fs::read(place.path("photos/test/class-0/00.png")).unwrap()).unwrap();
    place.write("mine.npy", "notes");
    place.copy("run/tokenizer/model.safetensors", "mine.safetensors");
    place.good(
        "tokenizer encode --tokenizer run/tokenizer --data folder:photos --images 2 --out codes.safetensors",
    );
    let weights = "run/last/model.safetensors";
    let before = place.contents(".");
    let verbs = [
        ("embed photos/test --model run --out", "mine.npy"),
        ("embed photos/test --model run --out", "mine.safetensors"),
        ("embed photos/test --model run --out", weights),
        ("tokenizer encode --tokenizer run/tokenizer --data folder:photos --out", weights),
        ("tokenizer decode --tokenizer run/tokenizer --codes codes.safetensors --out", "mine.png"),
        ("tokenizer inspect --tokenizer run/tokenizer --data folder:photos --picture", "mine.png"),
        ("show masks --data folder:photos --out", "mine.png"),
        ("show reconstruction --model run --data folder:photos --out", "mine.png"),
        ("weights convert run --layout hf", "photos"),
        ("weights convert run --layout hf", "run"),
        ("weights convert run --layout hf", "run/last"),
        ("weights convert run --layout unilm", "mine.safetensors"),
    ];
    for (verb, out) in verbs {
        // An ending that the verb wants.
        place.bad(2, &format!("{verb} {out}"), &["is there already", "--overwrite"]);
        if out != "mine.safetensors" || verb.starts_with("embed") {
            place.bad(2, &format!("{verb} {out} --overwrite"), &["not replaced"]);
        }
        assert!(place.contents(".") == before, "{verb} {out}");
    }
    for (verb, out) in [
        ("show masks --data folder:photos --out", "new.png"),
        ("embed photos/test --model run --out", "new.npy"),
    ] {
        place.good(&format!("{verb} {out}"));
        place.bad(2, &format!("{verb} {out}"), &["is there already"]);
        place.good(&format!("{verb} {out} --overwrite"));
    }
    // Before anything is computed.
    place.bad(1, "embed photos/test --model run --out nowhere/new.npy", &["cannot write nowhere/new.npy"]);
}
