//! The library's examples say what the command line says, for every kind of model.

use crate::common::{Outcome, Place, SHORT};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The hub's cache knows it; nothing is fetched.
const OFFICIAL: &str = "microsoft/beit-base-patch16-224";

/// With a cache of the hub in the place, and no network.
fn with_hub(place: &Place, mut command: Command) -> Outcome {
    for name in ["HF_HUB_CACHE", "HF_ENDPOINT", "HF_TOKEN"] {
        command.env_remove(name);
    }
    command.env("HF_HOME", place.path("hub")).env("HF_HUB_OFFLINE", "1");
    let outcome = Outcome::of(&format!("{command:?}"), command.output().unwrap());
    assert_eq!(outcome.code, Some(0), "{outcome}");
    outcome
}

/// A program of `crates/beit/examples`, beside the command line that is tested.
fn example(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_BIN_EXE_xtask")).parent().unwrap().join("examples");
    let program = folder.join(name);
    if !program.is_file() {
        // Cargo builds it with the tests of the whole workspace, not with those of this package alone.
        let built = Command::new(env!("CARGO")).args(["build", "-p", "beit", "--example", name]).status();
        assert!(built.unwrap().success());
    }
    program
}

fn run_example(place: &Place, name: &str, args: &[&str]) -> Outcome {
    let mut command = Command::new(example(name));
    command.current_dir(place.path(".")).args(args).stdin(Stdio::null());
    with_hub(place, command)
}

/// A classifier in every form in which a user may have one.
fn models(place: &Place) -> Vec<&'static str> {
    place.good(&format!("pretrain {SHORT} --out run"));
    place.good("finetune --init run --data folder:photos --steps 3 --batch-size 8 --lr 0.1 --out tuned");
    place.copy("tuned/checkpoints/step-0000003", "folder");
    place.good("weights convert tuned timm --layout timm");
    place.good("weights convert tuned model.pth --layout unilm");
    let repo = format!("hub/hub/models--{}", OFFICIAL.replace('/', "--"));
    place.write(&format!("{repo}/refs/main"), "0123456789abcdef0123456789abcdef01234567");
    let snapshot = format!("{repo}/snapshots/0123456789abcdef0123456789abcdef01234567");
    for file in ["config.json", "preprocessor_config.json", "model.safetensors"] {
        place.write(&format!("{snapshot}/{file}"), std::fs::read(place.path("folder").join(file)).unwrap());
    }
    vec!["tuned", "folder", "timm", "model.pth", OFFICIAL]
}

#[test]
fn classify_prints_what_predict_prints() {
    let place = Place::with_photos();
    let image = "photos/test/class-1/03.png";
    for model in models(&place) {
        let predicted = with_hub(&place, place.command(&format!("predict {image} --model {model}")));
        let classified = run_example(&place, "classify", &[model, image]);
        assert_eq!(classified.stdout, predicted.stdout, "{model}");
        assert_eq!(classified.stdout.lines().count(), 1 + 3, "{classified}");
    }
    features(&place, image);
}

/// An image is its own likeness, and others are less like it.
fn features(place: &Place, image: &str) {
    let other = "photos/test/class-2/05.png";
    let seen = run_example(place, "embed", &["run", image, other, image]);
    let lines: Vec<(f32, &str)> = seen
        .stdout
        .lines()
        .map(|line| line.split_once("  ").unwrap())
        .map(|(likeness, name)| (likeness.parse().unwrap(), name))
        .collect();
    let [(first, _), (second, named), (third, _)] = lines[..] else { panic!("{seen}") };
    assert_eq!((first, third, named), (1.0, 1.0, other));
    assert!(second < 1.0, "{seen}");
}

#[test]
fn the_example_of_training_trains() {
    let place = Place::with_photos();
    let trained = run_example(&place, "pretrain", &["runs", "2", "folder:photos"]);
    let lines: Vec<&str> = trained.stdout.lines().collect();
    let [tokens, .., accuracy] = lines[..] else { panic!("{trained}") };
    assert!(tokens.starts_with("masked-token accuracy on "), "{trained}");
    assert!(accuracy.starts_with("test accuracy on 24 images: top-1 0."), "{trained}");
    assert!(place.path("runs/finetune/last/model.safetensors").is_file());
}
