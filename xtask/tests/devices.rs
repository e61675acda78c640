//! Which device a verb runs on, and what is measured there.

use crate::common::{Place, SHORT};

#[test]
fn devices_that_are_not_there() {
    let place = Place::with_photos();
    let pretrain = "pretrain --data folder:photos --out run";
    for (flags, says) in [
        ("--device gpu", "--device gpu: expected auto, cpu, cuda, cuda:N or wgpu"),
        ("--device cuda:one", "--device cuda:one: expected the number of a GPU"),
        ("--device wgpu --precision bf16", "--device wgpu"),
    ] {
        place.bad(2, &format!("{pretrain} {flags}"), &[says]);
        place.bad(2, &format!("{pretrain} --dry-run {flags}"), &[says]);
    }
    if cfg!(feature = "cuda") {
        // Even where there is a GPU, there are not so many.
        place.bad(1, &format!("{pretrain} --device cuda:4000"), &["--device cuda:4000"]);
    } else {
        let help = "cargo xtask-cuda";
        place.bad(2, &format!("{pretrain} --device cuda"), &["--device cuda", "no CUDA support", help]);
    }
    if !cfg!(feature = "wgpu") {
        place.bad(2, &format!("{pretrain} --device wgpu"), &["no wgpu support", "--features wgpu"]);
    }
    assert_eq!(place.names("."), ["photos"], "nothing is begun on a device that is not there");
}

#[test]
fn gpus_that_cannot_add_up() {
    let place = Place::with_photos();
    let says = match cfg!(feature = "nccl") {
        true => "--gpu-sums nccl: NCCL adds up on NVIDIA's GPUs, and this is the CPU; take --device cuda",
        false => "--gpu-sums nccl: this build has no NCCL; take cargo xtask-nccl (--features nccl)",
    };
    for verb in ["pretrain", "pretrain --ranks 2", "finetune --from-scratch", "tokenizer train"] {
        place.bad(2, &format!("{verb} --data folder:photos --out run --device cpu --gpu-sums nccl"), &[says]);
    }
    assert_eq!(place.names("."), ["photos"], "nothing is begun");
}

#[test]
fn the_choice_is_printed() {
    let place = Place::new();
    let outcome = place.good("compare --device cpu --threads 1 --steps 1 --batch-size 1");
    assert!(outcome.stderr.contains("device: cpu, 1 thread, f32"), "{outcome}");
}

#[test]
fn recomputing_gives_the_same_checkpoint() {
    let place = Place::with_photos();
    let settings = "--device cpu --drop-path 0.2";
    let kept = place.good(&format!("pretrain {SHORT} {settings} --out kept --json")).answer();
    let again = place.good(&format!("pretrain {SHORT} {settings} --out again --recompute --json")).answer();
    assert_eq!(kept["loss"], again["loss"]);
    let weights = |run: &str| std::fs::read(place.path(run).join("last/model.safetensors")).unwrap();
    assert!(weights("kept") == weights("again"));
    let config = std::fs::read_to_string(place.path("again/run.toml")).unwrap();
    assert!(config.contains("recompute = true"), "{config}");

    // It changes no number, so a run may go on with it, and takes less memory.
    let more = place.good(&format!("pretrain {SHORT} {settings} --out kept --resume --recompute --json"));
    assert_eq!(more.answer()["loss"], kept["loss"]);
    let peak = |flag: &str| {
        let outcome = place.good(&format!("pretrain {SHORT} --dry-run --json {flag}"));
        outcome.answer()["peak_bytes"].as_u64().unwrap()
    };
    assert!(peak("--recompute") < peak(""));

    place.good("finetune --init kept --data folder:photos --steps 2 --batch-size 8 --recompute --out tuned");
    let config = std::fs::read_to_string(place.path("tuned/run.toml")).unwrap();
    assert!(config.contains("recompute = true"), "{config}");
}

const QUICK: &str = "--device cpu --preset tiny --side 32 --runs 1 --seconds 0.001";

#[test]
fn every_row_of_a_bench() {
    let place = Place::new();
    let rows = place.good(&format!("bench gpu {QUICK} --json")).json();
    assert_eq!(rows.len(), 1 + (5 * 3 + 2) + 13 + 11 + 5);
    for row in &rows {
        assert!(row["seconds"].as_f64().unwrap() > 0.0, "{row}");
        assert_eq!(row["gflop"].as_f64().unwrap() > 0.0, row["share_of_peak"].is_number(), "{row}");
        assert!(row["planned_bytes"].as_u64().unwrap() > 0, "{row}");
    }
    assert_eq!(rows[0]["share_of_peak"], 1.0);
    assert!(rows.iter().filter(|row| row["images_per_second"].is_number()).count() == 5);

    let table = place.good(&format!("bench {QUICK} --only steps"));
    assert_eq!(table.stdout.lines().count(), 1 + 1 + 5 + 1, "{table}");
    assert!(table.stdout.contains("tiny pre-training step with tokenizer"), "{table}");
}

/// Some of the rows: without the square product no shares of it.
#[test]
fn rows_by_their_names() {
    let place = Place::new();
    let bench = format!("bench {QUICK} --only convolutions,steps --matching");
    let rows = place.good(&format!("{bench} tokenizer --json")).json();
    let names: Vec<_> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert!(
        names.contains(&"tiny tokenizer alone, batch 2")
            && names.contains(&"tiny tokenizer 3x3 14x14 16 to 16"),
        "{names:?}"
    );
    assert!(rows.iter().all(|row| row["share_of_peak"].is_null() && row["gflop"].as_f64().unwrap() > 0.0));
    let table = place.good(&format!("{bench} inference"));
    assert_eq!(table.stdout.lines().count(), 1 + 1, "a heading and the row: {table}");
    place.bad(2, &format!("{bench} infrence"), &["--matching infrence", "prints the names"]);
}

#[test]
fn what_feeds_a_step() {
    let place = Place::new();
    let quick = "bench cpu --preset tiny --side 32 --runs 1 --seconds 0.001";
    let rows = place.good(&format!("{quick} --only data --json")).json();
    assert_eq!(rows.len(), 1 + 2);
    assert!(rows[1..].iter().all(|row| row["images_per_second"].as_f64().unwrap() > 1.0));

    let rows = place.good(&format!("{quick} --only steps --batch-size 2 --json")).json();
    assert_eq!(rows[1]["name"], "tiny inference, batch 1");

    place.bad(1, &format!("{quick} --only data --image none.jpg"), &["--image none.jpg"]);
    place.bad(2, &format!("{quick} --device cuda"), &["--device cuda", "bench gpu"]);
}

#[test]
fn segmenters_and_their_memory() {
    let place = Place::new();
    let bench = format!("bench cpu {QUICK} --only segmentation --json --image-size");
    let rows = place.good(&format!("{bench} 32")).json();
    let names: Vec<_> = rows[1..].iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["tiny UPerNet inference of 32, batch 1", "tiny SETR-PUP step of 32, batch 1"]);
    assert!(rows[0]["peak_bytes"].is_null());
    for row in &rows[1..] {
        assert_eq!(row["peak_bytes"].is_number(), cfg!(target_os = "linux"), "{row}");
        // A process holds its tensors, and more.
        assert!(row["peak_bytes"].as_u64().is_none_or(|peak| peak > row["planned_bytes"].as_u64().unwrap()));
    }
    place.bad(2, &format!("{bench} 40"), &["--image-size 40", "40"]);
    place.bad(2, &format!("{bench} 32 --alone none"), &["--alone none"]);
}

#[test]
fn peers_that_are_not_there() {
    let place = Place::new();
    let bench = format!("bench {QUICK} --only steps --peer torch --python");
    place.bad(1, &format!("{bench} no-such-python"), &["--peer torch", "no-such-python", "--python"]);
    place.bad(1, &format!("{bench} true"), &["--peer torch", "without an answer"]);
    place.bad(2, "bench --device cpu --seconds 0", &["--seconds 0"]);
}

/// A peer that writes down what it is asked, and answers half a second.
#[cfg(unix)]
const STAND_IN: &str = r#"#!/bin/sh
echo '{"hello": "stand-in"}'
while read -r question; do
    echo "$question" >> asked
    echo '{"time": 0.5}'
done
"#;

#[cfg(unix)]
#[test]
fn a_peer_prepares_what_it_is_asked_later() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    std::fs::write(place.path("stand-in"), STAND_IN).unwrap();
    std::fs::set_permissions(place.path("stand-in"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let rows = || {
        let asked = std::fs::read_to_string(place.path("asked")).unwrap();
        std::fs::remove_file(place.path("asked")).unwrap();
        let row = |line: &str| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["row"].as_str().unwrap().to_owned()
        };
        let mut rows: Vec<_> = asked.lines().map(row).collect();
        let all = rows.len();
        rows.dedup();
        (rows, all)
    };
    let bench = format!("bench {QUICK} --only steps --peer torch --python ./stand-in");
    let said = place.good(&format!("{bench} --prepare-peer"));
    assert!(said.stdout.trim().is_empty(), "nothing is measured: {}", said.stdout);
    let (prepared, all) = rows();
    assert_eq!(prepared, ["product", "pretrain", "tokenizer", "finetune", "inference"]);
    assert_eq!(all, prepared.len(), "each is asked for once");

    let measured = place.good(&format!("{bench} --json")).json();
    assert_eq!(measured[1]["peer_seconds"], 0.5);
    assert_eq!(rows().0, prepared);

    let bench = bench.replace("steps", "products,convolutions,layers");
    let measured = place.good(&format!("{bench} --json")).json();
    let beside = measured.iter().filter(|row| row["peer_seconds"].is_number()).count();
    assert_eq!(
        beside,
        1 + (5 * 3 + 2) + 13 + 2,
        "all products and convolutions, and attention there and back"
    );
    assert_eq!(rows().0, ["product", "convolution", "attention"]);
}

#[test]
fn a_device_is_compared_with_the_cpu() {
    let place = Place::new();
    let rows = place.good("compare --device cpu --steps 3 --batch-size 2 --json").json();
    assert_eq!(rows.len(), 3);
    let loss = |i: usize| rows[i]["device"]["loss"].as_f64().unwrap();
    assert_eq!(rows[2]["device"], rows[2]["cpu"]);

    // Rounded factors move the loss a little: neither by nothing nor by much.
    let rows = place.good("compare --device cpu --precision bf16 --steps 3 --batch-size 2 --json").json();
    let [device, cpu] = ["device", "cpu"].map(|side| rows[2][side]["loss"].as_f64().unwrap());
    assert!(device != cpu && (device / cpu - 1.0).abs() < 0.02, "{device} and {cpu}");
    assert!(loss(2) < loss(0), "it learns: {rows:?}");
    place.bad(2, "compare --steps 0", &["--steps"]);
}
