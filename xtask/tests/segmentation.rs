//! Semantic segmentation: the whole road with both heads, going on after a stop, and data and models that do not fit.

use crate::common::masks::{DATA, SIDE, pair};
use crate::common::{Outcome, Place};
use image::{GrayImage, ImageBuffer, Luma};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

const SHORT: &str = "finetune --task segment --from-scratch --preset tiny --steps 2 --batch-size 4";

fn says(outcome: &Outcome, parts: &[&str]) {
    parts.iter().for_each(|part| assert!(outcome.stderr.contains(part), "expected `{part}`\n{outcome}"));
}

#[test]
fn both_heads_from_pictures_to_masks() {
    let place = Place::with_masks();
    for head in ["setr-pup", "setr-pup --auxiliary-heads", "upernet", "upernet --loss-mean all"] {
        let tuned = place.good(&format!("{SHORT} {DATA} --head {head} --out run --overwrite --json"));
        says(&tuned, &["12 images with masks", "in 2 classes", "crops of 24x24 pixels"]);
        let answer = tuned.answer();
        assert_eq!((&answer["split"], &answer["images"]), (&"test".into(), &6.into()));
        assert_eq!(answer["pixels"], 6 * u64::from(SIDE * SIDE));
        assert!(place.path("run/pictures/segmentation.png").is_file());

        let evaluated = place.good(&format!("evaluate --model run {DATA} --per-class --json"));
        for key in ["miou", "macc", "aacc"] {
            assert_eq!(evaluated.answer()[key], answer[key], "{head}, {key}");
        }
        assert_eq!(evaluated.answer()["per_class"], answer["per_class"]);
    }

    let predicted = place.good("predict set/images/test --model run --out masks --json");
    assert_eq!(predicted.json().len(), 6);
    let mask = image::open(place.path("masks/03-mask.png")).unwrap();
    assert_eq!((mask.width(), mask.height()), (SIDE, SIDE));
    let shares = predicted.json()[3]["shares"].as_array().unwrap().clone();
    let pixels: u64 = shares.iter().map(|share| share["pixels"].as_u64().unwrap()).sum();
    assert_eq!(pixels, u64::from(SIDE * SIDE));
    assert!(place.path("masks/03-overlay.png").is_file());
    place.bad(2, "predict set/images/test/03.png --model run --out masks", &["03-mask.png", "--overwrite"]);
    place.good("predict set/images/test/03.png --model run --out masks --overwrite");
}

#[test]
fn windows_scales_and_mirrors() {
    let place = Place::with_masks();
    place.good(&format!("{SHORT} {DATA} --image-size 16 --out run"));
    let evaluate = |flags: &str| place.good(&format!("evaluate --model run {DATA} --json {flags}")).answer();
    let slid = evaluate("");
    assert!(slid["views"].as_str().unwrap().contains("windows of 16x16, 10x10 apart"), "{slid}");
    let near = evaluate("--stride 8");
    assert!(near["views"].as_str().unwrap().contains("8x8 apart"), "{near}");
    let whole = evaluate("--whole");
    assert!(whole["views"].as_str().unwrap().contains("squashed to 16x16"), "{whole}");
    let many = evaluate("--scales 0.75,1,1.5 --flip");
    assert!(many["views"].as_str().unwrap().contains("times 0.75, 1, 1.5, and mirrored"), "{many}");
    for answer in [slid, near, whole, many] {
        assert_eq!(answer["pixels"], 6 * u64::from(SIDE * SIDE), "counted at the pictures' own size");
    }
    for (flags, said) in [
        ("--scales 0", "--scales 0"),
        ("--scales NaN", "--scales NaN"),
        ("--stride 0", "--stride 0"),
        ("--stride 17", "at most 16x16"),
    ] {
        place.bad(2, &format!("evaluate --model run {DATA} {flags}"), &[said]);
    }
    // A hundred times 4000 pixels: 160,000 million pixels in two classes are more than any machine holds.
    image::GrayImage::new(4000, 4000).save(place.path("large.png")).unwrap();
    let said = ["looked at in 400000x400000 pixels in 2 classes", "lower --scales"];
    place.bad(1, "predict large.png --model run --scales 100", &said);
    assert!(!place.path("large-mask.png").exists());
}

#[test]
fn runs_and_evaluations_go_on() {
    let place = Place::with_masks();
    let averaging = "--model-ema --model-ema-decay 0.5";
    let run = format!("{SHORT} {DATA} --head upernet --save-every 1 --keep 9 {averaging}");
    place.good(&format!("{run} --out whole"));
    place.good(&format!("{run} --out part"));
    let checkpoints = place.path("part/checkpoints");
    fs::remove_dir_all(checkpoints.join("step-0000002")).unwrap();
    fs::remove_file(place.path("part/last")).unwrap();
    place.good("finetune --resume --out part");
    let end = |run: &str| place.contents(&format!("{run}/checkpoints/step-0000002"));
    let (whole, part) = (end("whole"), end("part"));
    for (file, what) in
        [("buffers", "running statistics"), ("last", "the weights that the model is an average of")]
    {
        let path = format!("training/{file}.safetensors");
        assert!(whole.keys().any(|found| found.ends_with(&path)), "{path}: {what}");
    }
    assert!(whole == part, "a run that goes on ends as one that was not stopped");

    // A checkpoint that lost its end is passed over for the one before it.
    let last = checkpoints.join("step-0000002/training/last.safetensors");
    let bytes = fs::read(&last).unwrap();
    fs::write(&last, &bytes[..bytes.len() - 8]).unwrap();
    place.good("finetune --resume --out part");
    assert!(whole == end("part"), "it is made again");

    let evaluate = format!("evaluate --model whole {DATA} --json");
    let once = place.good(&format!("{evaluate} --out found")).answer();
    let rows = fs::read_to_string(place.path("found/confusion.csv")).unwrap();
    assert!(rows.starts_with("true \\ predicted,ground,square\n"), "{rows}");
    let again = place.good(&format!("{evaluate} --out found --resume"));
    says(&again, &["resumed after 6 of 6 images"]);
    assert_eq!(again.answer(), once);
    place.bad(1, &format!("{evaluate} --flip --out found --resume"), &["preprocessing was"]);
    let progress = place.path("found/progress.json");
    let changed = fs::read_to_string(&progress).unwrap().replace("\"done\":6", "\"done\":7");
    fs::write(&progress, changed).unwrap();
    place.bad(1, &format!("{evaluate} --out found --resume"), &["7 pictures done, expected at most 6"]);

    // Another mask of a picture that was counted, and other names of classes in the middle of a run.
    place.good(&format!("{evaluate} --out other"));
    GrayImage::new(SIDE, SIDE).save(place.path("set/masks/test/00.png")).unwrap();
    place.bad(1, &format!("{evaluate} --out other --resume"), &["files were changed since"]);
    place.write("set/classes.txt", "square\nground\n");
    fs::remove_dir_all(checkpoints.join("step-0000002")).unwrap();
    place.bad(1, "finetune --resume --out part", &["data was"]);
}

#[test]
fn a_segmenter_is_trained_further() {
    let place = Place::with_masks();
    place.good(&format!("{SHORT} {DATA} --out first"));
    let further = "finetune --task segment --steps 1 --batch-size 4";
    let same = place.good(&format!("{further} {DATA} --init first --out same"));
    assert!(!same.stderr.contains("new:"), "the head is taken: {same}");
    let other = place.good(&format!("{further} {DATA} --init first --head upernet --out other"));
    says(&other, &["fpn1"]);

    place.good(
        "finetune --init first --data fashion-mnist --labels 20 --steps 1 --batch-size 4 --out classifier",
    );
}

/// Another head reads the usual blocks.
#[test]
fn a_head_that_is_trained_further_reads_the_blocks_it_was_trained_on() {
    let place = Place::with_masks();
    place.good(&format!("{SHORT} {DATA} --out first").replace("tiny", "mini"));
    let config = |run: &str, step: u32| place.path(&format!("{run}/checkpoints/step-{step:07}/config.json"));
    let read = |path: PathBuf| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let mut json = read(config("first", 2));
    let (usual, others) = (json["segmentation_taps"].clone(), json!([0, 2, 4, 5]));
    assert_ne!(usual, others);
    json["segmentation_taps"] = others.clone();
    fs::write(config("first", 2), json.to_string()).unwrap();
    for (flags, taps) in [("", &others), ("--head upernet", &usual)] {
        place.good(&format!(
            "finetune --task segment --steps 1 --batch-size 4 {DATA} --init first {flags} --out further --overwrite"
        ));
        assert_eq!(&read(config("further", 1))["segmentation_taps"], taps, "`{flags}`");
    }
}

#[test]
fn models_and_flags_of_the_other_task() {
    let place = Place::with_masks();
    place.photos("photos", 2);
    let classify = "finetune --from-scratch --preset tiny --steps 1 --batch-size 4 --data folder:photos";
    place.good(&format!("{classify} --out classifier"));
    place.good(&format!("{SHORT} {DATA} --out segmenter"));
    place.bad(
        1,
        &format!("evaluate --task segment --model classifier {DATA}"),
        &["this is a classifier", "semantic segmentation"],
    );
    let both = "evaluate --task classify --model segmenter --data folder:photos";
    place.bad(1, both, &["this is a model for semantic segmentation", "expected a classifier"]);
    place.bad(1, "evaluate --model segmenter --data folder:photos", &["folder:photos has no masks"]);
    place.bad(
        2,
        "evaluate --model classifier --data folder:photos --flip",
        &["--flip belongs to segmentation"],
    );
    place.bad(2, "predict photos/test --model classifier --whole", &["--whole belongs to segmentation"]);
    place.bad(2, "predict photos/test --model classifier --out masks", &["--out belongs to segmentation"]);
    place.bad(
        2,
        "predict set/images/test --model segmenter --top-k 2",
        &["--top-k belongs to classification"],
    );
    place.bad(
        2,
        &format!("evaluate --model segmenter {DATA} --batch-size 2"),
        &["--batch-size belongs to classification"],
    );
    place.bad(
        1,
        &format!("{SHORT} --data folder:photos"),
        &["folder:photos has no masks", "masks:IMAGES,MASKS"],
    );
    place.bad(
        1,
        &format!("{classify} --data {}", &DATA[7..]).replace("--data folder:photos ", ""),
        &["masks", "--task segment"],
    );
    for (flags, said) in [
        ("--use-cls", "--use-cls belongs to classification"),
        ("--smoothing 0.2", "--smoothing belongs to classification"),
        ("--head upernet --auxiliary-heads", "--auxiliary-heads belongs to --head setr-pup"),
        ("--head-channels 0", "--head-channels 0"),
        ("--head-channels 65537", "at most 65536"),
    ] {
        place.bad(2, &format!("{SHORT} {DATA} {flags}"), &[said]);
    }
    for flag in ["--head upernet", "--head-channels 8", "--auxiliary-heads", "--loss-mean all"] {
        let said = format!("{} belongs to segmentation", flag.split(' ').next().unwrap());
        place.bad(2, &format!("{classify} {flag}"), &[&said]);
    }
    place.bad(
        1,
        &format!("{SHORT} {DATA} --image-size 4 --batch-size 1").replace("--batch-size 4 ", ""),
        &["images of one patch", "--image-size"],
    );
    place.bad(
        1,
        &format!("{SHORT} {DATA} --head upernet --batch-size 1").replace("--batch-size 4 ", ""),
        &["--batch-size 1", "at least 2"],
    );
    assert!(place.names("runs").is_empty(), "nothing was begun");
}

/// Refused before the first step, by name.
#[test]
fn masks_that_cannot_be_learnt_from() {
    let refused = |spoil: &dyn Fn(&Place), says: &[&str]| {
        let place = Place::with_masks();
        spoil(&place);
        place.bad(1, &format!("{SHORT} {DATA} --out run"), says);
        assert!(place.names("run").is_empty(), "nothing was begun");
    };
    let mask = "set/masks/train/04.png";
    refused(&|place| fs::remove_file(place.path(mask)).unwrap(), &["train/04", "no mask"]);
    refused(&|place| GrayImage::new(20, 24).save(place.path(mask)).unwrap(), &["04.png", "20", "24"]);
    let beyond = |place: &Place| {
        let mut ids = pair(4).1;
        ids.put_pixel(7, 3, Luma([9]));
        ids.save(place.path(mask)).unwrap();
    };
    refused(&beyond, &["04.png", "(7, 3)", "number 9", "0 to 1"]);
    let deep = |place: &Place| {
        let deep: ImageBuffer<Luma<u16>, Vec<u16>> = ImageBuffer::new(SIDE, SIDE);
        deep.save(place.path(mask)).unwrap();
    };
    refused(&deep, &["04.png", "16"]);
    let void = |place: &Place| {
        for number in 0..12 {
            let path = place.path(&format!("set/masks/train/{number:02}.png"));
            GrayImage::from_pixel(SIDE, SIDE, Luma([255])).save(path).unwrap();
        }
    };
    refused(&void, &["expected masks with pixels that have a class", "masks/train/00.png"]);
    let empty = |place: &Place| {
        fs::remove_dir_all(place.path("set/images/train")).unwrap();
        fs::create_dir(place.path("set/images/train")).unwrap();
    };
    refused(&empty, &["set/images"]);
    refused(&|place| place.write("set/classes.txt", "everything\n"), &["classes.txt", "at least 2 classes"]);
    refused(&|place| place.write(mask, "no mask"), &["04.png"]);
    refused(&|place| place.write("set/masks/test/02.png", "no mask"), &["test/02.png"]);
}

/// Not even the first, whose size crops would go by.
#[test]
fn one_picture_that_cannot_be_read_stops_nothing() {
    let place = Place::with_masks();
    place.write("set/images/train/00.png", "no picture");
    let tuned = place.good(&format!("{SHORT} {DATA} --max-bad-share 0.2 --out run"));
    says(&tuned, &["crops of 24x24 pixels", "00.png"]);
}

/// Training says so, and goes on with the others.
#[test]
fn one_mask_without_a_class_is_said() {
    let place = Place::with_masks();
    let void = GrayImage::from_pixel(SIDE, SIDE, Luma([255]));
    void.save(place.path("set/masks/train/05.png")).unwrap();
    let tuned = place.good(&format!("{SHORT} {DATA} --out run"));
    says(&tuned, &["1 of 12 masks have no pixel with a class", "05.png is the first"]);
}
