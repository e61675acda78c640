//! `show`: pictures of what was learnt.

use crate::common::{Outcome, Place, short_of_whole_pictures};
use serde_json::Value;

/// Height of a row of images of the tiny preset, and width of a column.
const CELL: u32 = 88;
/// A line of words.
const LINE: u32 = 12;

/// Height and width of a picture that was drawn.
fn sides(place: &Place, name: &str) -> [u32; 2] {
    let picture = image::open(place.path(name)).unwrap();
    [picture.height(), picture.width()]
}

/// Left of the first column, where words of so many letters stand beside the rows.
fn beside(letters: u32) -> u32 {
    8 + 6 * letters
}

fn share(value: &Value, outcome: &Outcome) -> f64 {
    let share = value.as_f64().unwrap();
    assert!((0.0..=1.0 + 1e-6).contains(&share), "{share}\n{outcome}");
    share
}

fn trained() -> Place {
    let place = Place::with_photos();
    place.good(&format!("pretrain {} --out run", short_of_whole_pictures()));
    place
}

#[test]
fn attention_of_every_head_is_drawn() {
    let place = trained();
    let model = "show attention --model run";
    let outcome = place.good(&format!("{model} --data folder:photos --json"));
    let answer = outcome.answer();
    assert_eq!(
        (&answer["block"], &answer["heads"], &answer["out"]),
        (&4.into(), &4.into(), &"attention.png".into())
    );
    let queries = answer["queries"].as_array().unwrap();
    // Two images of the three classes, two rows of two points each.
    assert_eq!(queries.len(), 8, "{outcome}");
    assert_eq!(queries[1]["point"], serde_json::json!([0.25, 0.75]));
    assert_eq!(queries[1]["patch"], serde_json::json!([1, 5]));
    assert_eq!((&queries[0]["image"], &queries[4]["image"]), (&"class-0".into(), &"class-1".into()));
    for query in queries {
        assert!(share(&query["cls"], &outcome) + share(&query["most_probability"], &outcome) <= 1.0 + 1e-6);
    }
    let row = CELL + LINE;
    assert_eq!(sides(&place, "attention.png"), [4 + LINE + 8 * row, beside(6) + 6 * CELL]);

    // Files, a block and points of their own; and a model that was fine-tuned.
    place.good("finetune --init run --data folder:photos --steps 1 --batch-size 8 --out tuned");
    let files = "photos/test/class-2/03.png photos/test/class-0";
    let outcome = place.good(&format!(
        "show attention {files} --model tuned --block 2 --points 0,0;1,0.5 --images 3 --out two.png --json"
    ));
    assert_eq!(outcome.answer()["block"], 2);
    let queries = outcome.answer()["queries"].as_array().unwrap().clone();
    assert_eq!(
        queries.iter().map(|query| query["patch"].clone()).collect::<Vec<_>>()[..2],
        [serde_json::json!([0, 0]), serde_json::json!([6, 3])]
    );
    assert_eq!((queries.len(), &queries[0]["image"]), (6, &"03".into()));
    assert_eq!(sides(&place, "two.png"), [4 + LINE + 6 * row, beside(6) + 6 * CELL]);
    let run = place.good(&format!("{model} --data folder:photos --grid 1 --images 1 --overwrite"));
    assert_eq!(run.stdout, "attention of block 4, 4 heads, 1 queries: attention.png\n");
}

#[test]
fn components_are_fitted_over_all_images() {
    let place = trained();
    let outcome = place.good("show pca --model run --data folder:photos --images 5 --json");
    let answer = outcome.answer();
    let images = answer["images"].as_array().unwrap();
    assert_eq!(images.len(), 5);
    let foreground: Vec<f64> = images.iter().map(|image| share(&image["foreground"], &outcome)).collect();
    let mean = foreground.iter().sum::<f64>() / 5.0;
    assert!(mean > 0.0 && mean < 1.0, "something is foreground, something is not: {outcome}");
    let shares = answer["components"].as_array().unwrap();
    let shares: Vec<f64> = shares.iter().map(|value| share(value, &outcome)).collect();
    assert!(
        shares.len() == 3 && shares.is_sorted_by(|a, b| a >= b) && shares.iter().sum::<f64>() <= 1.0 + 1e-6
    );
    share(&answer["first"], &outcome);
    assert_eq!(sides(&place, "pca.png"), [4 + 3 * CELL + LINE, beside(12) + 5 * CELL]);

    let all =
        place.good("show pca photos/test --model run --layer 1 --all-patches --out all.png --json").answer();
    assert_eq!(all["images"].as_array().unwrap().len(), 24);
    assert!(all["images"].as_array().unwrap().iter().all(|image| image["foreground"] == 1.0));
    let [first, same] = [&all["first"], &all["components"][0]].map(|share| share.as_f64().unwrap());
    assert!((first - same).abs() < 1e-9, "both were fitted on the same: {first} {same}");
}

#[test]
fn a_codebook_is_sorted_by_use() {
    let place = Place::with_photos();
    let train = "tokenizer train --data folder:photos --steps 2 --image-size 28";
    place.good(&format!("{train} --kind kmeans --vocab 16 --token-size 4 --out kmeans"));
    place.good(&format!("{train} --batch-size 8 --vocab 32 --hidden 8 --out dvae"));
    for (flags, vocab, drawn) in [
        ("--tokenizer kmeans", 16, true),
        ("--tokenizer dvae", 32, true),
        ("--tokenizer dvae --means", 32, false),
    ] {
        let command = format!("show codebook {flags} --data folder:photos --tokens 10 --overwrite --json");
        let outcome = place.good(&command);
        let answer = outcome.answer();
        assert_eq!(
            (&answer["vocab"], &answer["drawn"], &answer["images"]),
            (&vocab.into(), &drawn.into(), &24.into())
        );
        let used = answer["used"].as_u64().unwrap();
        let perplexity = answer["perplexity"].as_f64().unwrap();
        assert!(perplexity >= 1.0 && perplexity <= used as f64 + 1e-9, "{outcome}");
        let tokens = answer["tokens"].as_array().unwrap();
        let shares: Vec<f64> = tokens.iter().map(|token| share(&token["share"], &outcome)).collect();
        assert_eq!(shares.len() as u64, used.min(10));
        assert!(shares.is_sorted_by(|a, b| a >= b) && *shares.last().unwrap() > 0.0, "{outcome}");
        if used <= 10 {
            assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{outcome}");
        }
        assert_eq!(sides(&place, "codebook.png"), [4 + CELL + 2 * LINE, 4 + tokens.len() as u32 * CELL]);
    }
    let some =
        place.good("show codebook --tokenizer kmeans --data folder:photos --measure-images 6 --out six.png");
    assert!(some.stdout.starts_with("on 6 test images "), "{some}");
}

#[test]
fn neighbours_are_training_images() {
    let place = trained();
    let outcome = place.good("show neighbours --model run --data folder:photos --images 4 --k 3 --json");
    let answer = outcome.answer();
    assert_eq!(answer["gallery"], 48);
    share(&answer["same_class"], &outcome);
    for query in answer["queries"].as_array().unwrap() {
        assert!(query["image"].as_str().unwrap().contains("test"), "{outcome}");
        let near = query["neighbours"].as_array().unwrap();
        assert!(near.iter().all(|near| near["image"].as_str().unwrap().contains("train")), "{outcome}");
        let cosines: Vec<f64> = near.iter().map(|near| near["cosine"].as_f64().unwrap()).collect();
        assert!(cosines.len() == 3 && cosines.is_sorted_by(|a, b| a >= b), "{outcome}");
    }
    assert_eq!(sides(&place, "neighbours.png"), [4 + LINE + 4 * (CELL + 2 * LINE), 4 + 4 * CELL]);

    // An image is its own nearest neighbour, with a cosine of one.
    let itself = "show neighbours photos/train/class-1/05.png --model run --data folder:photos --k 1 --pool cls --layer 2";
    let outcome = place.good(&format!("{itself} --out one.png --json"));
    let near = &outcome.answer()["queries"][0]["neighbours"][0];
    assert!(near["image"].as_str().unwrap().ends_with("train/class-1/05.png"), "{outcome}");
    assert!((near["cosine"].as_f64().unwrap() - 1.0).abs() < 1e-5, "{outcome}");
    assert!(outcome.answer()["same_class"].is_null());

    // Where there are training images alone, what is shown is not among its own neighbours.
    place.copy("photos/train", "unsplit");
    let outcome = place
        .good("show neighbours --model run --data folder:unsplit --images 2 --k 46 --out alone.png --json");
    assert_eq!(outcome.answer()["gallery"], 46);
    for query in outcome.answer()["queries"].as_array().unwrap() {
        let near = query["neighbours"].as_array().unwrap();
        assert!(near.iter().all(|near| near["image"] != query["image"]), "{outcome}");
    }
    assert!(outcome.stderr.contains("no test images"), "{outcome}");
}

#[test]
fn what_cannot_be_shown() {
    let place = trained();
    place.good(
        "tokenizer train --data folder:photos --steps 1 --hidden 8 --vocab 16 --batch-size 8 --out tokens",
    );
    place.write("own.png", "mine");
    place.write("broken/a.png", "no picture");
    let rows: &[(i32, &str, &[&str])] = &[
        (2, "attention --model run --data folder:photos --block 5", &["--block 5", "1 to 4"]),
        (2, "attention --model run --data folder:photos --block 0", &["--block 0", "1 to 4"]),
        (2, "attention --model run --data folder:photos --grid 8", &["--grid 8", "1 to 7", "7x7 patches"]),
        (1, "attention --model tokens --data folder:photos", &["tokens", "a tokenizer has no layers"]),
        (2, "attention photos/test --model run --data folder:photos", &["--data", "leave it out"]),
        (1, "attention broken --model run", &["a picture of no images"]),
        (2, "attention missing.png --model run --channels 2", &["--channels 2", "RGB"]),
        (
            2,
            "attention --model run --data folder:photos --out own.png --overwrite",
            &["own.png", "not replaced"],
        ),
        (2, "pca --model run --data folder:photos --layer 9", &["--layer 9", "1 to 4"]),
        (2, "pca photos/test --model run --data folder:photos", &["--data", "leave it out"]),
        (2, "codebook --tokenizer tokens --data folder:photos --tokens 0", &["--tokens 0"]),
        (1, "codebook --tokenizer none --data folder:photos", &["none", "no such file or folder"]),
        (2, "codebook --tokenizer tokens --data folder:photos --image-size 30", &["30"]),
        (2, "neighbours --model run --data folder:photos --pool none", &["--pool none"]),
        (2, "neighbours --model run --data folder:photos --gallery 0", &["--gallery 0"]),
        (1, "neighbours --model run --data folder:photos --k 49", &["--k 49", "1 to 48"]),
        (1, "neighbours --model run --data folder:photos --k 0", &["--k 0", "1 to 48"]),
    ];
    for (code, flags, says) in rows {
        place.bad(*code, &format!("show {flags}"), says);
    }
    place
        .run("show attention --model run --points 0.5 --data folder:photos")
        .is_refused(&["--points", "expected y,x from 0 to 1"]);
    assert!(!place.path("attention.png").exists() && !place.path("neighbours.png").exists());
}
