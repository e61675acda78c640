//! `pretrain --probe-every`: frozen features judged while a model is trained, which changes nothing of it.

use crate::common::Place;
use serde_json::Value;
use std::fs;

const SHORT: &str = "--data folder:photos --tokenizer-kind kmeans --tokenizer-steps 2 --accept-tokenizer --image-size 16 --batch-size 8 --steps 6 \
                     --save-every 2 --keep 9 --report-every 2";

/// What was judged, without what it took.
fn judged(place: &Place, run: &str) -> Vec<Value> {
    let of = |mut record: Value| {
        let seconds = record.as_object_mut()?.remove("seconds")?;
        assert!(seconds.as_f64().unwrap() > 0.0, "{record}");
        (record["phase"] == "features").then_some(record)
    };
    place.metrics(run).into_iter().filter_map(of).collect()
}

fn steps(judged: &[Value]) -> Vec<u64> {
    judged.iter().map(|record| record["step"].as_u64().unwrap()).collect()
}

/// Takes the checkpoints after `step` away.
fn cut_back(place: &Place, run: &str, step: u64) {
    for name in place.names(&format!("{run}/checkpoints")) {
        if name.trim_start_matches("step-").parse::<u64>().unwrap() > step {
            fs::remove_dir_all(place.path(&format!("{run}/checkpoints/{name}"))).unwrap();
        }
    }
    fs::remove_file(place.path(run).join("last")).unwrap();
}

#[test]
fn judging_changes_nothing_and_goes_on_without_gaps() {
    let place = Place::with_photos();
    place.good(&format!("pretrain {SHORT} --out plain"));
    let outcome = place.good(&format!("pretrain {SHORT} --probe-every 4 --out run"));
    assert!(place.contents("plain/checkpoints/") == place.contents("run/checkpoints/"));
    assert_eq!(
        place.losses("plain"),
        place.losses("run").into_iter().filter(|line| line[0] != "features").collect::<Vec<_>>()
    );
    let all = judged(&place, "run");
    assert_eq!(steps(&all), [0, 4, 6], "before the first step, every four, and after the last");
    for record in &all {
        assert_eq!((&record["of"], &record["images"]), (&"pretrain".into(), &serde_json::json!([39, 9])));
        let blocks = record["blocks"].as_object().unwrap();
        let accuracies: Vec<f64> = (1..=4).map(|i| blocks[&format!("block_{i}")].as_f64().unwrap()).collect();
        let best = accuracies.iter().copied().fold(0.0, f64::max);
        assert_eq!(
            (record["best_layer"].as_f64(), record["last_layer"].as_f64()),
            (Some(best), accuracies.last().copied())
        );
        assert_eq!(record["pixels"], all[0]["pixels"]);
    }
    // Patterns in shades: easy to tell apart by anything.
    assert!(all[0]["pixels"].as_f64().unwrap() > 0.5, "{all:?}");
    let says = [
        "nearest of 39 labelled training images, on 9 others",
        "features after 6 steps, by 10 of 39 neighbours",
        "% of the time of the run",
    ];
    says.iter()
        .for_each(|part| assert_eq!(outcome.stderr.matches(part).count(), 1, "expected `{part}`\n{outcome}"));
    assert!(place.names("run/tensorboard").contains(&"features".to_owned()));

    for step in [2, 4] {
        let again = format!("from-{step}");
        place.copy("run", &again);
        cut_back(&place, &again, step);
        place.good(&format!("pretrain --resume --out {again}"));
        assert_eq!(judged(&place, &again), all, "from step {step}");
        assert!(place.contents("plain/checkpoints/") == place.contents(&format!("{again}/checkpoints/")));
    }
    // Stopped before its first checkpoint: the model that it begins with is judged again.
    cut_back(&place, "run", 0);
    place.good("pretrain --resume --out run");
    assert_eq!(judged(&place, "run"), all);
    // It changes no number of a step, so it may be asked for later, and of a run that is done there is nothing more to judge.
    cut_back(&place, "plain", 2);
    place.good("pretrain --resume --probe-every 2 --out plain");
    assert_eq!(steps(&judged(&place, "plain")), [4, 6]);
    place.good("pretrain --resume --probe-every 1 --out plain");
    assert_eq!(judged(&place, "plain"), all[1..]);
}

#[test]
fn processes_share_the_images_and_the_average_is_judged_too() {
    let place = Place::with_photos();
    let args = format!("pretrain {SHORT} --update-freq 2 --model-ema --model-ema-decay 0.5 --probe-every 3");
    place.good(&format!("{args} --out one"));
    place.good(&format!("{args} --ranks 2 --threads 1 --out two"));
    let one = judged(&place, "one");
    assert_eq!(steps(&one), [0, 3, 6]);
    assert_eq!(one, judged(&place, "two"));
    assert!(place.contents("one/last/") == place.contents("two/last/"));
    assert!(one.iter().all(|record| record["average_blocks"].as_object().unwrap().len() == 4), "{one:?}");
    // Before the first step the average is the model.
    for name in ["best_layer", "last_layer", "best_block"] {
        assert_eq!(one[0][name], one[0][format!("average_{name}")], "{name}");
    }
}

/// What judges is the same whether there are test images or not.
#[test]
fn test_images_are_not_looked_at() {
    let place = Place::with_photos();
    place.copy("photos/train", "unsplit");
    for (data, run) in [("photos", "with"), ("unsplit", "without")] {
        let short = SHORT.replace("folder:photos", &format!("folder:{data}"));
        place.good(&format!("pretrain {short} --probe-every 6 --out {run}"));
    }
    assert_eq!(judged(&place, "with"), judged(&place, "without"));
}

#[test]
fn images_without_classes_are_refused() {
    let place = Place::new();
    place.photos("photos", 3);
    fs::create_dir_all(place.path("bare")).unwrap();
    for number in 0..4 {
        fs::copy(
            place.path(&format!("photos/train/class-0/0{number}.png")),
            place.path(&format!("bare/0{number}.png")),
        )
        .unwrap();
    }
    let short = SHORT.replace("folder:photos", "folder:bare");
    let needs = "--probe-every 2, which needs images with classes, of folder:bare";
    place.bad(1, &format!("pretrain {short} --probe-every 2 --out run"), &[needs, "a label for every image"]);
    place.bad(2, &format!("pretrain {SHORT} --probe-every 0 --out run"), &["--probe-every 0", "at least 1"]);
    assert!(!place.path("run").exists());
}
