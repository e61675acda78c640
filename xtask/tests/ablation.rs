//! Ablations: small ones, stopped and gone on with.

use crate::common::masks::DATA;
use crate::common::{Place, ranks};
use serde_json::Value;
use std::fs;

/// Two rows that are pre-trained and one that is not; `scenes` take longest.
const SMALL: &str = "ablate --data folder:photos --preset tiny --image-size 16 --steps 4 --batch-size 8 --labels 12 --finetune-steps 2 \
                     --longer 2 --seeds 1";

fn lines(place: &Place, out: &str) -> Vec<Value> {
    let text = fs::read_to_string(place.path(out).join("results.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn rows_are_judged_once_and_more_are_added() {
    let place = Place::with_photos();
    let line = |more: &str| format!("{SMALL} --judges finetune,linear,knn --out all {more}");
    let done = place.good(&line("--rows pixels,scratch --json")).answer();
    let rows: Vec<&str> =
        done["rows"].as_array().unwrap().iter().filter_map(|row| row["row"].as_str()).collect();
    assert_eq!(rows, ["pixels", "scratch", "pixels of the images"]);
    let first = lines(&place, "all");
    // Pre-trained and judged by three; fine-tuned from random values; the pixels of the images by both probes.
    assert_eq!(first.len(), 4 + 1 + 2, "{first:?}");
    let table = fs::read_to_string(place.path("all/table.md")).unwrap();
    assert!(
        table.contains("| pixels instead of visual tokens |") && table.contains("81.04 | 41.38"),
        "{table}"
    );
    assert!(fs::read_to_string(place.path("all/plot.svg")).unwrap().contains("<circle"));

    // More rows: what is there is not found again.
    let before =
        fs::metadata(place.path("all/pixels/seed-0/pretrain/metrics.jsonl")).unwrap().modified().unwrap();
    place.good(&line("--rows pixels,longer,scratch"));
    let second = lines(&place, "all");
    assert_eq!(second[..first.len()], first);
    assert_eq!(second.len(), first.len() + 4, "{second:?}");
    let after =
        fs::metadata(place.path("all/pixels/seed-0/pretrain/metrics.jsonl")).unwrap().modified().unwrap();
    assert_eq!(before, after);
    // Twice as long.
    let steps = |row: &str| {
        place
            .metrics(&format!("all/{row}/seed-0/pretrain"))
            .iter()
            .filter_map(|of| of["total"].as_u64())
            .max()
    };
    assert_eq!((steps("pixels"), steps("longer")), (Some(4), Some(8)));

    // A line that is lost is found again, to the same bit; the runs it is from go on where they stand.
    let text = fs::read_to_string(place.path("all/results.jsonl")).unwrap();
    let (kept, lost): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| !line.contains("\"finetune\""));
    fs::write(place.path("all/results.jsonl"), format!("{}\n", kept.join("\n"))).unwrap();
    place.good(&line("--rows pixels,longer,scratch"));
    let again = fs::read_to_string(place.path("all/results.jsonl")).unwrap();
    assert!(lost.iter().all(|line| again.contains(line)), "{lost:?}\n{again}");

    let other = line("--rows pixels").replace("--labels 12", "--labels 9");
    place.bad(1, &other, &["is of another ablation: --labels was 12, is 9"]);
}

/// Images with masks are judged by segmentation of themselves, with their head and rate.
#[test]
fn images_with_masks_are_judged_by_them() {
    let place = Place::with_masks();
    let small = "ablate --preset tiny --image-size 16 --steps 4 --batch-size 8 --segment-steps 2 --seeds 1 --rows pixels,scratch";
    let line =
        format!("{small} {DATA} --labels 9 --head upernet --head-channels 8 --segment-lr 1e-3 --out all");
    place.good(&line);
    let found = lines(&place, "all");
    let of: Vec<_> =
        found.iter().map(|of| (of["row"].as_str().unwrap(), of["what"].as_str().unwrap())).collect();
    let commonest = "the commonest class everywhere";
    assert_eq!(
        of,
        [("pixels", "pretrain"), (commonest, "segment"), ("pixels", "segment"), ("scratch", "segment")]
    );
    let value =
        |row| found.iter().find(|of| of["row"] == row && of["what"] == "segment").unwrap()["value"].as_f64();
    // As whoever fine-tunes by hand would find.
    let tune = format!(
        "finetune --task segment {DATA} --labels 9 --head upernet --head-channels 8 --lr 1e-3 --steps 2 --json"
    );
    let tuned = place.good(&format!("{tune} --init all/pixels/seed-0/pretrain --out by-hand")).answer();
    assert_eq!(value("pixels"), tuned["miou"].as_f64());
    assert_eq!(value(commonest), tuned["miou_of_commonest"].as_f64());
    let scratch = "--from-scratch --preset tiny --image-size 16";
    let tuned = place.good(&format!("{tune} {scratch} --out from-scratch")).answer();
    assert_eq!(value("scratch"), tuned["miou"].as_f64());
    let table = fs::read_to_string(place.path("all/table.md")).unwrap();
    assert!(table.contains("| | segmentation, mIoU |") && table.contains(commonest), "{table}");

    place.bad(
        2,
        &format!("{line} --judges knn"),
        &["--judges knn: images with masks are judged by segment alone"],
    );
}

#[test]
fn what_no_ablation_can_have() {
    let place = Place::with_photos();
    place.write("full/note.txt", "mine");
    place.bad(1, &format!("{SMALL} --out full"), &["something else is in this folder"]);
    for (given, instead, says) in [
        ("--seeds 1", "--seeds 0", "--seeds 0: expected 1 to"),
        ("--longer 2", "--longer 1", "--longer 1: expected more than 1"),
        ("--labels 12", "--labels 0", "--labels 0: expected at least 1"),
        ("--image-size 16", "--image-size 14 --patch-size 7 --rows dvae", "row dvae: patches of 7x7"),
    ] {
        place.bad(2, &format!("{} --out no", SMALL.replace(given, instead)), &[says]);
    }
    place.bad(1, "ablate --data folder:nothing --out no", &["nothing"]);
    assert!(!place.path("no").exists());

    let plan = place.good(&format!("{SMALL} --rows beit,longer --dry-run --json --out no")).answer();
    assert_eq!((plan["steps"].as_u64(), plan["images_per_step"].as_u64()), (Some(4 + 8), Some(8)), "{plan}");
    assert!(!place.path("no").exists());
}

/// Stopped in the middle of pre-training, it goes on there and finds the same to the bit.
#[test]
#[cfg(unix)]
fn what_is_stopped_goes_on() {
    let place = Place::with_photos();
    let small = SMALL.replace("--steps 4", "--steps 60");
    let line = |out: &str| format!("{small} --rows pixels --judges finetune --out {out}");
    place.good(&line("whole"));
    let mut child = ranks::start(&place, &line("run"), Vec::new());
    ranks::wait_for(&place, &mut child, "run/pixels/seed-0/pretrain/metrics.jsonl");
    ranks::signal(&child, "TERM");
    let [stopped] = ranks::ended([child]);
    assert_eq!(stopped.code, Some(143), "{stopped}");
    assert!(
        stopped.stderr.contains("error: stopped: what was found stands in run; the same command goes on"),
        "{stopped}"
    );
    assert!(!place.path("run/results.jsonl").exists(), "nothing was found yet");
    place.good(&line("run"));
    assert_eq!(lines(&place, "run"), lines(&place, "whole"));
}
