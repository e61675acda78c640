//! Attacks that take minutes: `scripts/attack` runs them. Each prints its seed, by which it can be run again (`ATTACK_SEED`).
#![cfg(unix)] // Signals and limits as on Unix.
#![allow(clippy::print_stdout)] // For who watches, and to repeat what failed.

use crate::common::random::Random;
use crate::common::{Outcome, Place};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long an attack goes on.
fn minutes(share: f64) -> Duration {
    let all: f64 = std::env::var("ATTACK_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(10.0);
    Duration::from_secs_f64(60.0 * all * share)
}

/// A training run, what continues it after a kill, and where its result is.
struct Training {
    name: &'static str,
    begin: String,
    go_on: &'static str,
    result: &'static [&'static str],
}

fn trainings() -> Vec<Training> {
    let common = "--data folder:photos --report-every 1";
    let result = &["last/model.safetensors", "last/training/optimiser.safetensors"];
    let pretrain = format!("pretrain {common} --accept-tokenizer --steps 12 --batch-size 8 --save-every 1");
    let of = |name, begin, go_on, result| Training { name, begin, go_on, result };
    vec![
        of(
            "k-means, then pre-training",
            format!("{pretrain} --tokenizer-kind kmeans --tokenizer-steps 3 --out"),
            "pretrain --resume --out",
            result,
        ),
        of(
            "discrete VAE, then pre-training",
            format!("{pretrain} --tokenizer-kind dvae --tokenizer-steps 12 --out"),
            "pretrain --resume --out",
            result,
        ),
        of(
            "fine-tuning",
            format!("finetune --from-scratch {common} --steps 12 --batch-size 8 --save-every 1 --out"),
            "finetune --resume --out",
            result,
        ),
        of(
            "tokenizer",
            format!("tokenizer train {common} --steps 30 --save-every 1 --out"),
            "tokenizer train --resume --out",
            &["tokenizer/model.safetensors", "tokenizer/decoder.safetensors"],
        ),
    ]
}

fn same_result(place: &Place, training: &Training, one: &str, other: &str) {
    for part in training.result {
        let [one, other] = [one, other].map(|run| fs::read(place.path(run).join(part)).unwrap());
        assert!(one == other, "{}: {part} differs", training.name);
    }
    place.nothing_half_written(other);
    let of = |record: &serde_json::Value| (record["phase"].to_string(), record["step"].to_string());
    let mut steps: Vec<_> = place.metrics(other).iter().map(of).collect();
    let lines = steps.len();
    steps.sort();
    steps.dedup();
    assert_eq!(steps.len(), lines, "{}: a step stands in the metrics twice", training.name);
}

/// Killed at random moments, several times in a row: what comes out is what would have come out.
#[test]
#[ignore = "takes minutes: scripts/attack"]
fn kills() {
    let (place, mut random) = (Place::with_photos(), Random::new("kills"));
    let mut rounds = 0;
    let trainings = trainings();
    for training in &trainings {
        let begun = Instant::now();
        place.good(&format!("{} whole", training.begin));
        let takes = begun.elapsed();
        let end = Instant::now() + minutes(0.4 / trainings.len() as f64);
        while Instant::now() < end {
            let mut args = format!("{} run", training.begin);
            for _ in 0..1 + random.below(3) {
                let mut child =
                    place.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
                std::thread::sleep(takes.mul_f64(random.below(1000) as f64 / 1000.0));
                child.kill().unwrap();
                child.wait().unwrap();
                if place.path("run/run.toml").exists() {
                    args = format!("{} run", training.go_on);
                }
                rounds += 1;
            }
            place.good(&args);
            same_result(&place, training, "whole", "run");
            fs::remove_dir_all(place.path("run")).unwrap();
        }
        fs::remove_dir_all(place.path("whole")).unwrap();
    }
    println!("{rounds} kills");
}

/// No file may grow beyond a size, as where no space is left, for twenty sizes: the run ends with an error that names the file, and
/// goes on once there is room.
#[test]
#[ignore = "takes minutes: scripts/attack"]
fn full_disks() {
    let place = Place::with_photos();
    for training in &trainings() {
        place.good(&format!("{} whole", training.begin));
        let largest = place.contents("whole").values().map(Vec::len).max().unwrap();
        for part in 0..20 {
            let blocks = (largest * part / 20 / 512).to_string();
            let args = format!("{} run", training.begin);
            let script = "trap '' XFSZ; ulimit -f \"$0\"; exec \"$@\"";
            let output = Command::new("sh")
                .args(["-c", script, &blocks, env!("CARGO_BIN_EXE_xtask")])
                .args(args.split_whitespace())
                .current_dir(place.path("."))
                .output();
            let outcome = Outcome::of(&args, output.unwrap());
            assert_eq!(outcome.code, Some(1), "{outcome}");
            let said = outcome.stderr.lines().last().unwrap_or_default();
            assert!(said.starts_with("error: cannot write") || said.contains("cannot create"), "{outcome}");
            let go_on = place.path("run/run.toml").is_file();
            place.good(&if go_on { format!("{} run", training.go_on) } else { args });
            same_result(&place, training, "whole", "run");
            fs::remove_dir_all(place.path("run")).unwrap();
        }
        fs::remove_dir_all(place.path("whole")).unwrap();
    }
}

/// Two processes at once in one folder, for every pair of verbs that write to one: one is refused, the other ends as if it were alone.
#[test]
#[ignore = "takes minutes: scripts/attack"]
fn two_at_once() {
    let place = Place::with_photos();
    place.good("finetune --from-scratch --data folder:photos --steps 1 --batch-size 8 --out model");
    let mut verbs = trainings();
    verbs.push(Training {
        name: "evaluation",
        begin: "evaluate --model model --data folder:photos --out".to_owned(),
        go_on: "",
        result: &["evaluation.json", "confusion.csv"],
    });
    verbs.push(Training {
        name: "conversion",
        begin: "weights convert --layout hf model".to_owned(),
        go_on: "",
        result: &["model.safetensors", "config.json"],
    });
    for (i, verb) in verbs.iter().enumerate() {
        place.good(&format!("{} alone-{i}", verb.begin));
    }
    for (i, one) in verbs.iter().enumerate() {
        for (j, other) in verbs.iter().enumerate() {
            let run = |verb: &Training| {
                place
                    .command(&format!("{} both", verb.begin))
                    .stdout(Stdio::null())
                    .stderr(Stdio::piped())
                    .spawn()
                    .unwrap()
            };
            let children = [run(one), run(other)];
            let outputs = children.map(|child| child.wait_with_output().unwrap());
            let winners: Vec<usize> = (0..2).filter(|&k| outputs[k].status.success()).collect();
            let said = outputs.each_ref().map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
            assert_eq!(winners.len(), 1, "{} and {}: {said:?}", one.name, other.name);
            let refused = &said[1 - winners[0]];
            assert!(
                ["another process", "is not empty", "is there already"]
                    .iter()
                    .any(|why| refused.contains(why)),
                "{refused}"
            );
            let (winner, number) = [(one, i), (other, j)][winners[0]];
            for part in winner.result {
                let [alone, both] = [format!("alone-{number}"), "both".to_owned()]
                    .map(|run| fs::read(place.path(&run).join(part)).unwrap());
                assert!(alone == both, "{} beside {}: {part}", one.name, other.name);
            }
            fs::remove_dir_all(place.path("both")).unwrap();
        }
    }
}

/// Pictures and weights with a few bytes changed, cut, doubled or exchanged, each in a process with 1 GB of memory and ten seconds:
/// an answer or an error, and no panic, abort or hang.
#[test]
#[ignore = "takes minutes: scripts/attack"]
fn mutants() {
    let (place, mut random) = (Place::with_photos(), Random::new("mutants"));
    place.good("finetune --from-scratch --data folder:photos --steps 1 --batch-size 8 --out model");
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let mut files = Vec::new();
    collect(&corpus, &mut files);
    let ends =
        |path: &Path, endings: &[&str]| path.extension().is_some_and(|e| endings.iter().any(|end| e == *end));
    let pictures: Vec<_> = files.iter().filter(|path| ends(path, &["jpg", "jpeg", "png", "webp"])).collect();
    let weights: Vec<_> =
        files.iter().filter(|path| ends(path, &["safetensors", "pth", "pt", "bin", "pkl"])).collect();
    assert!(
        pictures.len() >= 5 && weights.len() >= 3,
        "{} pictures, {} weights",
        pictures.len(),
        weights.len()
    );
    let model = fs::read(place.path("model/last/model.safetensors")).unwrap();
    let count: usize =
        std::env::var("ATTACK_MUTANTS").ok().and_then(|text| text.parse().ok()).unwrap_or(5000);
    for number in 0..count {
        let (name, args, mut bytes) = match number % 4 {
            0 | 1 => {
                let from = pictures[random.below(pictures.len())];
                let name = format!("mutant.{}", from.extension().unwrap().to_str().unwrap());
                (name.clone(), format!("predict {name} --model model --threads 1"), fs::read(from).unwrap())
            }
            2 => {
                let from = weights[random.below(weights.len())];
                let name = format!("mutant.{}", from.extension().unwrap().to_str().unwrap());
                (name.clone(), format!("weights inspect {name}"), fs::read(from).unwrap())
            }
            _ => {
                place.copy("model/last/config.json", "mutant-config.json");
                let name = "mutant/model.safetensors".to_owned();
                fs::create_dir_all(place.path("mutant")).unwrap();
                place.copy("model/last/config.json", "mutant/config.json");
                (
                    name,
                    "predict photos/test/class-0/00.png --model mutant --threads 1".to_owned(),
                    model.clone(),
                )
            }
        };
        mutate(&mut bytes, &mut random);
        place.write(&name, &bytes);
        let script = "ulimit -v 1048576; exec timeout -s KILL 10 \"$@\"";
        let output = Command::new("sh")
            .args(["-c", script, "sh", env!("CARGO_BIN_EXE_xtask")])
            .args(args.split_whitespace())
            .current_dir(place.path("."))
            .output();
        let outcome = Outcome::of(&args, output.unwrap());
        if !matches!(outcome.code, Some(0..=2)) {
            let kept = std::env::temp_dir().join(format!("attack-{number}-{}", name.replace('/', "-")));
            fs::copy(place.path(&name), &kept).unwrap();
            panic!("{} kept; {outcome}", kept.display());
        }
    }
    println!("{count} mutants");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<_> =
        fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() { collect(&path, files) } else { files.push(path) }
    }
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..1 + random.below(4) {
        if bytes.is_empty() {
            return;
        }
        // Headers are where numbers stand that something is made of.
        let reach = if random.below(2) == 0 { bytes.len().min(256) } else { bytes.len() };
        let at = random.below(reach);
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = [0, 0xff, 0x7f, 0x80][random.below(4)],
            2 => bytes.truncate(at),
            3 => {
                let part = bytes[at..bytes.len().min(at + 1 + random.below(64))].to_vec();
                bytes.splice(at..at, part);
            }
            4 => {
                let end = bytes.len().min(at + 4);
                bytes[at..end].fill(0xff);
            }
            _ => {
                let other = random.below(bytes.len());
                bytes.swap(at, other);
            }
        }
    }
}
