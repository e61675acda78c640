//! One seed, one result: whatever the number of threads, and whether or not the run was interrupted.
#![cfg(unix)] // Links, signals and limits as on Unix.

use crate::common::{Outcome, Place, SHORT, THREADS};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Parameters and state of training of every checkpoint, bit by bit.
fn assert_same_end(place: &Place, one: &str, other: &str) {
    let [one, other] = [one, other].map(|run| place.contents(&format!("{run}/last/")));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>());
    assert!(one.len() >= 5, "{:?}", one.keys());
    for (name, bytes) in &one {
        assert!(*bytes == other[name], "{} differs", name.display());
    }
}

/// Takes a run back to the checkpoint after `step` steps, as if it had been stopped there.
fn rewind(place: &Place, run: &str, step: u64) {
    let checkpoints = place.path(run).join("checkpoints");
    let name = format!("step-{step:07}");
    for entry in fs::read_dir(&checkpoints).unwrap() {
        let entry = entry.unwrap();
        if *entry.file_name().to_string_lossy() > *name {
            fs::remove_dir_all(entry.path()).unwrap();
        }
    }
    fs::remove_file(place.path(run).join("last")).unwrap();
    symlink(format!("checkpoints/{name}"), place.path(run).join("last")).unwrap();
}

#[test]
fn one_seed_one_result() {
    let place = Place::with_photos();
    let pretrain = format!("pretrain {SHORT}");
    place.good(&format!("{pretrain} --out one"));
    // As many threads as there are cores.
    let args = format!("{pretrain} --out other");
    let outcome = Outcome::of(&args, place.command(&args).env_remove(THREADS).output().unwrap());
    assert_eq!(outcome.code, Some(0), "{outcome}");
    place.good(&format!("{pretrain} --threads 1 --out alone"));
    place.good(&format!("{pretrain} --threads 3 --out three"));
    for other in ["other", "alone", "three"] {
        assert_same_end(&place, "one", other);
        assert_eq!(place.contents("one/tokenizer"), place.contents(&format!("{other}/tokenizer")));
        assert_eq!(place.contents("one/pictures"), place.contents(&format!("{other}/pictures")));
    }
    place.good(&format!("{pretrain} --seed 1 --out another"));
    assert!(place.contents("one/last/") != place.contents("another/last/"), "the seed is without effect");

    let finetune = "finetune --init one --data folder:photos --labels 24 --steps 2 --batch-size 8 --json";
    let answers: Vec<_> = [("a", ""), ("b", "--threads 1")]
        .iter()
        .map(|(out, flags)| place.good(&format!("{finetune} --out {out} {flags}")).answer())
        .collect();
    assert_same_end(&place, "a", "b");
    assert_eq!(answers[0]["loss"], answers[1]["loss"]);
}

#[test]
fn pre_training_goes_on_after_it_was_killed() {
    let place = Place::with_photos();
    let args = "pretrain --data folder:photos --tokenizer-kind dvae --accept-tokenizer --tokenizer-steps 2 --steps 8 --batch-size 8 --save-every 2 --out";
    place.good(&format!("{args} whole"));
    assert_eq!(place.names("whole/checkpoints"), ["step-0000006", "step-0000008"], "the newest two are kept");

    let mut child = place.command(&format!("{args} killed")).stderr(Stdio::null()).spawn().unwrap();
    while !place.path("killed/last").exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(2));
    }
    // Had it been faster than this, it would be at its end, which must not matter.
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(place.path("killed/last/model.safetensors").is_file());
    // What a killed process may leave behind.
    place.write("killed/checkpoints/.step-0000004.new-1-0/config.json", "{");

    place.good(&format!("{args} killed --resume"));
    assert_same_end(&place, "whole", "killed");
    place.nothing_half_written("killed");

    // At its end there is nothing left to do, and nothing changes.
    place.good(&format!("{args} killed --resume"));
    assert_same_end(&place, "whole", "killed");
}

/// The tokens of k-means instead of those of a discrete VAE.
#[test]
fn a_run_on_k_means_goes_on() {
    let place = Place::with_photos();
    let args = "pretrain --data folder:photos --tokenizer-kind kmeans --accept-tokenizer --tokenizer-steps 2 --steps 4 --batch-size 8 \
                --save-every 2 --out";
    place.good(&format!("{args} whole"));
    place.copy("whole", "stopped");
    rewind(&place, "stopped", 2);
    // As if it had been begun on a processor of other instructions.
    let settings = fs::read_to_string(place.path("stopped/run.toml")).unwrap();
    let kernel = settings.lines().find(|line| line.starts_with("kernel = ")).unwrap();
    place.write("stopped/run.toml", settings.replace(kernel, "kernel = \"Other\""));
    let resumed = place.good(&format!("{args} stopped --resume"));
    assert!(resumed.stderr.contains("whose products are Other's"), "{resumed}");
    assert_same_end(&place, "whole", "stopped");
    place.good(&format!("{args} alone --threads 1"));
    assert_same_end(&place, "whole", "alone");
    assert_eq!(place.contents("whole/tokenizer"), place.contents("alone/tokenizer"));
    assert_eq!(place.contents("whole/pictures"), place.contents("alone/pictures"));

    let finetune =
        "finetune --init whole --data folder:photos --labels 24 --steps 2 --batch-size 8 --out tuned";
    assert!(place.good(finetune).stderr.contains("tensors taken"));
}

/// With an average of the weights, which is what stands in the checkpoint.
#[test]
fn a_run_from_another_model_goes_on() {
    let place = Place::with_photos();
    place.good(&format!("pretrain {SHORT} --out run"));
    let args = "--steps 4 --batch-size 8 --save-every 2 --model-ema --model-ema-decay 0.5 --freeze 1 --data folder:photos --accept-tokenizer";
    place.bad(1, "pretrain --init run --data folder:photos --freeze 9", &["--freeze 9", "run has 4 blocks"]);
    let began = place.good(&format!("pretrain --init run {args} --out whole"));
    for said in ["tensors taken", "goes on to name the tokens of run/tokenizer", "begin at zero"] {
        assert!(began.stderr.contains(said), "{began}");
    }
    let averaged = place.contents("whole/last/");
    let [model, last] =
        ["model.safetensors", "training/last.safetensors"].map(|name| &averaged[Path::new(name)]);
    assert!(model != last, "the average is the last step");
    place.copy("whole", "stopped");
    rewind(&place, "stopped", 2);
    // What it began with is in its checkpoint.
    fs::rename(place.path("run/last"), place.path("run/elsewhere")).unwrap();
    let resumed = place.good("pretrain --resume --out stopped");
    assert_same_end(&place, "whole", "stopped");
    assert!(!resumed.stderr.contains("tensors taken"), "{resumed}");
    fs::rename(place.path("run/elsewhere"), place.path("run/last")).unwrap();

    let new = place.good(&format!("pretrain --init run --new-tokenizer {args} --out other"));
    for said in ["new: lm_head.weight", "the head that names them is new"] {
        assert!(new.stderr.contains(said), "{new}");
    }
    let tuned = "finetune --init whole --data folder:photos --labels 24 --steps 1 --batch-size 8 --out tuned";
    place.good(tuned);
    let from_tuned = place.good(
        "pretrain --init tuned --steps 1 --batch-size 8 --data folder:photos --accept-tokenizer --out last",
    );
    for said in ["new: mask_token", "it names no visual tokens yet"] {
        assert!(from_tuned.stderr.contains(said), "{from_tuned}");
    }
}

#[test]
fn fine_tuning_goes_on() {
    let place = Place::with_photos();
    place.good(&format!("pretrain {SHORT} --out run"));
    let args = "--data folder:photos --labels 30 --steps 5 --batch-size 8 --save-every 3 --json";
    let whole = place.good(&format!("finetune --init run {args} --out whole")).answer();
    assert_eq!(place.names("whole/checkpoints"), ["step-0000003", "step-0000005"]);
    place.copy("whole", "stopped");
    rewind(&place, "stopped", 3);

    // Where it started from is in the checkpoint.
    let resumed = place.good(&format!("finetune {args} --resume --out stopped"));
    assert_same_end(&place, "whole", "stopped");
    assert!(!resumed.stderr.contains("scratch"), "{resumed}");
    for key in ["images", "top1", "top5", "loss", "labels"] {
        assert_eq!(resumed.answer()[key], whole[key], "{key}");
    }
}

/// Everything of it is a function of the seed, the image and the number of the micro-batch.
#[test]
fn fine_tuning_on_changed_and_mixed_images_goes_on() {
    let place = Place::with_photos();
    let args = "finetune --from-scratch --preset tiny --data folder:photos --labels 30 --steps 5 --batch-size 8 --update-freq 2 --save-every 3 \
                --aa rand-m9-mstd0.5-inc1 --reprob 0.25 --mixup 0.8 --cutmix 1.0 --mixup_switch_prob 0.5 --repeated-aug 2";
    place.good(&format!("{args} --out whole"));
    place.copy("whole", "stopped");
    rewind(&place, "stopped", 3);
    place.good("finetune --resume --out stopped");
    assert_same_end(&place, "whole", "stopped");
    place.good(&format!("{args} --threads 1 --out alone"));
    assert_same_end(&place, "whole", "alone");

    let plain = args.split(" --aa").next().unwrap();
    for (out, flags) in [
        ("one", "--auto-augment rand-m9-mstd0.5-inc1"),
        ("two", "--mixup 0.8"),
        ("three", "--reprob 1"),
        ("four", "--repeated-aug 2"),
        ("none", "--aa none --mixup 0 --cutmix 0 --reprob 0 --repeated-aug 1"),
    ] {
        place.good(&format!("{plain} {flags} --out {out}"));
    }
    place.good(&format!("{plain} --out plain"));
    assert_same_end(&place, "plain", "none");
    for other in ["one", "two", "three", "four"] {
        assert!(place.contents("plain/last/") != place.contents(&format!("{other}/last/")), "{other}");
    }
    rewind(&place, "stopped", 3);
    for (flags, says) in [
        ("--mixup 0.2", "--mixup was 0.8, is 0.2"),
        ("--aa none", "--auto-augment was rand-m9-mstd0.5-inc1, is none"),
        ("--repeated-aug 3", "--repeated-aug was 2, is 3"),
    ] {
        place.bad(1, &format!("finetune --resume --out stopped {flags}"), &[says]);
    }
}

/// A run does not go on with other images, however they are asked for.
#[test]
fn what_decides_about_the_images_must_be_the_same() {
    let place = Place::with_photos();
    let args = "finetune --from-scratch --preset tiny --data folder:photos --labels 30 --steps 4 --batch-size 8 --save-every 2";
    place.good(&format!("{args} --out run"));
    rewind(&place, "run", 2);
    let before = place.contents("run");
    for (flags, says) in [
        ("--batch-size 6", "--batch-size was 8, is 6"),
        ("--labels 12", "--labels was 30, is 12"),
        ("--update-freq 2", "--update-freq was 1, is 2"),
        ("--validation 0.2", "--validation was not given, is 0.2"),
        ("--data folder:photos/train", "--data was folder:photos, is folder:photos/train"),
        ("--image-size 56", "--image-size was not given"),
        ("--min-crop-scale 0.5", "--min-crop-scale was not given, is 0.5"),
    ] {
        let says = ["run/run.toml is of another run", says];
        place.bad(1, &format!("finetune --resume --out run {flags}"), &says);
        assert!(place.contents("run") == before, "{flags}");
    }
    // The whole command line again, with another number in it.
    let other = args.replace("--batch-size 8", "--batch-size 6");
    place.bad(1, &format!("{other} --out run --resume"), &["--batch-size was 8, is 6"]);
    let all = args.replace("--labels 30 ", "");
    place.good(&format!("{all} --out all"));
    rewind(&place, "all", 2);
    place.bad(1, &format!("{args} --out all --resume"), &["--labels was not given, is 30"]);
    // Images that came since.
    place.copy("photos/train/class-0/00.png", "photos/train/class-0/new.png");
    place.bad(1, "finetune --resume --out run", &["the data was 48 images", "is 49 images"]);
    fs::remove_file(place.path("photos/train/class-0/new.png")).unwrap();
    place.good("finetune --resume --out run");
}

/// A disk that is full: no file may grow beyond half of a checkpoint, so that writing one fails in the middle as it does when no
/// space is left. (Unlike a small file system, that needs no right to mount one.)
#[test]
fn a_full_disk_costs_the_last_steps_only() {
    let place = Place::with_photos();
    let args = "pretrain --data folder:photos --tokenizer-kind dvae --accept-tokenizer --tokenizer-steps 2 --steps 4 --batch-size 8 --save-every 2 --out";
    place.good(&format!("{args} whole"));
    place.copy("whole", "stopped");
    rewind(&place, "stopped", 2);
    let before = place.contents("stopped/checkpoints");
    let model = fs::metadata(place.path("whole/last/model.safetensors")).unwrap().len();

    let script = "trap '' XFSZ; ulimit -f \"$0\"; exec \"$@\"";
    let resume = format!("{args} stopped --resume");
    let output = Command::new("sh")
        .args(["-c", script, &(model / 2 / 512).to_string(), env!("CARGO_BIN_EXE_xtask")])
        .args(resume.split_whitespace())
        .current_dir(place.path("."))
        .output();
    let says = ["cannot write", "stopped/checkpoints/", "model.safetensors", "make room"];
    Outcome::of(&resume, output.unwrap()).fails(1, &says);
    assert_eq!(place.contents("stopped/checkpoints"), before);
    assert_eq!(fs::read_link(place.path("stopped/last")).unwrap().to_str(), Some("checkpoints/step-0000002"));

    place.good(&resume);
    assert_same_end(&place, "whole", "stopped");
}
