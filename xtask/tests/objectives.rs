//! The ablations of masked image modelling: pixels instead of visual tokens, and other patches than the masked ones.

#![cfg(unix)] // Links as on Unix.

use crate::common::Place;
use std::fs;

const PIXELS: &str =
    "pretrain --data folder:photos --predict pixels --batch-size 8 --save-every 2 --report-every 1";

#[test]
fn pixels_are_drawn_resumed_and_fine_tuned() {
    let place = Place::with_photos();
    let done = place.good(&format!("{PIXELS} --steps 6 --keep-best pixel-error --json --out whole")).answer();
    let number = |name: &str| done[name].as_f64().expect("it was measured");
    assert!(number("error") > 0.0 && number("error").is_finite(), "{done}");
    assert!(number("visible_mean") > 0.0 && number("nearest_visible") > 0.0, "{done}");
    assert!(place.path("whole/pictures/reconstruction.png").exists());
    assert!(!place.path("whole/tokenizer").exists(), "pixels need no tokenizer");

    // A run that ends early and goes on ends with the same numbers.
    place.good(&format!("{PIXELS} --steps 6 --keep 9 --out parts"));
    fs::remove_dir_all(place.path("parts/checkpoints/step-0000006")).unwrap();
    fs::remove_file(place.path("parts/last")).unwrap();
    std::os::unix::fs::symlink("checkpoints/step-0000004", place.path("parts/last")).unwrap();
    let again = place.good("pretrain --resume --json --out parts").answer();
    assert_eq!(again["error"], done["error"]);

    place.good("finetune --init whole --data folder:photos --steps 2 --batch-size 8 --out tuned");
    place.good("show reconstruction --model whole --data folder:photos --images 2 --out drawn.png");
    assert!(place.path("drawn.png").exists());
    let both = "show reconstruction --model whole --tokenizer whole --data folder:photos --out no.png";
    place.bad(2, both, &["whole draws pixels and names no tokens"]);
    // What was pre-trained to draw pixels may go on towards tokens, and the other way round.
    let short = "--data folder:photos --steps 2 --batch-size 8";
    place.good(&format!("pretrain --init whole {short} --out tokens"));
    for (init, says) in [("tokens", "it draws no pixels yet"), ("whole", "its head goes on to draw pixels")] {
        let said =
            place.good(&format!("pretrain --init {init} --predict pixels {short} --out from-{init}")).stderr;
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn all_patches_of_a_masked_and_of_a_whole_image() {
    let place = Place::with_photos();
    let mut losses = Vec::new();
    for recover in ["masked", "all", "unmasked"] {
        let line = format!(
            "pretrain --data folder:photos --recover {recover} --steps 2 --batch-size 8 --report-every 1 --out {recover}"
        );
        place.good(&line);
        let first = place.metrics(recover).into_iter().find(|line| line["phase"] == "pretrain");
        let first = first.expect("every step is reported");
        // The baseline is one of masked patches alone.
        assert_eq!(first.get("gap").is_some(), recover == "masked", "{first}");
        losses.push(first["loss"].as_f64().expect("a loss"));
    }
    assert!(losses[0] != losses[1] && losses[1] != losses[2], "{losses:?}");
    place.bad(1, "pretrain --resume --recover all --out masked", &["--recover was masked, is all"]);
}

#[test]
fn flags_that_contradict_each_other() {
    let place = Place::with_photos();
    let pixels = |flags: &str| format!("{PIXELS} --steps 2 --out no {flags}");
    place.bad(
        2,
        &pixels("--tokenizer dalle"),
        &["--predict pixels uses no tokenizer: leave out --tokenizer"],
    );
    place.bad(2, &pixels("--keep-best token-accuracy"), &["pixel-error is measured"]);
    assert!(!place.path("no").exists());
}

/// They explain nothing of a picture, which is said, and may be asked for in spite of it.
#[test]
fn random_tokens_are_drawn_by_the_seed() {
    let place = Place::with_photos();
    let random = |flags: &str| {
        format!(
            "pretrain --data folder:photos --image-size 16 --tokenizer-kind random --steps 2 --batch-size 8 {flags}"
        )
    };
    place.bad(1, &random("--out no"), &["is of no use on these images", "--accept-tokenizer"]);
    place.bad(
        2,
        &random("--tokenizer-steps 3 --out no3"),
        &["nothing is learnt for these, leave the steps out"],
    );
    let tokenizer = |out: &str, seed: u64| {
        place.good(&random(&format!("--accept-tokenizer --seed {seed} --out {out}")));
        place.contents(&format!("{out}/tokenizer"))
    };
    let [one, same, other] = [("one", 0), ("same", 0), ("other", 1)].map(|(out, seed)| tokenizer(out, seed));
    assert!(one == same && one != other);
}
