//! `probe`, and what fine-tuning prints beside its own accuracy.

use crate::common::{Outcome, Place, SHORT};
use std::fs;

/// Names, widths and accuracies of the rows, each of these a share.
fn rows(outcome: &Outcome) -> Vec<(String, u64, f64)> {
    let answer = outcome.answer();
    let row = |row: &serde_json::Value| {
        let accuracy = row["accuracy"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&accuracy), "{outcome}");
        (row["features"].as_str().unwrap().to_owned(), row["width"].as_u64().unwrap(), accuracy)
    };
    answer["layers"].as_array().unwrap().iter().map(row).collect()
}

#[test]
fn every_layer_and_the_pixels_are_judged() {
    let place = Place::with_photos();
    place.good(&format!("pretrain {SHORT} --out run"));
    let blocks = ["pixels", "block 1", "block 2", "block 3", "block 4"];
    for (judge, pool, width) in
        [("knn --k 3", "", 96), ("knn", "--pool cls", 96), ("linear", "--pool cls-mean", 192)]
    {
        let outcome = place.good(&format!("probe {judge} --model run --data folder:photos {pool} --json"));
        let answer = outcome.answer();
        assert_eq!(
            (&answer["labels"], &answer["images"], &answer["split"]),
            (&48.into(), &24.into(), &"test".into())
        );
        let found = rows(&outcome);
        assert_eq!(found.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(), blocks);
        assert_eq!(
            found.iter().map(|(_, width, _)| *width).collect::<Vec<_>>(),
            [768, width, width, width, width]
        );
        // Patterns in shades: easy to tell apart by anything.
        assert!(found[0].2 > 0.5, "{outcome}");
    }
    let table = place.good("probe linear --model run --data folder:photos --labels 9 --validation 0.25");
    let lines: Vec<&str> = table.stdout.lines().collect();
    assert_eq!(lines[0], "logistic regression, 9 labels, validation accuracy on 12 images", "{table}");
    assert_eq!(lines[1], "features   width  accuracy");
    assert!(
        lines[2].starts_with("pixels       768    0.") || lines[2].starts_with("pixels       768    1."),
        "{table}"
    );
    // What the blocks say, after a line each.
    assert_eq!(lines.len(), 8, "{table}");
    assert!(lines[7].contains("is the best, "), "{table}");
}

#[test]
fn accuracy_over_layers_is_drawn() {
    let place = Place::with_photos();
    place.good(&format!("pretrain {SHORT} --out run"));
    let probe = "probe knn --k 3 --model run --data folder:photos --picture layers.svg";
    let outcome = place.good(probe);
    assert!(outcome.stderr.contains("accuracy over layers: layers.svg"), "{outcome}");
    let svg = fs::read_to_string(place.path("layers.svg")).unwrap();
    let words = ["frozen features", "pixels", "block", "accuracy", "1", "2", "3", "4"];
    words
        .iter()
        .for_each(|word| assert!(svg.lines().any(|line| line == *word), "expected `{word}` in {svg}"));
    place.bad(2, probe, &["layers.svg is there already", "--overwrite"]);
    place.good(&format!("{probe} --overwrite"));
    place.write("other.svg", "<svg/>");
    let knn = "probe knn --model run --data folder:photos";
    place.bad(
        2,
        &format!("{knn} --picture other.svg --overwrite"),
        &["other.svg is not what is written here"],
    );
    place.bad(2, &format!("{knn} --picture layers.png"), &["layers.png", "ends in .svg"]);
    place.run("probe knn --data folder:photos --picture new.svg").is_refused(&["--model"]);
    assert!(!place.path("layers.png").exists() && !place.path("new.svg").exists());
}

#[test]
fn pixels_alone_need_no_model() {
    let place = Place::with_photos();
    let outcome = place.good("probe knn --k 1 --data folder:photos --image-size 8x4 --json");
    assert_eq!(
        rows(&outcome).iter().map(|(name, width, _)| (name.as_str(), *width)).collect::<Vec<_>>(),
        [("pixels", 96)]
    );
    assert!(outcome.answer()["model"].is_null());
}

#[test]
fn what_cannot_be_probed() {
    let place = Place::with_photos();
    place.good(
        "tokenizer train --data folder:photos --steps 1 --hidden 8 --vocab 16 --batch-size 8 --out tokens",
    );
    fs::create_dir_all(place.path("bare")).unwrap();
    fs::copy(place.path("photos/train/class-0/00.png"), place.path("bare/00.png")).unwrap();
    place.copy("photos/train", "unsplit");
    let probe = "--data folder:photos";
    let rows: &[(i32, &str, &[&str])] = &[
        (2, "knn --k 0", &["--k 0"]),
        (1, "knn --k 49", &["--k 49", "1 to 48"]),
        (2, "linear --c 0", &["--c 0"]),
        (2, "linear --c NaN", &["--c NaN"]),
        (2, "knn --labels 0", &["--labels 0"]),
        (1, "knn --labels 49", &["1 to 48 images", "found 49"]),
        (2, "knn --validation 0", &["--validation 0", "more than 0"]),
        (2, "knn --validation 1", &["--validation 1", "less than 1"]),
        (1, "knn --validation 0.001", &["--validation 0.001"]),
        (2, "knn --image-size 0", &["--image-size 0x0"]),
        (2, "knn --image-size 65536", &["--image-size 65536x65536"]),
        (2, "knn --preprocess hf", &["--preprocess", "--model"]),
        (1, "knn --model tokens", &["tokens", "a tokenizer has no layers"]),
        (1, "linear --model missing", &["missing", "no such file or folder"]),
    ];
    for (code, flags, says) in rows {
        place.bad(*code, &format!("probe {flags} {probe}"), says);
    }
    place.bad(1, "probe knn --data folder:bare", &["folder:bare", "a label for every image", "bare/00.png"]);
    place.bad(1, "probe knn --data folder:unsplit", &["folder:unsplit", "no test images", "--validation"]);
    place.good("probe knn --k 1 --data folder:unsplit --validation 0.25");
}

#[test]
fn fine_tuning_is_printed_beside_pixels() {
    let place = Place::with_photos();
    let finetune = "finetune --from-scratch --data folder:photos --labels 24 --steps 2 --batch-size 8";
    let tuned = place.good(&format!("{finetune} --out tuned --json")).answer();
    let probed = place.good("probe linear --data folder:photos --labels 24 --json");
    assert_eq!(tuned["pixels_baseline"], rows(&probed)[0].2);
    let tuned = place.good(&format!("{finetune} --validation 0.25 --out other"));
    assert!(tuned.stdout.contains("validation accuracy on 12 images"), "{tuned}");
    assert!(tuned.stdout.contains("\nthe same with logistic regression on pixels: top-1 "), "{tuned}");
}

#[test]
fn attention_is_measured_in_objects() {
    let place = Place::with_photos();
    place.good(&format!("pretrain {SHORT} --out run"));
    let probed = place.good("probe attention --model run --data scenes --images 4 --json").answer();
    let share =
        |value: &serde_json::Value| value.as_f64().filter(|share| (0.0..=1.0).contains(share)).unwrap();
    let [uniform, centre, near] = ["uniform", "centre", "near"].map(|name| share(&probed[name]));
    assert!(uniform < 0.5 && near > uniform && centre > 0.0, "{probed}");
    let blocks = probed["blocks"].as_array().unwrap();
    assert_eq!((blocks.len(), probed["images"].as_u64()), (4, Some(4)));
    // Random weights look everywhere alike, and two steps change little of them.
    for block in blocks {
        assert!((share(&block["random"]) - uniform).abs() < 0.05, "{probed}");
        assert!((share(&block["model"]) - uniform).abs() < 0.2, "{probed}");
        assert!((share(&block["place"]) - uniform).abs() < 0.2, "{probed}");
    }
    place.bad(1, "probe attention --model run --data folder:photos", &["folder:photos", "no masks"]);
    place.bad(
        2,
        "probe attention --model run --data scenes --objects Hat",
        &["--objects Hat: expected some of ground"],
    );
    place.bad(
        2,
        "probe attention --model run --data scenes --images 0",
        &["--images 0: expected at least 1"],
    );
}
