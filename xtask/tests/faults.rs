//! Disks and data that fail while a run trains: one line says what and what to do, and the run goes on as if nothing had been.
#![cfg(unix)] // Limits and permissions as on Unix.

use crate::common::ranks::wait_for;
use crate::common::{Outcome, Place};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Runs with files of at most so many bytes, as where no space is left.
fn limited(place: &Place, args: &str, bytes: u64) -> Outcome {
    let script = "trap '' XFSZ; ulimit -f \"$0\"; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, &(bytes / 512).to_string(), env!("CARGO_BIN_EXE_xtask")]);
    command.args(args.split_whitespace()).current_dir(place.path("."));
    Outcome::of(args, command.output().unwrap())
}

fn assert_same(place: &Place, one: &str, other: &str) {
    for part in ["last/", "tokenizer/"] {
        assert!(
            place.contents(&format!("{one}/{part}")) == place.contents(&format!("{other}/{part}")),
            "{part}"
        );
    }
    assert_eq!(place.losses(one), place.losses(other));
    place.nothing_half_written(other);
}

/// Waits for a step in the metrics.
fn wait_for_step(place: &Place, child: &mut Child, run: &str, step: &str) {
    wait_for(place, child, &format!("{run}/metrics.jsonl"));
    while !fs::read_to_string(place.path(run).join("metrics.jsonl")).unwrap().contains(step) {
        assert!(child.try_wait().unwrap().is_none(), "it ended before {step}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The optimiser's file of a tokenizer is the largest: the first state is not taken, and of a run that has one the next is not.
#[test]
fn a_disk_fills_while_a_tokenizer_is_saved() {
    let place = Place::with_photos();
    for (args, file) in [
        (
            "tokenizer train --kind dvae --data folder:photos --image-size 16 --steps 8 --batch-size 8",
            "optimiser.safetensors",
        ),
        ("tokenizer train --kind kmeans --data folder:photos --vocab 24 --steps 8", "centroids.safetensors"),
    ] {
        let args = format!("{args} --save-every 1 --report-every 1 --out");
        place.good(&format!("{args} whole"));
        let mut command = place.command(&format!("{args} run"));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for(&place, &mut child, "run/tokenizer-training");
        child.kill().unwrap();
        child.wait().unwrap();
        let before = place.contents("run/tokenizer-training");
        let largest = before.iter().find(|(name, _)| name.ends_with(file)).expect("it is saved").1.len();

        let outcome = limited(&place, "tokenizer train --resume --out run", largest as u64 / 2);
        outcome.fails(1, &["cannot write ", "/run/", "tokenizer-training", file, "make room"]);
        assert!(outcome.stderr.contains("what was saved before stays: --resume --out run"), "{outcome}");
        assert!(place.contents("run/tokenizer-training") == before);
        place.good("tokenizer train --resume --out run");
        assert_eq!(place.contents("run/tokenizer"), place.contents("whole/tokenizer"));
        assert_eq!(place.losses("run"), place.losses("whole"));
        place.nothing_half_written("run");

        // Before anything was saved.
        let outcome = limited(&place, &format!("{args} other"), largest as u64 / 2);
        outcome.fails(1, &["cannot write ", "other/", "tokenizer-training", "make room"]);
        place.good("tokenizer train --resume --out other");
        assert_eq!(place.contents("other/tokenizer"), place.contents("whole/tokenizer"));
        ["whole", "run", "other"].iter().for_each(|run| fs::remove_dir_all(place.path(run)).unwrap());
    }
}

/// A line of the metrics is cut off in its middle.
#[test]
fn a_disk_fills_while_metrics_are_written() {
    let place = Place::with_photos();
    let args = "finetune --from-scratch --preset tiny --image-size 16 --data folder:photos --batch-size 8 --steps 40 --save-every 50 --report-every 1 \
                --out";
    place.good(&format!("{args} whole"));
    let size = fs::metadata(place.path("whole/metrics.jsonl")).unwrap().len();
    let settings = fs::metadata(place.path("whole/run.toml")).unwrap().len();
    assert!(size > 2 * settings, "{size}");
    let outcome = limited(&place, &format!("{args} run"), size / 2);
    outcome.fails(1, &["cannot write run/metrics.jsonl; make room"]);
    place.good("finetune --resume --out run");
    assert_same(&place, "whole", "run");
}

/// As where a network's disk comes back without the right to write.
#[test]
fn a_folder_becomes_read_only() {
    let place = Place::with_photos();
    let args = "pretrain --data folder:photos --image-size 16 --tokenizer-kind dvae --accept-tokenizer --tokenizer-steps 20 --steps 20 --batch-size 8 \
                --save-every 2 --report-every 1 --out";
    place.good(&format!("{args} whole"));
    for (run, step, folder) in [
        ("tokenizer", "\"phase\":\"tokenizer\",\"step\":3,", ""),
        ("model", "\"phase\":\"pretrain\",\"step\":3,", "checkpoints"),
    ] {
        let args = format!("{args} {run}");
        let mut child = without_privilege(&place, &args);
        wait_for_step(&place, &mut child, run, step);
        let closed = place.path(run).join(folder);
        fs::set_permissions(&closed, Permissions::from_mode(0o555)).unwrap();
        let outcome = Outcome::of(&args, child.wait_with_output().unwrap());
        fs::set_permissions(&closed, Permissions::from_mode(0o755)).unwrap();
        outcome.fails(1, &["cannot write ", run, "or choose a place that can be written", "denied"]);
        assert!(outcome.stderr.contains("what was saved before stays"), "{outcome}");
        place.good(&format!("pretrain --resume --out {run}"));
        assert_same(&place, "whole", run);
    }
}

/// Starts a run for which permissions hold, whoever runs the tests.
fn without_privilege(place: &Place, args: &str) -> Child {
    let program = env!("CARGO_BIN_EXE_xtask");
    let mut command = match fs::metadata(place.path(".")).unwrap().uid() {
        0 => {
            let mut command = Command::new("setpriv");
            command.args(["--bounding-set", "-dac_override,-dac_read_search", program]);
            command
        }
        _ => Command::new(program),
    };
    command.args(args.split_whitespace()).current_dir(place.path("."));
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("setpriv, of util-linux, is there")
}

/// Pictures are taken away before they were all seen: what was learnt is saved, and the run goes on when they are back.
#[test]
fn pictures_vanish() {
    let place = Place::with_photos();
    let finetune = "finetune --from-scratch --preset tiny --image-size 16 --data folder:photos --batch-size 1 --steps 60 --report-every 1 --threads 1 \
                    --out";
    let tokenizer = "tokenizer train --kind dvae --image-size 16 --data folder:photos --batch-size 1 --steps 60 --report-every 1 --threads 1 --out";
    for (args, phase, whole) in [(finetune, "finetune", "whole"), (tokenizer, "tokenizer", "whole-tokenizer")]
    {
        place.good(&format!("{args} {whole}"));
        let args = format!("{args} {phase}");
        let mut child = place.command(&args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        wait_for_step(&place, &mut child, phase, "\"step\":2,");
        fs::rename(place.path("photos/train"), place.path("away")).unwrap();
        let outcome = Outcome::of(&args, child.wait_with_output().unwrap());
        outcome.fails(1, &["of 48 files cannot be decoded", "photos/train/class-", "No such file"]);
        let says = format!("--resume --out {phase} goes on from there");
        assert!(
            outcome.stderr.contains("saved before it ends") && outcome.stderr.contains(&says),
            "{outcome}"
        );
        fs::rename(place.path("away"), place.path("photos/train")).unwrap();
        let verb = args.split(" --").next().unwrap();
        place.good(&format!("{verb} --resume --out {phase}"));
        assert_same(&place, whole, phase);
    }
}
