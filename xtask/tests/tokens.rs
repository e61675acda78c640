//! A tokenizer that is of no use is found out before anything is trained on its tokens.

use crate::common::Place;
use image::{Rgb, RgbImage};
use std::fs;

/// Sixty pictures of 16 x 16 pixels to train and twenty to test, painted by a function of their number and the place.
fn pictures(place: &Place, name: &str, paint: impl Fn(u32, u32, u32) -> [u8; 3]) {
    for number in 0..80 {
        let split = if number < 60 { "train" } else { "test" };
        let path = place.path(&format!("{name}/{split}/all/{number:02}.png"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        RgbImage::from_fn(16, 16, |x, y| Rgb(paint(number, x, y))).save(path).unwrap();
    }
}

/// Bytes that look random.
fn noise(seed: u32) -> [u8; 3] {
    let mixed = seed.wrapping_mul(0x9E37_79B1) ^ 0x85EB_CA6B;
    let mixed = (mixed ^ (mixed >> 15)).wrapping_mul(0xC2B2_AE35);
    let bytes = (mixed ^ (mixed >> 13)).wrapping_mul(0x27D4_EB2F).to_le_bytes();
    [bytes[0], bytes[1], bytes[3]]
}

const PRETRAIN: &str =
    "pretrain --image-size 16 --patch-size 4 --tokenizer-kind kmeans --steps 2 --batch-size 8";

#[test]
fn hostile_images_are_refused_and_why() {
    let place = Place::new();
    pictures(&place, "noise", |number, x, y| noise(number * 256 + y * 16 + x));
    pictures(&place, "flat", |number, _, _| noise(number));
    pictures(&place, "alike", |_, _, _| [200; 3]);
    for (name, says) in [
        ("noise", "of the pixels' variance, the position alone"),
        ("flat", "a neighbour gives away what is masked"),
        ("alike", "of 256 tokens are used, perplexity 1.0"),
    ] {
        let args = format!("{PRETRAIN} --data folder:{name} --out {name}-run");
        let refused = place.run(&args);
        assert_eq!(refused.code, Some(1), "{refused}");
        for says in ["is of no use on these images", says, "--accept-tokenizer", "--tokenizer-kind"] {
            assert!(refused.stderr.contains(says), "{says} in {refused}");
        }
        assert!(!place.path(&format!("{name}-run/checkpoints")).exists(), "nothing was trained");
        let accepted = place.good(&format!("{args} --overwrite --accept-tokenizer"));
        assert!(accepted.stderr.contains("going on with --accept-tokenizer"), "{accepted}");
    }
}

/// Whoever wrote it: a tokenizer that names one token for everything.
#[test]
fn a_tokenizer_that_is_given_is_looked_at_too() {
    let place = Place::with_photos();
    pictures(&place, "alike", |_, _, _| [200; 3]);
    place.good("tokenizer train --kind kmeans --image-size 28 --data folder:alike --out tokens");
    let args = "pretrain --tokenizer tokens --data folder:photos --steps 2 --batch-size 8 --out run";
    place.bad(1, args, &["tokens", "is of no use on these images", "perplexity"]);
}

/// At a rate of 0.05 its posterior is uniform after 30 steps; at a sixth of it, it learns.
#[test]
fn a_discrete_vae_that_says_nothing_begins_again_once() {
    let place = Place::new();
    let trained = place.good(
        "tokenizer train --image-size 16 --steps 300 --batch-size 8 --lr 0.05 --measure-images 200 --out tokens --json",
    );
    assert_eq!(trained.stderr.matches("begun again, once").count(), 1, "{trained}");
    assert!(trained.stderr.contains("of 8.3e-3 instead of 5.0e-2"), "{trained}");
    let quality = &trained.answer()["quality"];
    assert!(quality["perplexity"].as_f64() > Some(30.0), "{quality}");
    assert!(quality["explained_variance"].as_f64() > Some(0.7), "{quality}");
}
