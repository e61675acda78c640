//! Several processes of which one fails, hangs, is killed or is not like the others: an end that is clear, and nothing is lost.
#![cfg(unix)] // Signals as on Unix.

use crate::common::ranks::{
    LONG, SHORT, STEPS, assert_same_end, ended, free_port, last, pair, signal, start, torchrun, wait_for,
    wait_until_saved,
};
use crate::common::{Outcome, Place};
use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

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
        (format!("{args} --gpu-sums host"), "--gpu-sums is host there and auto in rank 0"),
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
    kills(2);
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
        wait_until_saved(&place, &mut children[0], "run");
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

/// Of four, of which some wait for one that waits itself.
#[test]
fn the_process_that_hangs_is_named_not_one_that_waits() {
    let place = Place::with_photos();
    let args = format!("{LONG} --steps 100000 --out run --rank-timeout 4");
    let port = free_port();
    let mut children = [0, 1, 2, 3].map(|rank| start(&place, &args, torchrun(rank, 4, port)));
    wait_until_saved(&place, &mut children[0], "run");
    signal(&children[3], "STOP");
    let begun = Instant::now();
    while children[0].try_wait().unwrap().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it waits for ever");
        std::thread::sleep(Duration::from_millis(5));
    }
    signal(&children[3], "KILL");
    let [first, ..] = ended(children);
    assert!(last(&first).contains("rank 0 of this run cannot go on: rank 3 has said nothing"), "{first}");
}

#[test]
fn whoever_is_asked_to_end_all_save_and_leave() {
    let place = Place::with_photos();
    place.good(&format!("{LONG} --steps 20 --out whole"));
    for asked in [1, 0] {
        let _ = fs::remove_dir_all(place.path("run"));
        let args = format!("{LONG} --steps 20 --out run");
        let mut children = pair(&place, [&args, &args], torchrun);
        wait_until_saved(&place, &mut children[0], "run");
        signal(&children[asked], "TERM");
        let [first, second] = ended(children);
        assert_eq!((first.code, second.code), (Some(143), Some(143)), "{first}\n{second}");
        assert!(
            last(&first).contains("of 20 steps of pretrain are saved in run/checkpoints/step-"),
            "{first}"
        );
        goes_on(&place, 20);
    }
    // The process that started them passes it on.
    let mut parent = start(&place, &format!("{LONG} --steps 100000 --out passed --ranks 2"), Vec::new());
    wait_for(&place, &mut parent, "passed/logs/rank-1.log");
    wait_until_saved(&place, &mut parent, "passed");
    signal(&parent, "TERM");
    let outcome = Outcome::of("", parent.wait_with_output().unwrap());
    outcome.fails(143, &["stopped: ", "of 100000 steps of pretrain are saved"]);

    // Where it is killed, they do not go on without it.
    let mut parent = start(&place, &format!("{LONG} --steps 100000 --out gone --ranks 2"), Vec::new());
    wait_until_saved(&place, &mut parent, "gone");
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
