//! Several processes that train together: the same bits as one, started in every way, and an end that is clear whatever fails.
#![cfg(unix)] // Signals as on Unix.

mod common;

use common::{Outcome, Place};
use std::fs;
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Steps of four micro-batches: what one, two and four processes share.
const STEPS: &str = "--update-freq 4 --batch-size 4 --threads 1 --steps 3";
/// Its masks hide different numbers of patches, and its tokenizer is trained by all processes as well.
const SHORT: &str = "pretrain --data folder:photos --tokenizer-kind dvae --accept-tokenizer --tokenizer-steps 2 --drop-path 0.2";
/// Long enough to be disturbed.
const LONG: &str = "pretrain --data folder:photos --tokenizer-kind kmeans --accept-tokenizer --tokenizer-steps 1 --update-freq 4 \
                    --batch-size 4 --threads 1 --report-every 1 --save-every 2";

/// A port that is free now, of those that are not given out by the system, and that no other test has.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + (std::process::id() * 97 % 18_000) as u16;
    let next = || first + NEXT.fetch_add(1, Ordering::Relaxed);
    std::iter::repeat_with(next).find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok()).expect("a port")
}

/// Parameters and state of training of the last checkpoint, bit by bit.
fn assert_same_end(place: &Place, one: &str, other: &str) {
    let [one, found] = [one, other].map(|run| place.contents(&format!("{run}/last/")));
    assert!(one.len() >= 5, "{:?}", one.keys());
    for (name, bytes) in &one {
        assert!(found.get(name) == Some(bytes), "{other}: {} differs", name.display());
    }
}

/// The variables of each of so many processes, as a launcher sets them.
type Variables = fn(rank: usize, of: usize, port: u16) -> Vec<(&'static str, String)>;

fn torchrun(rank: usize, of: usize, port: u16) -> Vec<(&'static str, String)> {
    let mut variables = pytorch_job(rank, of, port);
    variables.extend([("LOCAL_RANK", rank.to_string()), ("LOCAL_WORLD_SIZE", of.to_string())]);
    variables
}

fn pytorch_job(rank: usize, of: usize, port: u16) -> Vec<(&'static str, String)> {
    vec![
        ("RANK", rank.to_string()),
        ("WORLD_SIZE", of.to_string()),
        ("MASTER_ADDR", "localhost".to_owned()),
        ("MASTER_PORT", port.to_string()),
    ]
}

fn srun(rank: usize, of: usize, port: u16) -> Vec<(&'static str, String)> {
    vec![
        ("SLURM_JOB_ID", (40_000 + u32::from(port) - 10_000).to_string()),
        ("SLURM_STEP_ID", "0".to_owned()),
        ("SLURM_PROCID", rank.to_string()),
        ("SLURM_NTASKS", of.to_string()),
        ("SLURM_LOCALID", rank.to_string()),
        ("SLURM_STEP_TASKS_PER_NODE", of.to_string()),
        ("SLURM_STEP_NODELIST", "localhost".to_owned()),
    ]
}

fn indexed_job(rank: usize, _: usize, port: u16) -> Vec<(&'static str, String)> {
    vec![
        ("JOB_COMPLETION_INDEX", rank.to_string()),
        ("MASTER_ADDR", "localhost".to_owned()),
        ("MASTER_PORT", port.to_string()),
    ]
}

/// Starts one of several processes.
fn start(place: &Place, args: &str, variables: Vec<(&'static str, String)>) -> Child {
    let mut command = place.command(args);
    command.envs(variables).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Two processes with these arguments, the second with others.
fn pair(place: &Place, [first, second]: [&str; 2], variables: Variables) -> [Child; 2] {
    let port = free_port();
    [(0, first), (1, second)].map(|(rank, args)| start(place, args, variables(rank, 2, port)))
}

fn ended(children: [Child; 2]) -> [Outcome; 2] {
    children.map(|child| Outcome::of("", child.wait_with_output().unwrap()))
}

fn signal(child: &Child, name: &str) {
    let status =
        std::process::Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status();
    assert!(status.unwrap().success());
}

fn wait_for(place: &Place, child: &mut Child, name: &str) {
    while !place.path(name).exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it wrote {name}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The last line that a process said.
fn last(outcome: &Outcome) -> &str {
    outcome.stderr.lines().last().unwrap_or_default()
}

#[test]
fn any_number_of_processes_gives_the_same_bits() {
    let place = Place::with_photos();
    place.good(&format!("{SHORT} {STEPS} --out start"));
    place.write("pairs/classes.txt", "dark\nbright\n");
    for split in ["train", "test"] {
        for folder in ["images", "masks"] {
            fs::create_dir_all(place.path(&format!("pairs/{folder}/{split}"))).unwrap();
        }
        for number in 0..16_u8 {
            let side = common::SIDE;
            let bright = |x: u32, y: u32| x + y > 10 + 2 * u32::from(number);
            let image = image::RgbImage::from_fn(side, side, |x, y| {
                image::Rgb([if bright(x, y) { 200 } else { 30 }, (x * 8) as u8, number * 9])
            });
            let mask = image::GrayImage::from_fn(side, side, |x, y| image::Luma([u8::from(bright(x, y))]));
            image.save(place.path(&format!("pairs/images/{split}/{number:02}.png"))).unwrap();
            mask.save(place.path(&format!("pairs/masks/{split}/{number:02}.png"))).unwrap();
        }
    }
    let masks = "--data masks:pairs/images,pairs/masks,pairs/classes.txt";
    for (name, args) in [
        ("pretrain", format!("{SHORT} {STEPS}")),
        (
            "finetune",
            format!(
                "finetune --init start --data folder:photos {STEPS} --model-ema --model-ema-decay 0.9 --drop-path 0.2"
            ),
        ),
        ("segment", format!("finetune --task segment --init start {masks} {STEPS}")),
        (
            "tokenizer",
            "tokenizer train --data folder:photos --steps 3 --batch-size 4 --update-freq 4 --threads 1"
                .to_owned(),
        ),
    ] {
        let one = place.good(&format!("{args} --out {name}-1 --json")).answer();
        for of in [2, 4] {
            let many = place.good(&format!("{args} --ranks {of} --out {name}-{of} --json"));
            let files = |of: usize| -> Vec<_> {
                let parts = ["last/", "tokenizer", "pictures"];
                parts
                    .map(|part| place.contents(&format!("{name}-{of}/{part}")))
                    .into_iter()
                    .flatten()
                    .collect()
            };
            assert!(files(1).len() > 2 && files(1) == files(of), "{name}: {of} processes differ");
            assert_eq!(many.json().iter().filter(|line| line.get("step").is_none()).count(), 1, "one answer");
            for (key, value) in many.answer().as_object().unwrap() {
                let is_path = ["run", "checkpoint", "tokenizer", "picture"].contains(&key.as_str());
                assert!(is_path || *value == one[key], "{name}, {of} processes: {key}");
            }
            assert_eq!(
                place.names(&format!("{name}-{of}/logs")).len(),
                of - 1,
                "a log for each but the first"
            );
        }
    }
}

/// Each image is looked at once, and progress is saved and gone on with.
#[test]
fn evaluations_are_shared() {
    let place = Place::with_photos();
    place.good("finetune --from-scratch --data folder:photos --steps 2 --batch-size 8 --out tuned");
    let evaluate = "evaluate --model tuned --data folder:photos --batch-size 5 --save-every 1 --per-class --threads 1 --json";
    let one = place.good(&format!("{evaluate} --out one"));
    for of in [2, 3] {
        let many = place.good(&format!("{evaluate} --out many-{of} --ranks {of}"));
        assert_eq!(one.answer(), many.answer(), "{of} processes");
        assert_eq!(many.json().len(), 1, "rank 0 answers for all");
        for file in ["per_class.csv", "confusion.csv", "progress.json"] {
            let [one, many] = ["one".to_owned(), format!("many-{of}")]
                .map(|out| fs::read(place.path(&out).join(file)).unwrap());
            assert!(one == many, "{file} of {of} processes");
        }
        let resumed = place.good(&format!("{evaluate} --out many-{of} --resume --ranks 4"));
        assert_eq!(one.answer(), resumed.answer());
    }
    for judge in ["knn --k 3", "linear"] {
        let probe =
            format!("probe {judge} --model tuned --data folder:photos --batch-size 5 --threads 1 --json");
        let [one, many] = ["", "--ranks 3"].map(|ranks| place.good(&format!("{probe} {ranks}")).answer());
        assert_eq!(one, many, "{judge}");
    }
    place.good("finetune --from-scratch --data folder:photos --steps 2 --batch-size 8 --seed 1 --out other");
    let [first, _] = ended(pair(&place, [evaluate, &evaluate.replace("tuned", "other")], torchrun));
    assert!(last(&first).contains("rank 1 of this run is not like rank 0: the model was "), "{first}");
}

/// Those that were killed were more than those that go on, and the other way round.
#[test]
fn another_number_of_processes_goes_on() {
    let place = Place::with_photos();
    place.good(&format!("{LONG} --steps 8 --out whole"));
    for (before, after) in [("--ranks 4", "--ranks 2"), ("", "--ranks 4"), ("--ranks 2", "")] {
        place.good(&format!("{LONG} --steps 8 --out part --overwrite {before}"));
        fs::remove_dir_all(place.path("part/checkpoints/step-0000008")).unwrap();
        let resumed = place.good(&format!("pretrain --resume --out part --threads 1 {after}"));
        assert!(resumed.stderr.contains("pretrain 7/8"), "{resumed}");
        assert_same_end(&place, "whole", "part");
    }
}

#[test]
fn every_launcher_starts_the_same_run() {
    let place = Place::with_photos();
    let args = format!("{SHORT} {STEPS}");
    place.good(&format!("{args} --out one"));
    let launchers: [(&str, Variables, &str, &str); 5] = [
        ("torchrun", torchrun, "", "by RANK and WORLD_SIZE, of torchrun; 0 of 2 on this machine"),
        ("job", pytorch_job, "", "with no LOCAL_RANK: taken for one process a machine"),
        ("srun", srun, "", "by SLURM_PROCID, of srun; 0 of 2 on this machine"),
        ("indexed", indexed_job, "--world-size 2", "by JOB_COMPLETION_INDEX"),
        (
            "flags",
            |_, _, _| Vec::new(),
            "--world-size 2 --master-addr localhost --rank",
            "by --rank and --world-size",
        ),
    ];
    for (name, variables, flags, says) in launchers {
        let port = free_port();
        let children = [0, 1].map(|rank| {
            let flags = if name == "flags" {
                format!("{flags} {rank} --master-port {port}")
            } else {
                flags.to_owned()
            };
            start(&place, &format!("{args} {flags} --out {name}"), variables(rank, 2, port))
        });
        let [first, second] = ended(children);
        assert_eq!((first.code, second.code), (Some(0), Some(0)), "{first}\n{second}");
        assert!(first.stderr.contains(says), "expected `{says}`\n{first}");
        assert_eq!((second.stdout.as_str(), second.stderr.as_str()), ("", ""), "rank 0 speaks for all");
        let log = fs::read_to_string(place.path(&format!("{name}/logs/rank-1.log"))).unwrap();
        assert!(log.starts_with("rank 1 of 2") && log.contains("pretrain: 0 of 3 steps"), "{log}");
        assert_same_end(&place, "one", name);
    }
}

#[test]
fn processes_that_do_not_belong_together_are_refused() {
    let place = Place::with_photos();
    place.photos("others", 2);
    let args = format!("{SHORT} {STEPS} --out run");
    for (other, says) in [
        (
            format!("{args} --lr 0.001"),
            "rank 1 of this run is not like rank 0: --lr is 0.001 there and not given in rank 0",
        ),
        (format!("{args} --mask-ratio 0.6"), "--mask-ratio is 0.6 there and 0.4 in rank 0"),
        (
            args.replace("folder:photos", "folder:others"),
            "--data is folder:others there and folder:photos in rank 0",
        ),
        (args.replace("--batch-size 4", "--batch-size 8"), "--batch-size is 8 there and 4 in rank 0"),
        (format!("{args} --precision bf16"), "--precision is bf16 there and f32 in rank 0"),
    ] {
        let [first, second] = ended(pair(&place, [&args, &other], torchrun));
        assert_eq!(first.code, Some(1), "{first}");
        assert!(
            last(&first).starts_with("error: ") && last(&first).contains(says),
            "expected `{says}`\n{first}"
        );
        assert_eq!((second.code, second.stderr.as_str()), (Some(1), ""), "{second}");
        assert!(!place.path("run").exists(), "nothing was begun");
    }
    // The same names, another set of files.
    fs::remove_file(place.path("others/train/class-0/03.png")).unwrap();
    let elsewhere = Place::new();
    elsewhere.photos("photos", 3);
    fs::remove_file(elsewhere.path("photos/train/class-0/03.png")).unwrap();
    let port = free_port();
    let first = start(&place, &args, torchrun(0, 2, port));
    let second = start(&elsewhere, &args, torchrun(1, 2, port));
    let [first, _] = ended([first, second]);
    assert!(last(&first).contains("not like rank 0: the data is 47 images, "), "{first}");

    let port = free_port();
    let first = start(&place, &args, torchrun(0, 2, port));
    let second = start(&place, &args, torchrun(1, 3, port));
    let [first, _] = ended([first, second]);
    assert!(last(&first).contains("rank 1 was started as one of 3 ranks, rank 0 as one of 2"), "{first}");
}

#[test]
fn who_does_not_come_or_cannot_is_said() {
    let place = Place::with_photos();
    let args = format!("{SHORT} {STEPS} --out run --rank-timeout 0.5");
    let taken = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    for (port, says) in [
        (port, format!("rank 0 cannot listen at port {port}: the port is in use")),
        (free_port(), "rank 1 has not come to rank 0 within 0.5 seconds".to_owned()),
    ] {
        let output = start(&place, &args, torchrun(0, 2, port)).wait_with_output().unwrap();
        Outcome::of("", output).fails(1, &["the ranks of this run cannot meet: ", &says]);
    }
    let output = start(&place, &args, torchrun(1, 2, free_port())).wait_with_output().unwrap();
    Outcome::of("", output).fails(1, &["rank 1 does not find rank 0 at localhost:"]);
    assert!(!place.path("run").exists());
    for (flags, says) in [
        ("--ranks 0", "--ranks 0: expected 1 to 1024"),
        ("--world-size 2", "--world-size 2 without --rank"),
        (
            "--rank 2 --world-size 2 --master-addr a",
            "rank 2 of 2 (by --rank and --world-size): expected a rank below 2",
        ),
        ("--rank 1 --world-size 2", "expected --master-addr or MASTER_ADDR"),
        (
            "--rank-timeout 0 --rank 0 --world-size 2 --master-addr localhost",
            "--rank-timeout 0: expected seconds",
        ),
    ] {
        place.bad(
            2,
            &format!("{args} {flags}").replace("--rank-timeout 0.5 --rank-timeout", "--rank-timeout"),
            &[says],
        );
    }
    place.bad(
        2,
        &format!("{args} --update-freq 3 --ranks 2").replace("--update-freq 4 ", ""),
        &["--update-freq 3: the micro-batches of a step are shared by 2 processes; expected a multiple of 2"],
    );
    place.bad(1, "pretrain --data folder:nowhere --ranks 2", &["nowhere"]);
}

/// What a run of two looks like after it was disturbed and went on: as if nothing had been.
fn goes_on(place: &Place, steps: u64) {
    if place.path("run/run.toml").exists() {
        place.good("pretrain --resume --out run --threads 1 --ranks 2");
        place.nothing_half_written("run");
    } else {
        place.good(&format!("{LONG} --steps {steps} --out run --overwrite --ranks 2"));
    }
    assert_same_end(place, "whole", "run");
}

/// Kills one of two at so many moments, spread over the run.
fn kills(moments: u32) {
    let place = Place::with_photos();
    let args = format!("{LONG} --steps 12 --rank-timeout 5 --out");
    let begun = Instant::now();
    place.good(&format!("{args} whole --ranks 2"));
    let takes = begun.elapsed();
    for moment in 0..moments {
        let _ = fs::remove_dir_all(place.path("run"));
        let args = format!("{args} run");
        let mut children = pair(&place, [&args, &args], torchrun);
        std::thread::sleep(takes * (2 * moment + 1) / (2 * moments));
        let victim = moment as usize % 2;
        let _ = children[victim].kill();
        let killed = Instant::now();
        let other = &mut children[1 - victim];
        while other.try_wait().unwrap().is_none() {
            assert!(killed.elapsed() < Duration::from_secs(15), "the other goes on");
            std::thread::sleep(Duration::from_millis(5));
        }
        let outcomes = ended(children);
        if outcomes[victim].code.is_none() {
            let said = &outcomes[1 - victim];
            let has_ended = format!("rank {victim} has ended");
            let never_met = "the ranks of this run cannot meet";
            // It may have been at the end already, or not begun to meet.
            let clear =
                said.code == Some(0) || last(said).contains(&has_ended) || last(said).contains(never_met);
            assert!(clear, "{said}");
        }
        goes_on(&place, 12);
    }
}

#[test]
fn a_process_that_is_killed_ends_the_other_and_loses_nothing() {
    kills(3);
}

#[test]
#[ignore = "takes a minute; scripts/slow runs it"]
fn a_process_that_is_killed_at_any_of_ten_moments() {
    kills(10);
}

#[test]
fn a_process_that_hangs_is_named() {
    let place = Place::with_photos();
    let args = format!("{LONG} --steps 100000 --out run --rank-timeout 1");
    for (hangs, says) in
        [(1, "rank 1 has said nothing for 1 seconds"), (0, "rank 0 has said nothing for 1 seconds")]
    {
        let _ = fs::remove_dir_all(place.path("run"));
        let mut children = pair(&place, [&args, &args], torchrun);
        wait_for(&place, &mut children[0], "run/last/model.safetensors");
        signal(&children[hangs], "STOP");
        let other = &mut children[1 - hangs];
        let begun = Instant::now();
        while other.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(20), "it waits for ever");
            std::thread::sleep(Duration::from_millis(5));
        }
        signal(&children[hangs], "KILL");
        let said = &ended(children)[1 - hangs];
        assert_eq!(said.code, Some(1), "{said}");
        assert!(last(said).contains(says), "{said}");
        // What rank 0 had learnt by then is saved.
        place.nothing_half_written("run");
        assert!(place.path("run/last/model.safetensors").is_file());
    }
}

#[test]
fn whoever_is_asked_to_end_all_save_and_leave() {
    let place = Place::with_photos();
    place.good(&format!("{LONG} --steps 40 --out whole"));
    for asked in [1, 0] {
        let _ = fs::remove_dir_all(place.path("run"));
        let args = format!("{LONG} --steps 40 --out run");
        let mut children = pair(&place, [&args, &args], torchrun);
        wait_for(&place, &mut children[0], "run/last/model.safetensors");
        signal(&children[asked], "TERM");
        let [first, second] = ended(children);
        assert_eq!((first.code, second.code), (Some(143), Some(143)), "{first}\n{second}");
        assert!(last(&first).contains("of 40 steps are saved in run/checkpoints/step-"), "{first}");
        goes_on(&place, 40);
    }
    // The process that started them passes it on.
    let mut parent =
        start(&place, &format!("{LONG} --steps 100000 --out run --overwrite --ranks 2"), Vec::new());
    std::thread::sleep(Duration::from_millis(300));
    wait_for(&place, &mut parent, "run/logs/rank-1.log");
    wait_for(&place, &mut parent, "run/last/model.safetensors");
    signal(&parent, "TERM");
    let outcome = Outcome::of("", parent.wait_with_output().unwrap());
    outcome.fails(143, &["stopped: ", "of 100000 steps are saved"]);

    // Where it is killed, they do not go on without it.
    let mut parent = start(&place, &format!("{LONG} --steps 100000 --out gone --ranks 2"), Vec::new());
    wait_for(&place, &mut parent, "gone/last/model.safetensors");
    parent.kill().unwrap();
    let begun = Instant::now();
    while cfg!(target_os = "linux") && place.path("gone/run.lock").exists() {
        assert!(begun.elapsed() < Duration::from_secs(20), "they go on");
        std::thread::sleep(Duration::from_millis(10));
    }
    place.nothing_half_written("gone");
    parent.wait().unwrap();
}

#[test]
fn what_was_learnt_is_saved_where_another_ends() {
    let place = Place::with_photos();
    let args = format!("{} --steps 100000 --out run", LONG.replace("--save-every 2", "--save-every 100000"));
    let mut children = pair(&place, [&args, &args], torchrun);
    while !place.path("run/metrics.jsonl").exists()
        || fs::metadata(place.path("run/metrics.jsonl")).unwrap().len() < 4000
    {
        assert!(children[0].try_wait().unwrap().is_none(), "it ended");
        std::thread::sleep(Duration::from_millis(5));
    }
    signal(&children[1], "KILL");
    let [first, _] = ended(children);
    assert_eq!(first.code, Some(1), "{first}");
    assert!(first.stderr.contains("saved before it ends: run/checkpoints/step-"), "{first}");
    assert!(last(&first).contains("rank 1 has ended"), "{first}");
    place.nothing_half_written("run");
    assert!(place.path("run/last/model.safetensors").is_file());
}

/// The pictures of one machine are damaged.
#[test]
fn what_fails_in_another_process_is_told_by_rank_0() {
    let (place, elsewhere) = (Place::with_photos(), Place::with_photos());
    for number in 0..8 {
        elsewhere.write(&format!("photos/train/class-1/{number:02}.png"), "no picture");
    }
    let args = format!("{LONG} --steps 10 --out run");
    let port = free_port();
    let first = start(&place, &args, torchrun(0, 2, port));
    let second = start(&elsewhere, &args, torchrun(1, 2, port));
    let [first, second] = ended([first, second]);
    assert_eq!((first.code, second.code), (Some(1), Some(1)), "{first}\n{second}");
    assert!(last(&first).starts_with("error: rank 0 of this run cannot go on: rank 1 failed: "), "{first}");
    assert_eq!(second.stderr, "", "rank 0 tells it");
}
