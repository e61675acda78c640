//! A tokenizer in training is saved on the way, and goes on from there to the same bits.
#![cfg(unix)] // Signals and limits as on Unix.

use crate::common::ranks::{signal, wait_for};
use crate::common::{Outcome, Place};
use std::fs;
use std::process::Stdio;

const DVAE: &str = "tokenizer train --kind dvae --data folder:photos --image-size 16 --steps 30 --batch-size 8 --save-every 2 --report-every 1";
const KMEANS: &str =
    "tokenizer train --kind kmeans --data folder:photos --vocab 24 --steps 12 --save-every 1";

/// Starts a run, and ends it by a signal when something of its tokenizer is saved.
fn stopped(place: &Place, args: &str, run: &str, name: &str) -> Outcome {
    let mut command = place.command(&format!("{args} --out {run}"));
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    wait_for(place, &mut child, &format!("{run}/tokenizer-training"));
    signal(&child, name);
    Outcome::of(args, child.wait_with_output().unwrap())
}

fn assert_same(place: &Place, one: &str, other: &str) {
    let [whole, found] = [one, other].map(|run| place.contents(&format!("{run}/tokenizer")));
    assert!(whole.len() >= 2, "{:?}", whole.keys());
    assert!(whole == found, "{other}");
    assert_eq!(place.losses(one), place.losses(other));
    assert!(!place.path(other).join("tokenizer-training").exists());
    place.nothing_half_written(other);
}

#[test]
fn both_kinds_are_stopped_and_go_on() {
    let place = Place::with_photos();
    for (args, kind, says) in
        [(DVAE, "dvae", "of 30 steps of tokenizer are"), (KMEANS, "kmeans", "rounds of k-means are")]
    {
        let whole = format!("whole-{kind}");
        place.good(&format!("{args} --out {whole}"));
        for name in ["TERM", "INT"] {
            let run = format!("{kind}-{name}");
            let outcome = stopped(&place, args, &run, name);
            assert_eq!(outcome.code, Some(if name == "TERM" { 143 } else { 130 }), "{outcome}");
            let said = outcome.stderr.lines().last().unwrap_or_default();
            let go_on = format!("saved in {run}/tokenizer-training; go on with --resume --out {run}");
            assert!(said.contains(says) && said.ends_with(&go_on), "{outcome}");
            place.good(&format!("tokenizer train --resume --out {run}"));
            assert_same(&place, &whole, &run);
            // At its end it is measured again.
            let again = place.good(&format!("{args} --resume=auto --out {run}"));
            assert!(again.stderr.contains("its tokenizer is trained"), "{again}");
            assert_same(&place, &whole, &run);
        }
        place.bad(1, &format!("tokenizer train --resume --out {whole} --seed 1"), &["--seed was 0, is 1"]);
        place.bad(2, &format!("{args} --keep 3 --out other"), &["--keep says nothing of a tokenizer"]);
    }
}

/// Also where it was begun again with a lower rate, and where several processes train it.
#[test]
fn pre_training_goes_on_with_its_tokenizer() {
    let place = Place::with_photos();
    let args = "pretrain --data folder:photos --image-size 16 --tokenizer-kind dvae --accept-tokenizer --tokenizer-steps 20 --steps 2 \
                --batch-size 4 --update-freq 2 --threads 1 --save-every 2 --report-every 1";
    let whole = place.good(&format!("{args} --out whole"));
    assert!(whole.stderr.contains("begun again, once"), "{whole}");
    for (run, flags) in [("one", ""), ("two", "--ranks 2")] {
        let args = format!("{args} {flags} --resume auto");
        let mut command = place.command(&format!("{args} --out {run}"));
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let attempt = place.path(run).join("tokenizer-training/training/attempt.json");
        while fs::read_to_string(&attempt).unwrap_or_default() != "\"slower\"" {
            assert!(child.try_wait().unwrap().is_none(), "it ended before it began again");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        signal(&child, "TERM");
        let outcome = Outcome::of(&args, child.wait_with_output().unwrap());
        assert_eq!(outcome.code, Some(143), "{outcome}");
        let resumed = place.good(&format!("{args} --out {run}"));
        assert!(!resumed.stderr.contains("begun again"), "{resumed}");
        assert_same(&place, "whole", run);
        assert!(place.contents("whole/last/") == place.contents(&format!("{run}/last/")));
    }
}

/// Whatever of it is cut off is named, with what to do; nothing is touched.
#[test]
fn damage_is_named() {
    let place = Place::with_photos();
    let files = [
        "training/attempt.json",
        "training/state.json",
        "training/optimiser.safetensors",
        "model.safetensors",
        "decoder.safetensors",
    ];
    for (args, run, files) in [
        (DVAE, "dvae", &files[..]),
        (KMEANS, "kmeans", &["training/state.json", "training/centroids.safetensors"]),
    ] {
        place.good(&format!("{args} --out whole-{run}"));
        assert_eq!(stopped(&place, args, run, "TERM").code, Some(143));
        for file in files {
            let path = place.path(run).join("tokenizer-training").join(file);
            let (whole, before) = (fs::read(&path).unwrap(), place.contents(run));
            fs::write(&path, &whole[..whole.len() / 2]).unwrap();
            let says = ["tokenizer-training", file, "without that folder its training begins again"];
            place.bad(1, &format!("tokenizer train --resume --out {run}"), &says);
            fs::write(&path, whole).unwrap();
            assert!(place.contents(run) == before, "{file}");
        }
        fs::remove_dir_all(place.path(run).join("tokenizer-training")).unwrap();
        place.good(&format!("tokenizer train --resume --out {run}"));
        assert_same(&place, &format!("whole-{run}"), run);
    }
}

/// What a stopped run replaces stays beside it until there is something in its place.
#[test]
fn the_run_that_is_replaced_stays() {
    let place = Place::with_photos();
    place.good(&format!("{DVAE} --out whole"));
    place.good(&format!("{KMEANS} --out run"));
    let old = place.contents("run/tokenizer");
    let outcome = stopped(&place, &format!("{DVAE} --overwrite"), "run", "INT");
    assert_eq!(outcome.code, Some(130), "{outcome}");
    assert!(place.contents("run/.replaced/tokenizer") == old);
    place.good("tokenizer train --resume --out run");
    assert_same(&place, "whole", "run");
    assert!(!place.path("run/.replaced").exists());
    // It may be replaced itself, half trained.
    place.good(&format!("{KMEANS} --out other"));
    assert_eq!(stopped(&place, DVAE, "half", "TERM").code, Some(143));
    place.good(&format!("{KMEANS} --overwrite --out half"));
    assert_same(&place, "other", "half");
}
