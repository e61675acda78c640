//! The best checkpoint of a run: which it is, that it is kept, and that a run that goes on keeps the same.
#![cfg(unix)] // Links as on Unix.

use crate::common::Place;
use serde_json::Value;
use std::fs;

const CLASSES: &str = "finetune --from-scratch --preset tiny --image-size 16 --data folder:photos --validation 0.25 --batch-size 8 --steps 10 \
                       --save-every 2 --report-every 1 --keep-best";

/// What was measured of checkpoints: steps, values, and which was the best then.
fn measured(place: &Place, run: &str) -> Vec<(u64, f64, u64)> {
    let of = |record: Value| -> Option<(u64, f64, u64)> {
        (record["phase"] == "checkpoint").then(|| {
            let number = |key: &str| record[key].as_u64().unwrap();
            (number("step"), record["value"].as_f64().unwrap(), number("best"))
        })
    };
    place.metrics(run).into_iter().filter_map(of).collect()
}

/// Whether `best` leads to the first of the best, which is kept beside the newest.
fn assert_best(place: &Place, run: &str, answer: &Value, better: fn(f64, f64) -> bool) {
    let all = measured(place, run);
    let steps: Vec<u64> = all.iter().map(|(step, ..)| *step).collect();
    let last = *steps.last().expect("it was measured");
    assert_eq!(steps, (1..=last / 2).map(|i| 2 * i).collect::<Vec<_>>());
    let mut best = all[0];
    for &(step, value, said) in &all {
        if better(value, best.1) {
            best = (step, value, said);
        }
        assert_eq!(said, best.0, "{all:?}");
    }
    let name = format!("step-{:07}", best.0);
    let link = fs::read_link(place.path(run).join("best")).unwrap();
    assert_eq!(link.to_str().unwrap(), format!("checkpoints/{name}"), "{all:?}");
    let mut kept = vec![name.clone(), format!("step-{last:07}")];
    kept.dedup();
    assert_eq!(place.names(&format!("{run}/checkpoints")), kept);
    let said = &answer["best"];
    assert_eq!((said["step"].as_u64(), said["value"].as_f64()), (Some(best.0), Some(best.1)), "{answer}");
    assert!(said["checkpoint"].as_str().unwrap().ends_with(&name), "{answer}");
}

#[test]
fn the_first_of_the_best_is_kept() {
    let place = Place::with_photos();
    for (metric, better, last) in [
        ("accuracy", (|value, than| value > than) as fn(f64, f64) -> bool, "top1"),
        ("loss", |value, than| value < than, "loss"),
    ] {
        let answer = place.good(&format!("{CLASSES} {metric} --keep 1 --json --out {metric}")).answer();
        assert_best(&place, metric, &answer, better);
        // The last step was measured on the images that judge the run.
        assert_eq!(measured(&place, metric).last().map(|(_, value, _)| *value), answer[last].as_f64());
    }
    let evaluated = place.good("evaluate --model accuracy/best --data folder:photos");
    assert!(evaluated.stdout.contains("top-1"), "{evaluated}");

    let segmented = "finetune --task segment --from-scratch --preset tiny --data scenes --labels 24 --validation 0.01 --batch-size 2 --steps 4 \
                     --save-every 2 --keep 1 --keep-best miou --json --out segmented";
    let answer = place.good(segmented).answer();
    assert_best(&place, "segmented", &answer, |value, than| value > than);
    assert_eq!(measured(&place, "segmented")[1].1, answer["miou"].as_f64().unwrap());

    let trained = "pretrain --data folder:photos --image-size 16 --accept-tokenizer --tokenizer-steps 1 --steps 6 --batch-size 8 --save-every 2 \
                   --keep 1 --keep-best token-accuracy --json --out trained";
    let answer = place.good(trained).answer();
    assert_best(&place, "trained", &answer, |value, than| value > than);
    assert_eq!(measured(&place, "trained")[2].1, answer["accuracy"].as_f64().unwrap());
}

/// From every checkpoint, with an average of the weights, and by two processes.
#[test]
fn a_run_that_goes_on_keeps_the_same() {
    let place = Place::with_photos();
    let args = format!("{CLASSES} accuracy --model-ema --model-ema-decay 0.5 --update-freq 2");
    place.good(&format!("{args} --keep 1 --out whole"));
    assert_eq!(place.names("whole/checkpoints").len(), 2, "the last is the best: nothing is kept beside it");
    place.good(&format!("{args} --keep 9 --out all"));
    let best = |run: &str| [place.contents(&format!("{run}/best/")), place.contents(&format!("{run}/last/"))];
    let same = |run: &str| {
        assert!(best("whole") == best(run), "{run}");
        assert_eq!(place.names("whole/checkpoints"), place.names(&format!("{run}/checkpoints")));
        assert_eq!(measured(&place, "whole"), measured(&place, run));
    };
    for step in [2, 4, 6, 8, 10] {
        let run = format!("from-{step}");
        place.copy("all", &run);
        for later in (step + 1)..=10 {
            let _ = fs::remove_dir_all(place.path(&run).join(format!("checkpoints/step-{later:07}")));
        }
        // Killed before the link was made.
        fs::remove_file(place.path(&run).join("best")).unwrap();
        place.good(&format!("finetune --resume --keep 1 --out {run}"));
        same(&run);
    }
    place.good(&format!("{args} --ranks 2 --threads 1 --keep 1 --out ranks"));
    same("ranks");

    // What was measured is of another kind.
    place.bad(1, "finetune --resume --out all --keep-best loss", &["--keep-best was accuracy, is loss"]);
    // It is all of a run, to be replaced.
    place.good(&format!("{args} --overwrite --keep 1 --out all"));
    same("all");
}

#[test]
fn what_cannot_be_the_best_is_refused() {
    let place = Place::with_photos();
    let rows = [
        (
            CLASSES.replace("--validation 0.25 ", "") + " accuracy",
            "--keep-best accuracy needs --validation SHARE",
        ),
        (CLASSES.replace("--save-every 2 ", "") + " accuracy", "--keep-best accuracy needs --save-every N"),
        (CLASSES.to_owned() + " miou", "--keep-best miou: of classification, accuracy or loss is measured"),
        (
            "pretrain --data folder:photos --save-every 2 --keep-best loss".to_owned(),
            "--keep-best loss: of pre-training, token-accuracy is measured",
        ),
    ];
    for (args, says) in rows {
        place.bad(2, &format!("{args} --out run"), &[says]);
        assert!(!place.path("run").exists());
    }
}
