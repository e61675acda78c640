//! Folders of runs: nothing is lost by replacing one, by stopping one, or by two at once.
#![cfg(unix)] // Links and signals as on Unix.

use crate::common::{Place, SHORT, read_json};
use serde_json::Value;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Long enough to be stopped, with a report every step.
const LONG: &str = "pretrain --data folder:photos --tokenizer-kind kmeans --accept-tokenizer --tokenizer-steps 1 --steps 100000 \
                    --batch-size 8 --report-every 1 --out run";

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status();
    assert!(status.unwrap().success());
}

/// Waits for a file of a run that is going on.
fn wait_for(place: &Place, child: &mut Child, name: &str) {
    while !place.path(name).exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it wrote {name}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_run_is_replaced_when_there_is_something_in_its_place() {
    let place = Place::with_photos();
    place.good(&format!("pretrain {SHORT} --out old"));
    let before = place.contents("old");

    let fails = [
        (1, "pretrain --tokenizer nowhere --out old --overwrite", "nowhere"),
        (2, "finetune --init old --out old --overwrite", "--overwrite would delete old"),
        (
            2,
            "pretrain --tokenizer old/tokenizer --out old --overwrite",
            "--overwrite would delete old/tokenizer",
        ),
        // The tokenizer is trained and found to be of no use.
        (1, "pretrain --tokenizer-kind dvae --tokenizer-steps 1 --out old --overwrite", "is of no use"),
    ];
    for (code, args, says) in fails {
        place.bad(code, &format!("{args} --data folder:photos --steps 2"), &[says]);
        assert!(place.contents("old") == before, "{args}");
    }
    place.bad(
        1,
        "finetune --from-scratch --data folder:photos/train/class-0 --out old --overwrite",
        &["label"],
    );
    assert!(place.contents("old") == before);

    place.write("old/pictures/mine.txt", "notes");
    place.bad(
        2,
        &format!("pretrain {SHORT} --out old --overwrite"),
        &["old/pictures/mine.txt was not written by a run"],
    );
    fs::remove_file(place.path("old/pictures/mine.txt")).unwrap();
    place.good(&format!("pretrain {SHORT} --seed 1 --out old --overwrite"));
    assert!(place.contents("old") != before);
    place.nothing_half_written("old");

    // Names alone make no run.
    place.write("mine/pictures/holiday.png", "");
    place.bad(2, &format!("pretrain {SHORT} --out mine --overwrite"), &["was not written by a run"]);
}

/// Killed before its first checkpoint: the run that it was to replace is there again.
#[test]
fn killed_while_it_replaces() {
    let place = Place::with_photos();
    place.good(&format!("pretrain {SHORT} --out run"));
    let before = place.contents("run");
    let mut child =
        place.command(&format!("{LONG} --overwrite --tokenizer run-tokenizer")).stderr(Stdio::null()).spawn();
    // It fails at once, since there is no such tokenizer: nothing has changed.
    child.as_mut().unwrap().wait().unwrap();
    assert!(place.contents("run") == before);

    place.copy("run/tokenizer", "run-tokenizer");
    let mut child = place
        .command(&format!("{LONG} --overwrite --tokenizer run-tokenizer"))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for(&place, &mut child, "run/.replaced");
    wait_for(&place, &mut child, "run/run.toml");
    child.kill().unwrap();
    child.wait().unwrap();
    // What reads it finds the old one.
    place.good("finetune --init run --data folder:photos --labels 24 --steps 1 --batch-size 8 --out tuned");
    let resumed = place.good("pretrain --resume --out run");
    assert!(resumed.stderr.contains("is in its place again"), "{resumed}");
    let after = place.contents("run");
    for (name, bytes) in before.iter().filter(|(name, _)| name.starts_with("checkpoints")) {
        assert!(after.get(name) == Some(bytes), "{}", name.display());
    }
}

#[test]
fn stopped_runs_save_and_go_on() {
    for name in ["TERM", "INT"] {
        let place = Place::with_photos();
        let mut child = place.command(LONG).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        wait_for(&place, &mut child, "run/metrics.jsonl");
        while !fs::read_to_string(place.path("run/metrics.jsonl"))
            .unwrap()
            .contains(r#""phase":"pretrain","step":3,"#)
        {
            std::thread::sleep(Duration::from_millis(5));
        }
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(if name == "TERM" { 143 } else { 130 }), "{said}");
        assert!(said.contains("error: stopped: ") && said.contains("--resume --out run"), "{said}");
        let step = read_json(&place.path("run/last/training/state.json"))["step"].as_u64().unwrap();
        assert!(step >= 3, "{step}");
        place.nothing_half_written("run");
    }
}

#[test]
fn resuming_takes_the_settings_of_the_run() {
    let place = Place::with_photos();
    let args = "pretrain --data folder:photos --tokenizer-kind kmeans --accept-tokenizer --tokenizer-steps 2 --steps 4 --batch-size 8 \
                --mask-ratio 0.5 --colour-jitter 0.1 --save-every 2 --out";
    place.good(&format!("{args} whole"));
    place.copy("whole", "run");
    fs::remove_dir_all(place.path("run/checkpoints/step-0000004")).unwrap();
    let settings = fs::read(place.path("run/run.toml")).unwrap();
    let wrong = [
        ("--batch-size 4", "--batch-size was 8, is 4"),
        ("--mask-ratio 0.4", "--mask-ratio was 0.5, is 0.4"),
        ("--mask random", "--mask was block, is random"),
        ("--colour-jitter 0.4", "--colour-jitter was 0.1, is 0.4"),
        ("--imagenet-default-mean-and-std", "--imagenet-default-mean-and-std was false, is true"),
        ("--data fashion-mnist", "--data was folder:photos, is fashion-mnist"),
        ("--precision bf16", "--precision was f32, is bf16"),
        ("--seed 1", "--seed was 0, is 1"),
        ("--lr 1e-3", "--lr was not given, is 0.001"),
        ("--preset mini", "--preset was tiny, is mini"),
        ("--min-crop-scale 0.5", "--min-crop-scale was not given, is 0.5"),
        ("--tokenizer-steps 3", "--tokenizer-steps was 2, is 3"),
    ];
    for (flags, says) in wrong {
        place.bad(
            1,
            &format!("pretrain --resume --out run {flags}"),
            &["run/run.toml is of another run", says],
        );
    }
    // Another picture, and another name of a class.
    fs::rename(place.path("photos/train/class-0/00.png"), place.path("photos/train/class-0/other.png"))
        .unwrap();
    place.bad(1, "pretrain --resume --out run", &["the data was 48 images"]);
    fs::rename(place.path("photos/train/class-0/other.png"), place.path("photos/train/class-0/00.png"))
        .unwrap();
    fs::rename(place.path("photos/train/class-0"), place.path("photos/train/class-9")).unwrap();
    place.bad(1, "pretrain --resume --out run", &["the data was 48 images"]);
    fs::rename(place.path("photos/train/class-9"), place.path("photos/train/class-0")).unwrap();
    // Another tokenizer in its folder.
    place.copy("run/tokenizer", "kept");
    place.good("tokenizer train --kind kmeans --data folder:photos --seed 7 --steps 1 --out other");
    fs::remove_dir_all(place.path("run/tokenizer")).unwrap();
    place.copy("other/tokenizer", "run/tokenizer");
    place.bad(1, "pretrain --resume --out run", &["the tokenizer was"]);
    fs::remove_dir_all(place.path("run/tokenizer")).unwrap();
    place.copy("kept", "run/tokenizer");

    assert_eq!(fs::read(place.path("run/run.toml")).unwrap(), settings);
    // `last` points to what is gone: the newest that is whole is taken.
    place.good("pretrain --resume --out run --threads 1");
    for part in ["last/model.safetensors", "last/training/optimiser.safetensors"] {
        assert!(
            fs::read(place.path("run").join(part)).unwrap()
                == fs::read(place.path("whole").join(part)).unwrap()
        );
    }
    assert_eq!(fs::read(place.path("run/run.toml")).unwrap(), settings);
}

#[test]
fn metrics_hold_each_step_once() {
    let place = Place::with_photos();
    let args = format!("pretrain {SHORT} --steps 6 --save-every 2 --report-every 1 --out");
    let args = args.replacen("--steps 2 ", "", 1);
    place.good(&format!("{args} whole"));
    place.copy("whole", "run");
    fs::remove_dir_all(place.path("run/checkpoints/step-0000006")).unwrap();
    // A full disk cut off a line.
    let path = place.path("run/metrics.jsonl");
    let mut text = fs::read_to_string(&path).unwrap();
    text.push_str("{\"phase\":\"pre");
    fs::write(&path, text).unwrap();
    place.good("pretrain --resume --out run");
    assert_eq!(place.losses("run"), place.losses("whole"));
    // At its end, too.
    place.good("pretrain --resume --out run");
    assert_eq!(place.losses("run"), place.losses("whole"));
}

/// Killed at moments in which something is half done.
#[test]
fn what_a_kill_leaves_is_mended() {
    let place = Place::with_photos();
    let args = format!("pretrain {SHORT} --out");
    place.good(&format!("{args} whole"));

    // While the tokenizer was being saved: settings, metrics, and half a tokenizer beside its place.
    place.copy("whole", "run");
    for part in ["checkpoints", "pictures"] {
        fs::remove_dir_all(place.path("run").join(part)).unwrap();
    }
    fs::remove_file(place.path("run/last")).unwrap();
    place.copy("run", "no-checkpoint");
    fs::rename(place.path("run/tokenizer"), place.path("run/.tokenizer.new-77-0")).unwrap();
    place.copy("run", "overwritten");
    place.good("pretrain --resume --out run");
    place.good(&format!("{args} overwritten --overwrite"));

    // While a checkpoint was being written.
    place.copy("whole", "half-checkpoint");
    place.write("half-checkpoint/checkpoints/.step-0000002.new-77-1/.model.safetensors.new-3McEC7", "half");
    place.good("pretrain --resume --out half-checkpoint");

    // Before the first checkpoint: the tokenizer is not trained again.
    let resumed = place.good("pretrain --resume --out no-checkpoint");
    assert!(!resumed.stderr.contains("training one"), "{resumed}");
    assert!(resumed.stderr.contains("before its first checkpoint"), "{resumed}");

    // Before `last` was made, and while it was being made.
    place.copy("whole", "no-last");
    fs::remove_file(place.path("no-last/last")).unwrap();
    symlink("checkpoints/step-0000001", place.path("no-last/last.new")).unwrap();
    place.good(
        "finetune --init no-last --data folder:photos --labels 24 --steps 1 --batch-size 8 --out tuned",
    );
    place.good("pretrain --resume --out no-last");

    for run in ["run", "overwritten", "no-checkpoint", "no-last", "half-checkpoint"] {
        place.nothing_half_written(run);
        for part in ["last/model.safetensors", "tokenizer/model.safetensors"] {
            let [found, expected] = [run, "whole"].map(|run| fs::read(place.path(run).join(part)).unwrap());
            assert!(found == expected, "{run}/{part}");
        }
    }
}

#[test]
fn one_run_at_a_time_in_a_folder() {
    let place = Place::with_photos();
    let mut child = place.command(LONG).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    wait_for(&place, &mut child, "run/run.toml");
    let others = [
        format!("pretrain {SHORT} --out run --overwrite"),
        format!("pretrain {SHORT} --out run"),
        "pretrain --resume --out run".to_owned(),
        "finetune --from-scratch --data folder:photos --steps 1 --out run --overwrite".to_owned(),
        "tokenizer train --data folder:photos --steps 1 --out run --overwrite".to_owned(),
    ];
    for other in others {
        place.bad(1, &other, &["run: another process writes to this folder"]);
    }
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(143));

    // Without --out each makes a folder of its own.
    let all: Vec<_> = (0..4)
        .map(|_| {
            place
                .command(&format!("pretrain {SHORT} --threads 1"))
                .stderr(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    all.into_iter().for_each(|mut child| assert!(child.wait().unwrap().success()));
    assert_eq!(place.names("runs"), ["pretrain-001", "pretrain-002", "pretrain-003", "pretrain-004"]);
}

/// At such a rate the weights leap about, and the gradients with them.
#[test]
fn a_step_that_leaps_is_kept_left_out_and_shown() {
    let place = Place::with_photos();
    let args = "finetune --from-scratch --data folder:photos --steps 80 --batch-size 8 --lr 1 --warmup-steps 40 --layer-decay 1 \
                --clip-grad 0 --report-every 1 --skip-spikes 1.5 --max-spikes 1 --keep 1";
    // What it replaces stays aside, and what was kept of it stays too.
    place.good(&format!("pretrain {SHORT} --out run"));
    let says = ["1 steps were left out as spikes", "--max-spikes"];
    place.bad(1, &format!("{args} --out run --overwrite"), &says);
    let spikes: Vec<_> = place.metrics("run").into_iter().filter(|line| line["phase"] == "spike").collect();
    assert_eq!(spikes.len(), 2, "the one that was left out, and the one that ended the run");
    let names = place.names("run/spikes");
    let kept = |spike: &Value| format!("step-{:07}", spike["spike"]["step"].as_u64().unwrap());
    let [first, last] = [kept(&spikes[0]), kept(&spikes[1])];
    assert_eq!(names, [format!("{first}.json"), last.clone(), format!("{last}.json")], "--keep 1");

    let shown = place.good(&format!("replay run/spikes/{last} --json --show 3")).answer();
    for number in ["loss", "grad_norm"] {
        assert_eq!(shown[number], spikes[1]["spike"][number], "{number}");
    }
    for what in ["images", "tensors"] {
        let found = shown[what].as_array().unwrap();
        let norms: Vec<f64> = found.iter().map(|one| one["grad_norm"].as_f64().unwrap()).collect();
        assert!(norms.len() == 3 && norms.is_sorted_by(|a, b| a >= b), "{what}: {norms:?}");
    }
    assert!(shown["images"][0]["name"].as_str().unwrap().starts_with("photos/train/"), "{shown}");
    let asked = read_json(&place.path(&format!("run/spikes/{last}.json")));
    let asked = asked["images"][0].as_array().unwrap();
    assert!(asked.len() == 8 && asked.contains(&shown["images"][0]["index"]), "{asked:?}");

    place.bad(1, &format!("replay run/spikes/{first}"), &["only the newest steps are kept whole"]);
    place.bad(1, "replay photos", &["RUN/spikes/step-N"]);
    let picture = fs::read(place.path("photos/train/class-0/00.png")).unwrap();
    fs::remove_file(place.path("photos/train/class-0/00.png")).unwrap();
    place.bad(1, &format!("replay run/spikes/{last}"), &["the data was"]);

    // A step that is left out is one after which a checkpoint is due.
    fs::write(place.path("photos/train/class-0/00.png"), &picture).unwrap();
    let all = args.replace("--keep 1", "--keep 100");
    place.bad(1, &format!("{all} --save-every 1 --out saved"), &says);
    let out = first.strip_prefix("step-").unwrap().parse::<u64>().unwrap();
    let after = format!("step-{:07}", out + 1);
    assert!(place.names("saved/checkpoints").contains(&after), "{:?}", place.names("saved/checkpoints"));

    // It is a run like any other, and is replaced whole.
    place.good(&format!("pretrain {SHORT} --out run --overwrite"));
    assert!(place.names("run/spikes").is_empty());
}
