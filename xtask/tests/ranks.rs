//! Several processes that train together: the same bits as one, started in every way.
#![cfg(unix)] // Signals as on Unix.

use crate::common::Place;
use crate::common::masks::DATA;
use crate::common::ranks::{
    LONG, SHORT, STEPS, Variables, assert_same_end, ended, free_port, indexed_job, last, pair, pytorch_job,
    srun, start, torchrun,
};
use std::fs;

#[test]
fn any_number_of_processes_gives_the_same_bits() {
    let place = Place::with_photos();
    place.good(&format!("{SHORT} {STEPS} --out start"));
    place.masks(16, 16);
    for (name, args) in [
        ("pretrain", format!("{SHORT} {STEPS}")),
        (
            "finetune",
            format!(
                "finetune --init start --data folder:photos {STEPS} --model-ema --model-ema-decay 0.9 --drop-path 0.2"
            ),
        ),
        ("segment", format!("finetune --task segment --init start {DATA} {STEPS}")),
        (
            "tokenizer",
            "tokenizer train --data folder:photos --steps 3 --batch-size 4 --update-freq 4 --threads 1"
                .to_owned(),
        ),
    ] {
        let one = place.good(&format!("{args} --out {name}-1 --json")).answer();
        // Two processes have two micro-batches each; four have one, and share the moments of the optimiser.
        for of in if name == "pretrain" { vec![2, 4] } else { vec![4] } {
            let shared = if of == 4 && name != "tokenizer" { "--shard-optimiser" } else { "" };
            let many = place.good(&format!("{args} --ranks {of} {shared} --out {name}-{of} --json"));
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
    let embed = "embed --model tuned --data folder:photos --batch-size 5 --threads 1";
    place.good(&format!("{embed} --out one.safetensors"));
    place.good(&format!("{embed} --out many.safetensors --ranks 3"));
    for end in ["safetensors", "safetensors.names.txt"] {
        let files = ["one", "many"].map(|name| fs::read(place.path(&format!("{name}.{end}"))).unwrap());
        assert!(files[0] == files[1], "{end}");
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
    // The third is what a scheduler does: the same command line before and after.
    let scheduled = format!("{LONG} --steps 8 --out part --resume auto");
    let begin = format!("{LONG} --steps 8 --out part");
    let go_on = "pretrain --resume --out part --threads 1".to_owned();
    for (begin, before, go_on, after) in [
        (&begin, "--ranks 4 --shard-optimiser", &go_on, "--ranks 2 --shard-optimiser=false"),
        (&begin, "", &go_on, "--ranks 4 --shard-optimiser"),
        (&scheduled, "--ranks 2", &scheduled, "--ranks 2"),
    ] {
        let _ = fs::remove_dir_all(place.path("part"));
        place.good(&format!("{begin} {before}"));
        fs::remove_dir_all(place.path("part/checkpoints/step-0000008")).unwrap();
        let resumed = place.good(&format!("{go_on} {after}"));
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
