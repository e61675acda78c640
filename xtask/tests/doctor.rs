//! `doctor` says what is wrong before a run, and ends with an error where something is.

use crate::common::{Outcome, Place};
use serde_json::Value;

/// The findings of a part.
fn findings<'a>(outcome: &Outcome, part: &str, into: &'a mut Value) -> Vec<&'a Value> {
    *into = outcome.answer();
    let all = into["findings"].as_array().unwrap();
    all.iter().filter(|finding| finding["part"] == part).collect()
}

#[test]
fn a_broken_picture_is_named_and_ends_with_an_error() {
    let place = Place::with_photos();
    let whole = place.run("doctor --data folder:photos --out runs/new --json");
    let mut all = Value::Null;
    // What the machine of whoever tests lacks is no fault of the program.
    let not_ours = ["machine", "device", "disk"];
    for part in ["machine", "device", "data", "disk", "settings", "hub"] {
        let found = findings(&whole, part, &mut all);
        let is_fine = |finding: &&Value| finding["level"] != "problem" || not_ours.contains(&part);
        assert!(!found.is_empty() && found.iter().all(is_fine), "{part}: {whole}");
        assert!(
            found.iter().all(|finding| finding["advice"].is_null() == (finding["level"] == "ok")),
            "{part}: {whole}"
        );
    }
    place.broken_jpeg("photos/train/class-1/broken.jpg");
    let broken = place.run("doctor --data folder:photos");
    assert_eq!(broken.code, Some(1), "{broken}");
    let line = broken.stdout.lines().find(|line| line.starts_with("problem")).unwrap();
    assert!(line.starts_with("problem  data: 1 of 49 pictures cannot be decoded (2.0 %)"), "{line}");
    assert!(line.contains("broken.jpg") && line.contains("--max-bad-share 0.01"), "{line}");
    assert!(broken.stderr.ends_with("error: a problem was found\n"), "{broken}");
    place.good("doctor --data folder:photos --set data.max_bad_share=0.1");
    assert_eq!(place.names("."), ["photos"]);
}

#[test]
fn what_a_recipe_needs_is_compared_with_what_is_there() {
    let place = Place::with_photos();
    let large = place.run("doctor --recipe in1k-800-large-paper --batch-size 4096 --set training.global_batch=4096 --data folder:photos --json");
    assert_eq!(large.code, Some(1), "{large}");
    let mut all = Value::Null;
    let settings = findings(&large, "settings", &mut all);
    let problem = settings.iter().find(|finding| finding["level"] == "problem").unwrap();
    assert!(problem["found"].as_str().unwrap().starts_with("a step of 4096 images needs"), "{problem}");
    assert!(problem["advice"].as_str().unwrap().contains("--batch-size"), "{problem}");

    let nowhere = place.run("doctor --data folder:nowhere --out nowhere/runs");
    assert!(
        nowhere.code == Some(1)
            && nowhere.stdout.contains("problem  data: --data folder:nowhere: no folder at nowhere"),
        "{nowhere}"
    );
    place.bad(2, "doctor --set training.lrr=1", &["no setting has this name; the nearest is training.lr"]);
    place.bad(1, "doctor --recipe nothing", &["no published recipe"]);
}

/// The model that a run begins with has sizes of its own, whatever the preset is.
#[test]
fn a_run_that_begins_with_a_model_is_as_large_as_that() {
    let place = Place::with_photos();
    place.good(
        "finetune --from-scratch --preset tiny --image-size 16 --patch-size 8 --data folder:photos --steps 1 --batch-size 4 --out run",
    );
    let step = |set: &str| {
        let asked =
            format!("doctor --preset base --batch-size 4 --data folder:photos --out new {set} --json");
        let mut all = Value::Null;
        let found =
            findings(&place.run(&asked), "settings", &mut all)[0]["found"].as_str().unwrap().to_owned();
        found.split(" of ").take(2).collect::<Vec<_>>().join(" of ")
    };
    let [new, own] = ["", "--set init=run"].map(step);
    assert!(new.starts_with("a step of 4 images needs") && new.contains("GiB"), "{new}");
    assert!(own.starts_with("a step of 4 images needs") && own.contains("MiB"), "{own}");
}
