//! Pictures of five channels with 16 bits, from the first step to the last: arrays of NumPy and TIFF, with masks and without.
#![cfg(unix)] // Links as on Unix.

use crate::common::{Place, finite, read_json};
use image::{GrayImage, Luma};
use std::fs;
use std::os::unix::fs::symlink;

/// Side of the pictures, the tiny preset's.
const SIDE: usize = 28;
const CHANNELS: usize = 5;
const DATA: &str = "--data folder:set --channels 5";

/// A square on a slope, bright in another channel for each class, in a part of the range that many cameras have.
fn samples(class: usize, number: usize) -> Vec<u16> {
    let (left, top) = (number * 3 % 14, number * 5 % 14);
    let inside = |x: usize, y: usize| (left..left + 12).contains(&x) && (top..top + 12).contains(&y);
    let value = |i: usize| {
        let (c, x, y) = (i % CHANNELS, i / CHANNELS % SIDE, i / CHANNELS / SIDE);
        let light = if inside(x, y) && c == 1 + 2 * class { 9000 } else { 0 };
        (300 * (c + 1) + 20 * x + 10 * y + light + (x * 7 + y * 13 + number * 31) % 97) as u16
    };
    (0..SIDE * SIDE * CHANNELS).map(value).collect()
}

fn array(samples: &[u16]) -> Vec<u8> {
    let header =
        format!("{{'descr': '<u2', 'fortran_order': False, 'shape': ({SIDE}, {SIDE}, {CHANNELS}), }}\n");
    let mut bytes =
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes()].concat();
    bytes.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
    bytes
}

/// A TIFF in one strip: grey, with channels of no meaning beside it.
fn tiff(samples: &[u16]) -> Vec<u8> {
    const SHORT: u16 = 3;
    const LONG: u16 = 4;
    let data = 8;
    let bits = data + 2 * samples.len() as u32;
    let extra = bits + 2 * CHANNELS as u32;
    let directory = extra + 2 * (CHANNELS as u32 - 1);
    let entries: [(u16, u16, u32, u32); 11] = [
        (256, LONG, 1, SIDE as u32),
        (257, LONG, 1, SIDE as u32),
        (258, SHORT, CHANNELS as u32, bits),
        (259, SHORT, 1, 1),
        (262, SHORT, 1, 1),
        (273, LONG, 1, data),
        (277, SHORT, 1, CHANNELS as u32),
        (278, LONG, 1, SIDE as u32),
        (279, LONG, 1, 2 * samples.len() as u32),
        (284, SHORT, 1, 1),
        (338, SHORT, CHANNELS as u32 - 1, extra),
    ];
    let mut bytes = [b"II\x2a\0", &directory.to_le_bytes()[..]].concat();
    let words = samples.iter().copied().chain([16; CHANNELS]).chain([0; CHANNELS - 1]);
    bytes.extend(words.flat_map(|word: u16| word.to_le_bytes()));
    bytes.extend((entries.len() as u16).to_le_bytes());
    for (tag, kind, count, value) in entries {
        bytes.extend([tag.to_le_bytes(), kind.to_le_bytes()].concat());
        bytes.extend([count.to_le_bytes(), value.to_le_bytes()].concat());
    }
    bytes.extend([0; 4]);
    bytes
}

/// Two classes of 16 pictures to train, 6 to test, half of them in either format.
fn place() -> Place {
    let place = Place::new();
    for (split, count) in [("train", 16), ("test", 6)] {
        for (class, number) in (0..2).flat_map(|class| (0..count).map(move |number| (class, number))) {
            let samples = samples(class, number + if split == "test" { 100 } else { 0 });
            let name = format!("set/{split}/class-{class}/{number:02}");
            match number % 2 {
                0 => place.write(&format!("{name}.npy"), array(&samples)),
                _ => place.write(&format!("{name}.tif"), tiff(&samples)),
            }
        }
    }
    place
}

fn model(place: &Place, run: &str) -> Vec<u8> {
    fs::read(place.path(run).join("last/model.safetensors")).unwrap()
}

#[test]
fn from_a_tokenizer_to_features() {
    let place = place();
    place.good(&format!("tokenizer train --kind kmeans {DATA} --vocab 16 --out tokens"));
    let tokens = read_json(&place.path("tokens/tokenizer/config.json"));
    assert_eq!(tokens["num_channels"], CHANNELS);

    let pretrain = format!(
        "pretrain {DATA} --tokenizer tokens --accept-tokenizer --steps 4 --batch-size 8 --save-every 2 --keep 2"
    );
    let trained = place.good(&format!("{pretrain} --out pre"));
    assert!(trained.stderr.contains("measured on 32 images: --mean "), "{trained}");
    let last = place.path("pre/last");
    assert_eq!(read_json(&last.join("config.json"))["num_channels"], CHANNELS);
    let prepared = read_json(&last.join("preprocessor_config.json"));
    assert_eq!(prepared["channels"], "as_they_are");
    let mean = prepared["image_mean"].as_array().unwrap();
    let of = |channel: usize| {
        let train = (0..2).flat_map(|class| (0..16).map(move |number| samples(class, number)));
        let sum: f64 =
            train.flat_map(|all| all.into_iter().skip(channel).step_by(CHANNELS)).map(f64::from).sum();
        sum / (32 * SIDE * SIDE) as f64 / 65_535.0
    };
    assert_eq!(mean.len(), CHANNELS);
    for (channel, found) in mean.iter().enumerate() {
        let (found, wanted) = (found.as_f64().unwrap(), of(channel));
        assert!((found - wanted).abs() < 1e-6, "channel {channel}: {found}, expected {wanted}");
    }
    for picture in ["masks.png", "reconstruction.png"] {
        assert!(place.path("pre/pictures").join(picture).is_file(), "{picture}");
    }

    // Going on from the middle ends with the same bits, and measures nothing again.
    place.copy("pre", "again");
    fs::remove_dir_all(place.path("again/checkpoints/step-0000004")).unwrap();
    fs::remove_file(place.path("again/last")).unwrap();
    symlink("checkpoints/step-0000002", place.path("again/last")).unwrap();
    let resumed = place.good("pretrain --resume --out again");
    assert!(!resumed.stderr.contains("measured on"), "{resumed}");
    assert_eq!(model(&place, "again"), model(&place, "pre"));

    place.good("finetune --init pre --data folder:set --steps 2 --batch-size 4 --out tuned");
    place.good("finetune --resume --out tuned");
    let judged = place.good("evaluate --model tuned --data folder:set --json");
    assert!(judged.stderr.contains("5 channels as they are"), "{judged}");
    assert_eq!(judged.answer()["images"], 12);
    // Of a square all three crops are the whole.
    let cropped = place.good("evaluate --model tuned --data folder:set --crops 3 --json").answer();
    assert_eq!(
        [&cropped["images"], &cropped["top1"]],
        [&judged.answer()["images"], &judged.answer()["top1"]]
    );
    place.good("embed --model tuned --data folder:set --out f.safetensors");
    assert_eq!(finite(&place.path("f.safetensors"), "features")[0], 12);
    place.good("embed set/test/class-0/00.npy set/test/class-0/01.tif --model pre --out g.safetensors");
    place.good("predict set/test/class-1 --model tuned --json");
    place.good("probe knn --k 3 --model pre --data folder:set");
    place.good("show reconstruction --model pre --data folder:set --images 2");
    place.good("show masks --data folder:set --channels 5");
    // What looks before a run reads images as the run does.
    for (what, flags) in
        [("tuned", "--recipe tuned/run.toml"), ("pre", "--set init=pre"), ("flags", "--channels 5")]
    {
        let looked = place.good(&format!("doctor {flags} --data folder:set --out runs/{what}"));
        assert!(
            looked.stdout.contains("folder:set: 32 images, 32 of them looked at: shorter sides"),
            "{looked}"
        );
        assert!(!looked.stdout.contains("cannot be decoded"), "{looked}");
    }
    // Statistics that are given win over those of the model.
    place.good(
        "pretrain --init pre --data folder:set --mean 0.1,0.1,0.1,0.1,0.1 --std 0.2,0.2,0.2,0.2,0.3 --accept-tokenizer --steps 1 \
         --batch-size 8 --out given",
    );
    let given = read_json(&place.path("given/last/preprocessor_config.json"));
    assert!((given["image_std"][4].as_f64().unwrap() - 0.3).abs() < 1e-6, "{given}");
    let planned = place.good("finetune --dry-run --init pre --data folder:set --steps 2 --batch-size 4");
    assert!(planned.stdout.contains("M parameters"), "{planned}");
    let planned = place.good(&format!("pretrain --dry-run {DATA} --steps 2 --batch-size 4"));
    assert!(planned.stderr.contains("32 images, 20 of them looked at"), "{planned}");
    let broken = "--fast-decode: expected JPEG pictures in RGB; pictures of 5 channels are read as they are";
    place.bad(2, "finetune --init pre --data folder:set --fast-decode --steps 2 --out no", &[broken]);
    for doctor in ["--set init=pre --channels 4", "--channels 5 --set data.fast_decode=true"] {
        let found = place.run(&format!("doctor {doctor} --data folder:set"));
        assert!(found.code == Some(1) && found.stdout.contains("problem"), "{found}");
    }
    // A model of these channels is the start of another pre-training, with its statistics.
    place.good(
        "pretrain --init pre --data folder:set --accept-tokenizer --steps 2 --batch-size 8 --out further",
    );
    assert_eq!(
        read_json(&place.path("further/last/preprocessor_config.json"))["image_mean"],
        prepared["image_mean"]
    );
}

#[test]
fn a_discrete_vae_has_as_many_channels() {
    let place = place();
    place.good(&format!(
        "tokenizer train --kind dvae {DATA} --hidden 8 --vocab 16 --steps 2 --batch-size 4 --out dvae"
    ));
    assert_eq!(read_json(&place.path("dvae/tokenizer/config.json"))["input_channels"], CHANNELS);
    place.good("tokenizer encode --tokenizer dvae --data folder:set --image-size 28 --out codes.safetensors");
    place.good("tokenizer decode --tokenizer dvae --codes codes.safetensors --out decoded.png");
    place.good("tokenizer inspect --tokenizer dvae --data folder:set --image-size 28 --picture seen.png");
    place.good(&format!(
        "pretrain {DATA} --tokenizer-kind dvae --tokenizer-steps 2 --accept-tokenizer --steps 2 --batch-size 8 --out own"
    ));
    place.photos("photos", 2);
    let other = "the tokenizer names tokens of pictures of 5 channels, the images have 3";
    place.bad(1, "pretrain --data folder:photos --tokenizer dvae --steps 2 --out no", &[other]);
    let rgb = "pretrain --data folder:photos --steps 2 --batch-size 8 --accept-tokenizer --tokenizer-steps 2 --out rgb";
    place.good(rgb);
    let sees = "--channels 5: rgb sees pictures in RGB of 8 bits";
    place.bad(2, &format!("finetune --init rgb {DATA} --steps 2 --out no"), &[sees]);
}

#[test]
fn pictures_of_many_channels_are_segmented() {
    let place = Place::new();
    place.write("set/classes.txt", "ground\nsquare\n");
    for (split, count) in [("train", 8), ("test", 4)] {
        for number in 0..count {
            let samples = samples(number % 2, number);
            place.write(&format!("set/images/{split}/{number}.npy"), array(&samples));
            let path = place.path(&format!("set/masks/{split}/{number}.png"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let bright = |x: u32, y: u32| {
                let first = (y as usize * SIDE + x as usize) * CHANNELS;
                samples[first..first + CHANNELS].iter().any(|&sample| sample > 9000)
            };
            let mask = GrayImage::from_fn(SIDE as u32, SIDE as u32, |x, y| Luma([u8::from(bright(x, y))]));
            mask.save(path).unwrap();
        }
    }
    let data = "--data masks:set/images,set/masks,set/classes.txt";
    let short = "finetune --task segment --from-scratch --preset tiny --steps 2 --batch-size 4";
    place.good(&format!("{short} {data} --channels 5 --out run"));
    assert!(place.path("run/pictures/segmentation.png").is_file());
    let judged = place.good(&format!("evaluate --model run {data} --json"));
    assert_eq!(judged.answer()["images"], 4);
    place.good("predict set/images/test/0.npy --model run --out segmented");
    assert!(place.path("segmented/0-overlay.png").is_file());
}

#[test]
fn what_cannot_be_read_so_is_refused() {
    let place = place();
    let short = "--steps 2 --batch-size 8 --accept-tokenizer --out no";
    let rows: [(i32, &str, &str); 8] = [
        (1, "--channels 5", "fashion-mnist has pictures of grey of 8 bits"),
        (2, "--data folder:set --channels 17", "--channels 17: expected 1 to 16"),
        (
            1,
            "--data folder:set --channels 4",
            "an array of shape [28, 28, 5], expected [H, W, 4] or [4, H, W]",
        ),
        (
            2,
            "--data folder:set --channels 5 --colour-jitter 0.4",
            "--colour-jitter 0.4: expected pictures in RGB of 8 bits",
        ),
        (2, "--data folder:set --channels 5 --fast-decode", "--fast-decode: expected JPEG pictures in RGB"),
        (2, "--data folder:set --channels 5 --mean 0.1,0.2 --std 0.1,0.2", "--mean: expected 5 numbers"),
        (2, "--data folder:set --channels 5 --mean 0,0,0,0,0 --std 1,1,1,1,0", "--std 0: expected a number"),
        (
            2,
            "--data folder:set --channels 5 --imagenet-default-mean-and-std",
            "expected pictures in RGB, not --channels",
        ),
    ];
    for (code, flags, says) in rows {
        place.bad(code, &format!("pretrain {flags} {short}"), &[says]);
    }
    place.run(&format!("pretrain {DATA} --mean 0.1,0.2 {short}")).is_refused(&["--std"]);
    place.bad(
        2,
        &format!("tokenizer train --dalle {DATA} --out no"),
        &["--dalle: DALL-E's tokenizer sees pictures of 3 channels"],
    );
    let policy = format!("finetune --from-scratch {DATA} --aa rand-m9-mstd0.5-inc1 --out no");
    place.bad(2, &policy, &["--auto-augment: expected pictures in RGB of 8 bits"]);
    assert!(!place.path("no").exists());
    // Statistics that are given are taken.
    place.good(&format!("finetune --from-scratch {DATA} --mean 0.1,0.1,0.1,0.1,0.1 --std 0.2,0.2,0.2,0.2,0.3 --steps 2 --batch-size 4 --out own"));
    let prepared = read_json(&place.path("own/last/preprocessor_config.json"));
    assert!((prepared["image_std"][4].as_f64().unwrap() - 0.3).abs() < 1e-6, "{prepared}");
}
