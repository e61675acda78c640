//! Runs that are killed again and again, while their tokenizer is trained and while they save too, end as if nobody had disturbed them.
//! `scripts/soak` does so for an hour; the check does it for seconds.
#![cfg(unix)] // Signals as on Unix.
#![allow(clippy::print_stdout)] // For who watches, and to repeat what failed.

use crate::common::random::Random;
use crate::common::{Place, measured};
use serde_json::Value;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// When a run is ended, and how.
#[derive(Clone, Copy)]
struct Kill {
    /// Not before this phase was measured; at any time where none is named.
    phase: Option<&'static str>,
    /// Nor before so much more was measured than when it was started.
    steps: usize,
    /// So long after that.
    after: Duration,
    /// Then at the first moment at which something is half written.
    saving: bool,
    signal: &'static str,
}

/// What of a report depends on the clock.
const TIMES: [&str; 5] = ["images_per_second", "data_wait", "batches_ready", "exchange", "exchange_hidden"];

/// What was measured.
fn metrics(run: &Path) -> Vec<Value> {
    let mut records = measured(run).unwrap_or_default().records;
    for record in records.iter_mut().filter_map(Value::as_object_mut) {
        TIMES.iter().for_each(|time| drop(record.remove(*time)));
    }
    records
}

/// The phase of the newest record, and its step.
fn stands(run: &Path) -> (String, u64) {
    let last = metrics(run).pop().unwrap_or_default();
    (last["phase"].as_str().unwrap_or("its beginning").to_owned(), last["step"].as_u64().unwrap_or(0))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Whether something lies half written beside what it will replace.
fn is_saving(run: &Path) -> bool {
    let half = |name: &String| name.starts_with('.') && name.contains(".new-");
    [run.to_owned(), run.join("checkpoints")].iter().any(|folder| names(folder).iter().any(half))
}

/// What a run that is begun again goes on with.
fn comes_back_at(run: &Path) -> String {
    let step = |folder: &Path| -> Option<u64> {
        let state = fs::read(folder.join("training/state.json")).ok()?;
        serde_json::from_slice::<Value>(&state).ok()?["step"].as_u64()
    };
    let newest = names(&run.join("checkpoints")).into_iter().filter(|name| name.starts_with("step-")).max();
    let of = |what: &str, step: Option<u64>| step.map(|step| format!("step {step} of the {what}"));
    newest
        .and_then(|name| of("model", step(&run.join("checkpoints").join(name))))
        .or_else(|| run.join("tokenizer").is_dir().then(|| "the trained tokenizer".to_owned()))
        .or_else(|| of("tokenizer", step(&run.join("tokenizer-training"))))
        .unwrap_or_else(|| "its beginning".to_owned())
}

/// Ends a run as was planned; false where it came to its end before.
fn ends_as_planned(child: &mut Child, run: &Path, kill: Kill) -> bool {
    let before = metrics(run).len();
    let is_early = || {
        let now = metrics(run);
        let begun = |phase: &str| now.iter().any(|record| record["phase"] == phase);
        now.len() < before + kill.steps || kill.phase.is_some_and(|phase| !begun(phase))
    };
    while is_early() {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(kill.after);
    while kill.saving && !is_saving(run) {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    match kill.signal {
        // At this very moment.
        "KILL" => child.kill().unwrap(),
        name => {
            let args = [format!("-{name}"), child.id().to_string()];
            Command::new("kill").args(args).stderr(Stdio::null()).status().unwrap();
        }
    }
    let ended = child.wait().unwrap();
    assert!(matches!(ended.code(), None | Some(0 | 143)), "{ended}");
    // A process that has just been started does not catch signals yet.
    matches!(ended.signal(), Some(9 | 15)) || ended.code() == Some(143)
}

/// Starts a run again and again, and ends it each time as `next` says, until it says nothing or the run is at its end. Returns what was
/// killed.
fn disturbed(place: &Place, args: &str, run: &str, mut next: impl FnMut() -> Option<Kill>) -> Vec<String> {
    let (folder, begun, mut kills) = (place.path(run), Instant::now(), Vec::new());
    while let Some(kill) = next() {
        let mut child = place.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        if !ends_as_planned(&mut child, &folder, kill) {
            break;
        }
        let (phase, step) = stands(&folder);
        let moment = if is_saving(&folder) { " while it saved" } else { "" };
        let line = format!(
            "{run}: kill {} after {:.0} s, SIG{}{moment}, at step {step} of {phase}; comes back at {}",
            kills.len() + 1,
            begun.elapsed().as_secs_f64(),
            kill.signal,
            comes_back_at(&folder)
        );
        println!("{line}");
        kills.push(line);
    }
    place.good(args);
    kills
}

/// Model, state of training, tokenizer and metrics, to the bit, and nothing that a kill left.
fn assert_same(place: &Place, one: &str, other: &str) {
    for part in ["last/", "best/", "tokenizer/"] {
        let [one, found] = [one, other].map(|run| place.contents(&format!("{run}/{part}")));
        assert!(
            one.len() == found.len() && (part != "last/" || one.len() >= 5),
            "{part}: {:?}",
            found.keys()
        );
        for (name, bytes) in &one {
            assert!(found.get(name) == Some(bytes), "{other}/{part}{} differs", name.display());
        }
    }
    let [one, found] = [one, other].map(|run| metrics(&place.path(run)));
    assert_eq!(one.len(), found.len(), "records");
    for (one, found) in one.iter().zip(&found) {
        assert_eq!(found, one);
    }
    place.nothing_half_written(other);
    for left in ["tokenizer-training", "run.lock", ".replaced"] {
        assert!(!place.path(other).join(left).exists(), "{left}");
    }
}

/// Every part of a run, and saving each, by both signals.
#[test]
fn killed_at_every_turn() {
    let (place, mut random) = (Place::with_photos(), Random::new("soak"));
    let args = "pretrain --data folder:photos --image-size 16 --tokenizer-kind dvae --accept-tokenizer --tokenizer-steps 24 --steps 24 \
                --batch-size 8 --save-every 1 --report-every 1 --keep-best token-accuracy --measure-images 8 --model-ema --model-ema-decay 0.9 \
                --skip-spikes 9 --resume auto --out";
    place.good(&format!("{args} whole"));
    let [tokenizer, model] = [Some("tokenizer"), Some("pretrain")];
    let plan = [
        (tokenizer, true, "KILL"),
        (tokenizer, false, "KILL"),
        (tokenizer, false, "TERM"),
        (tokenizer, true, "KILL"),
        (model, true, "KILL"),
        (model, false, "TERM"),
        (model, false, "KILL"),
    ];
    let mut plan = plan.into_iter();
    let mut next = || {
        let (phase, saving, signal) = plan.next()?;
        let after = Duration::from_millis(random.below(10) as u64);
        Some(Kill { phase, steps: 2, after, saving, signal })
    };
    let kills = disturbed(&place, &format!("{args} run"), "run", &mut next);
    let of = |what: &str| kills.iter().filter(|kill| kill.contains(what)).count();
    assert!(of("of the tokenizer") >= 2 && of("of the model") >= 1, "{kills:#?}");
    assert!(of("while it saved") >= 1, "{kills:#?}");
    assert_same(&place, "whole", "run");
}

/// The soak: pre-training, its tokenizer first, and fine-tuning of an average, each killed at random moments.
#[test]
#[ignore = "takes an hour: scripts/soak"]
fn an_hour() {
    let minutes = std::env::var("SOAK_MINUTES").ok().and_then(|text| text.parse().ok()).unwrap_or(60.0);
    let (place, mut random) = (Place::new(), Random::new("soak"));
    let pretrain = |steps: [usize; 2]| {
        let [tokenizer, model] = steps;
        format!(
            "pretrain --tokenizer-kind dvae --accept-tokenizer --tokenizer-steps {tokenizer} --steps {model} --batch-size 32 \
             --measure-images 500 --save-every 10 --keep-best token-accuracy --model-ema --model-ema-decay 0.99 --skip-spikes 9 \
             --report-every 1 --threads 1 --resume auto --out"
        )
    };
    let finetune = |steps: usize| {
        format!(
            "finetune --init whole-pretrain --labels 1000 --validation 0.05 --steps {steps} --batch-size 32 --model-ema --model-ema-decay 0.99 \
             --save-every 10 --keep-best loss --report-every 1 --threads 1 --resume auto --out"
        )
    };
    // So many steps as fill the time, by the speed of a short run.
    let begun = Instant::now();
    place.good(&format!("{} speed", pretrain([40, 40])));
    let both = begun.elapsed().as_secs_f64() / 40.0;
    let steps = (60.0 * minutes * 0.3 / both).max(20.0) as usize;
    let mut kills = 0;
    for (args, name, share) in
        [(pretrain([steps, steps]), "pretrain", 0.8), (finetune(steps / 3), "finetune", 0.2)]
    {
        println!("{args} {name}");
        let whole = format!("whole-{name}");
        let alone =
            place.command(&format!("{args} {whole}")).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let longest = (60_000.0 * minutes * share / 60.0) as usize;
        let end = Instant::now() + Duration::from_secs_f64(60.0 * minutes * share);
        let mut next = || {
            let signal = if random.below(5) == 0 { "TERM" } else { "KILL" };
            let (after, saving) = (random.below(longest), random.below(3) == 0);
            let after = Duration::from_millis(after as u64);
            (Instant::now() < end).then_some(Kill { phase: None, steps: 0, after, saving, signal })
        };
        kills += disturbed(&place, &format!("{args} {name}"), name, &mut next).len();
        assert!(alone.unwrap().wait().unwrap().success());
        assert_same(&place, &whole, name);
        let records = metrics(&place.path(name)).len();
        println!("{name}: the same model, state, tokenizer and {records} records as undisturbed, to the bit");
    }
    println!("{kills} kills");
    assert!(kills as f64 >= 50.0 * (minutes / 60.0).min(1.0), "too few kills");
}
