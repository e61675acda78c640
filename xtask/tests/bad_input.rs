//! Wrong flags and bad data: exit code 2 for what the flags alone make impossible, 1 for what went wrong; one clear line; and
//! nothing half-written.

use crate::common::{Outcome, Place, SHORT, floats, write_tensors};
use std::fs;
use std::process::Command;

#[test]
fn flags_that_make_no_run() {
    let place = Place::with_photos();
    let rows: &[(&str, &[&str])] = &[
        ("--image-size 30", &["30x30", "not divisible", "patch size 4x4"]),
        ("--patch-size 0", &["patch height is 0"]),
        ("--tokenizer-kind dvae --image-size 25 --patch-size 5", &["patches of 5x5", "--tokenizer"]),
        ("--num-mask-patches 0", &["--num-mask-patches", "at least 1 masked cell", "found a target of 0"]),
        ("--num-mask-patches 49", &["--num-mask-patches", "at most 48 cells", "found 49"]),
        ("--mask random --num-mask-patches 49", &["at most 48 cells", "found 49"]),
        ("--mask paper --num-mask-patches 48", &["at most 47 cells", "found 48"]),
        ("--mask-ratio 0", &["--mask-ratio 0"]),
        ("--mask-ratio 1", &["--mask-ratio 1"]),
        ("--mask-ratio NaN", &["--mask-ratio NaN"]),
        ("--min-mask-patches-per-block 40", &["smallest block", "found 40"]),
        ("--drop-path 1.5", &["drop path rate is 1.5"]),
        ("--batch-size 0", &["--batch-size"]),
        ("--update-freq 0", &["--update-freq"]),
        ("--steps 0", &["--steps"]),
        ("--epochs 0", &["--epochs"]),
        ("--epochs 18446744073709551615", &["--epochs"]),
        ("--steps 5 --update-freq 18446744073709551615", &["--steps"]),
        ("--steps 5 --warmup-steps 5", &["warm-up of 5 steps"]),
        ("--lr NaN", &["--lr NaN"]),
        ("--lr inf", &["--lr inf"]),
        ("--lr 1e38", &["--lr 1e38", "expected a learning rate", "at most 1"]),
        ("--min-lr 1e300", &["--min-lr 1e300"]),
        ("--lr 1e-4 --min-lr 1e-2", &["--min-lr 0.01", "--lr 0.0001"]),
        ("--warmup-epochs NaN", &["--warmup-epochs NaN"]),
        ("--clip-grad inf", &["--clip-grad inf"]),
        ("--colour-jitter NaN", &["--colour-jitter NaN"]),
        ("--min-crop-scale NaN", &["--min-crop-scale NaN"]),
        ("--drop-path NaN", &["--drop-path NaN", "drop path rate is NaN"]),
        ("--layer-scale-init-value inf", &["--layer-scale-init-value inf"]),
        ("--max-bad-share NaN", &["--max-bad-share NaN"]),
        ("--weight-decay=-1", &["--weight-decay -1"]),
        ("--max-bad-share 2", &["found 2"]),
        ("--device tpu", &["--device tpu", "cpu"]),
    ];
    for (flags, says) in rows {
        place.bad(2, &format!("pretrain --data folder:photos --out run {flags}"), says);
    }
    place.bad(2, "pretrain --data webdataset:photos --out run", &["webdataset:photos", "folder:DIR"]);
    place.bad(2, "tokenizer train --data folder:photos --out run --image-size 30", &["divisible by 4", "30"]);
    place.bad(2, "tokenizer train --data folder:photos --out run --hidden 6", &["divisible by 4", "6"]);
    let tokenizer = "tokenizer train --data folder:photos --out run";
    for (flags, says) in [
        ("--token-size 4", "--token-size says nothing of a tokenizer of --kind dvae"),
        ("--kind kmeans --lr 1", "--lr says nothing of a tokenizer of --kind kmeans"),
        ("--kind kmeans --vocab 0", "a positive vocabulary"),
        ("--kind kmeans --token-size 0", "a positive side of a token"),
        ("--kind kmeans --token-size 5", "divisible by 5, found 28"),
        ("--kind kmeans --mean-weight NaN", "weight of the mean"),
        ("--kind kmeans --steps 0", "0 steps"),
        ("--lr NaN", "--lr NaN"),
        ("--usage-weight inf", "--usage-weight inf"),
    ] {
        place.bad(2, &format!("{tokenizer} {flags}"), &[says]);
    }
    place.bad(2, "show masks --data folder:photos --out run --image-size 30", &["30x30"]);
    let finetune = "finetune --from-scratch --data folder:photos --out run";
    for (flags, says) in [
        ("--layer-decay 0", "--layer-decay 0"),
        ("--smoothing 1", "--smoothing 1"),
        ("--smoothing NaN", "--smoothing NaN"),
        ("--layer-decay inf", "--layer-decay inf"),
        ("--validation NaN", "--validation NaN"),
        ("--model-ema-decay 0.9", "--model-ema-decay without --model-ema"),
        ("--model-ema --model-ema-decay 1", "--model-ema-decay 1"),
        ("--drop-path NaN", "--drop-path NaN"),
        ("--labels 0", "--labels 0"),
        ("--batch-size 0", "--batch-size"),
        ("--reprob 1.5", "--reprob 1.5: expected a probability"),
        ("--repeated-aug 0", "--repeated-aug 0"),
        ("--mixup NaN", "--mixup NaN"),
        ("--cutmix=-1", "--cutmix -1: expected 0 for never"),
        ("--mixup-prob 0.5", "--mixup-prob without --mixup and --cutmix"),
        ("--mixup 0.8 --mixup-switch-prob 2", "--mixup-switch-prob 2"),
        ("--mixup 0.8 --batch-size 7", "--batch-size 7: expected an even number"),
        ("--task segment --mixup 0.8", "--mixup belongs to classification"),
        ("--task segment --aa none", "--auto-augment belongs to classification"),
    ] {
        place.bad(2, &format!("{finetune} {flags}"), &[says]);
    }
    assert_eq!(place.names("."), ["photos"]);
}

#[test]
fn flags_that_do_not_parse() {
    let place = Place::new();
    for (args, says) in [
        ("pretrain --no-such-flag --out run", "--no-such-flag"),
        ("pretrain --lr high --out run", "--lr"),
        ("pretrain --seed 9223372036854775808 --out run", "--seed"),
        ("pretrain --image-size 28x --out run", "HEIGHTxWIDTH"),
        ("pretrain --paper --abs-pos-emb --out run", "--abs-pos-emb"),
        ("pretrain --resume", "--out"),
        ("pretrain --resume --overwrite --out run", "--overwrite"),
        ("finetune --out run", "--init"),
        ("finetune --init run --from-scratch", "--from-scratch"),
        (
            "finetune --from-scratch --aa rand-m9-w0 --out run",
            "'w0': operations of unequal weight are not there",
        ),
        ("finetune --from-scratch --auto-augment augmix-m3 --out run", "found 'augmix-m3'; or none"),
        ("finetune --from-scratch --cutmix_minmax 0.2 --out run", "--cutmix-minmax"),
        ("evaluate", "--model"),
        ("distil --out run", "distil"),
    ] {
        place.run(args).is_refused(&[says]);
    }
    assert!(place.names(".").is_empty());
}

#[test]
fn flags_as_the_official_scripts_write_them() {
    let place = Place::with_photos();
    let outcome = place.good(
        "pretrain --data_path folder:photos --model tiny --input_size 28 --batch_size 8 --num_mask_patches=19 \
         --drop_path 0.1 --layer_scale_init_value 0.1 --clip_grad 3.0 --warmup_epochs 0 --epochs 2 --lr 1.5e-3 \
         --output_dir my_run --dry_run --json",
    );
    assert_eq!(outcome.answer()["steps"], 12);
    assert_eq!(place.names("."), ["photos"]);
}

#[test]
fn data_that_is_not_there() {
    let place = Place::new();
    fs::create_dir(place.path("empty")).unwrap();
    place.write("file", "no folder");
    place.write("text/class/notes.txt", "no picture");
    for verb in
        ["pretrain --out run", "finetune --from-scratch --out run", "tokenizer train --out run", "show masks"]
    {
        place.bad(1, &format!("{verb} --data folder:missing"), &["no folder at missing"]);
        place.bad(1, &format!("{verb} --data folder:file"), &["no folder at file"]);
        place.bad(1, &format!("{verb} --data folder:empty"), &["no images in empty"]);
        place.bad(1, &format!("{verb} --data folder:text"), &["no images in text"]);
        place.bad(1, &format!("{verb} --data idx:empty"), &["-images-idx3-ubyte", "empty"]);
    }
    assert_eq!(place.names("."), ["empty", "file", "text"]);
}

#[test]
fn labels_that_teach_nothing() {
    let place = Place::with_photos();
    place.photos("one", 1);
    fs::create_dir(place.path("bare")).unwrap();
    fs::copy(place.path("one/train/class-0/00.png"), place.path("bare/00.png")).unwrap();
    let before = place.names(".");
    let finetune = "finetune --from-scratch --out run";
    place.bad(1, &format!("{finetune} --data folder:one"), &["folder:one", "at least 2 classes", "found 1"]);
    place.bad(1, &format!("{finetune} --data folder:bare"), &["a label for every image", "bare/00.png"]);
    place.bad(1, &format!("{finetune} --data folder:photos --labels 49"), &["1 to 48 images", "found 49"]);
    assert_eq!(place.names("."), before);
}

/// One file in 49 to train and one in 25 to test cannot be decoded.
#[test]
fn some_files_are_broken() {
    let place = Place::with_photos();
    let broken = ["photos/train/class-0/broken.jpg", "photos/test/class-0/00-broken.jpg"];
    broken.iter().for_each(|name| place.broken_jpeg(name));

    let pretrain = "pretrain --data folder:photos --tokenizer-kind dvae --accept-tokenizer --tokenizer-steps 6 --steps 6 --batch-size 8";
    let finetune = "finetune --init run --data folder:photos --epochs 2 --batch-size 8";
    let run = place.good(&format!("{pretrain} --max-bad-share 0.1 --out run"));
    for name in broken {
        assert!(run.stderr.contains(&format!("left out: cannot decode {name}: ")), "{run}");
    }
    let run = place.good(&format!("{finetune} --max-bad-share 0.1 --out tuned"));
    assert!(run.stderr.contains(broken[0]) && run.stderr.contains(broken[1]), "{run}");
    let run = place.good("evaluate --model tuned --data folder:photos --max-bad-share 0.1 --json");
    assert!(run.stderr.contains(broken[1]), "{run}");
    assert_eq!(run.answer()["images"], 24);
    let run = place.good("show reconstruction --model run --data folder:photos --out picture.png");
    assert!(run.stderr.contains(broken[1]), "{run}");
    // One row of codes an image: here a missing image would shift the others.
    place.bad(
        1,
        "tokenizer encode --tokenizer run --data folder:photos --out codes.st",
        &["cannot decode", broken[1]],
    );
    assert!(!place.path("codes.st").exists());

    let says = ["cannot be decoded, at most 1.0 % may", "broken.jpg"];
    place.bad(1, &format!("{pretrain} --out stopped"), &says);
    place.bad(1, &format!("{finetune} --out stopped-too"), &says);
    place.bad(1, "evaluate --model tuned --data folder:photos", &says);
    assert_eq!(place.names("stopped"), ["metrics.jsonl", "run.toml"]);
    assert_eq!(place.names("stopped-too"), ["metrics.jsonl", "run.toml"]);
}

#[test]
fn every_file_is_broken() {
    let place = Place::new();
    place.broken_jpeg("photos/class-0/a.jpg");
    place.broken_jpeg("photos/class-1/b.jpg");
    place.write("photos/class-1/c.png", "");
    place.bad(
        1,
        &format!("pretrain {SHORT} --max-bad-share 1 --out run"),
        &["3 of 3 files", "cannot be decoded"],
    );
    let finetune = "finetune --from-scratch --steps 1 --data folder:photos --max-bad-share 1 --out tuned";
    place.bad(1, finetune, &["3 of 3 files", "cannot be decoded"]);
    for run in ["run", "tuned"] {
        assert_eq!(place.names(run), ["metrics.jsonl", "run.toml"]);
    }
}

/// Root, who runs tests in containers, may write everywhere; a file in the way stands for a folder that cannot be written.
#[test]
fn places_that_cannot_be_written() {
    let place = Place::with_photos();
    place.write("file", "mine");
    place.write("full/notes.txt", "mine");
    place.write("mixed/notes.txt", "mine");
    place.write("mixed/run.toml", "seed = 1");
    let before = place.contents(".");
    for verb in [
        format!("pretrain {SHORT}"),
        format!("finetune --from-scratch {FINETUNE}"),
        format!("tokenizer train {TOKENIZER}"),
    ] {
        place.bad(1, &format!("{verb} --out file"), &["run folder file"]);
        place.bad(1, &format!("{verb} --out file/run"), &["run folder file/run"]);
        place.bad(1, &format!("{verb} --overwrite --out file"), &["run folder file"]);
        place.bad(2, &format!("{verb} --out full"), &["full is not empty", "--overwrite"]);
        place.bad(2, &format!("{verb} --overwrite --out mixed"), &["mixed/notes.txt"]);
    }
    place.bad(1, &format!("pretrain {SHORT} --resume --out full"), &["full", "no run to resume"]);
    place.bad(1, "show masks --data folder:photos --out file/masks.png", &["cannot write file/masks.png"]);
    place.bad(
        1,
        "show masks --data folder:photos --out nowhere/masks.png",
        &["cannot write nowhere/masks.png"],
    );
    assert_eq!(place.contents("."), before);

    place.good(&format!("tokenizer train {TOKENIZER} --out tokenizer"));
    write_tensors(&place.path("pixels.st"), &[floats("pixel_values", &[2, 3, 8, 8])]);
    let before = place.contents(".");
    place.bad(
        1,
        "tokenizer encode --tokenizer tokenizer --data folder:photos --out nowhere/codes.st",
        &["cannot write nowhere/codes.st"],
    );
    place.bad(
        1,
        "infer --model tokenizer --pixels pixels.st --out file/out.st",
        &["cannot write file/out.st"],
    );
    assert_eq!(place.contents("."), before);
}

const FINETUNE: &str = "--data folder:photos --steps 1 --batch-size 4";
const TOKENIZER: &str = "--data folder:photos --steps 1 --batch-size 4 --hidden 8 --vocab 16";

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_no_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let place = Place::with_photos();
    let args = format!("pretrain {SHORT} --out");
    let output = place.command(&args).arg(OsStr::from_bytes(b"run-\xff")).output().unwrap();
    crate::common::Outcome::of(&args, output).fails(1, &["run-", "UTF-8"]);
}

/// What no machine has the memory, the pixels or the threads for: said before anything is allocated.
#[test]
fn absurd_sizes() {
    let place = Place::with_photos();
    place.good(&format!("pretrain {SHORT} --out run"));
    place.good("finetune --init run --data folder:photos --steps 1 --batch-size 8 --out tuned");
    let needs = "of memory, and";
    let absurd = [
        (1, "pretrain --data folder:photos --preset base --image-size 16000 --out new", needs),
        (
            1,
            "pretrain --data folder:photos --preset large --image-size 4096 --batch-size 48 --out new",
            needs,
        ),
        (1, "finetune --init run --image-size 8000 --data folder:photos --batch-size 48 --out new", needs),
        (
            1,
            "finetune --from-scratch --image-size 20000 --data folder:photos --batch-size 48 --out new",
            needs,
        ),
        (1, "evaluate --model tuned --data folder:photos --image-size 40000x40000", needs),
        (1, "predict photos/test --model tuned --image-size 24000", needs),
        (1, "embed photos/test --model tuned --image-size 24000 --out new.npy", needs),
        (1, "tokenizer inspect --tokenizer run/tokenizer --data folder:photos --image-size 60000", needs),
        (
            1,
            "tokenizer encode --tokenizer run/tokenizer --data folder:photos --image-size 60000 --out new.st",
            needs,
        ),
        (1, "tokenizer train --data folder:photos --image-size 1024 --vocab 1000000 --out new", needs),
        (
            2,
            "tokenizer train --data folder:photos --vocab 1000000000 --out new",
            "vocabulary is 1000000000, expected at most",
        ),
        (
            2,
            "pretrain --data folder:photos --threads 10000 --out new",
            "--threads 10000: expected at most 1024",
        ),
    ];
    for (code, args, says) in absurd {
        place.bad(code, args, &[says]);
        assert!(!place.path("new").exists(), "{args}");
    }
    for side in ["18446744073709551612", "100000"] {
        let args = format!("pretrain --data folder:photos --image-size {side} --out new");
        place.run(&args).is_refused(&["expected at most 65536 pixels"]);
    }
    // A process that may have no more memory gets no thousand threads.
    let args = "predict photos/test --model tuned --threads 1000";
    let output = Command::new("sh")
        .args(["-c", "ulimit -v 800000; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_xtask")])
        .args(args.split_whitespace())
        .current_dir(place.path("."))
        .output();
    Outcome::of(args, output.unwrap()).fails(1, &["no more threads", "--threads"]);
    // The dry run of a batch that nobody has the memory for counts it.
    let dry = place.good("pretrain --dry-run --batch-size 10000000 --data fashion-mnist --steps 1 --json");
    assert!(dry.answer()["peak_bytes"].as_u64().unwrap() > 1 << 43, "{dry}");
}
