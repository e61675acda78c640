//! The state of training: what is no number is neither saved nor taken.

use crate::common::{OPS, Training, bits, loader, recipe, reports, training};
use beit_train::{Error, NoHooks, TRAINING};
use beit_weights::{TensorFile, TensorWriter};
use std::fs;
use std::path::Path;

/// A run after four of six steps.
fn run_of_four() -> Training {
    let mut run = training(recipe(1e-2, 1));
    reports(&mut run, &loader(8), 4, &mut NoHooks).expect("training works");
    run
}

/// Gives the run moments of which `name` has `bad` in its first place.
fn break_moments(run: &mut Training, name: &str, bad: f32) {
    let find = |found: &str, shape: beit_ops::Shape| {
        let mut values = vec![0.5; shape.elements()];
        values[0] = if found == name { bad } else { 0.5 };
        Ok::<_, Error>(values)
    };
    run.optimiser.restore(&OPS, 4, find).expect("every moment is found");
}

#[test]
fn moments_that_are_no_numbers_are_not_saved() {
    for (name, bad) in [
        ("blocks.1.mlp.fc2.weight.first", f32::NAN),
        ("head.bias.second", f32::INFINITY),
        ("cls_token.first", f32::NEG_INFINITY),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut run = run_of_four();
        break_moments(&mut run, name, bad);
        let text = run.save_state(folder.path()).expect_err("a moment is no number").to_string();
        for part in ["optimiser.safetensors", "step 4", name, &bad.to_string()] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!folder.path().join(TRAINING).join("optimiser.safetensors").exists());
    }
}

/// Writes the moments again, of one with `bad` in its last place.
fn damage(folder: &Path, name: &str, bad: f32) {
    let path = folder.join(TRAINING).join("optimiser.safetensors");
    let file = TensorFile::open(&path).expect("it was saved");
    let mut writer = TensorWriter::new();
    for found in file.names() {
        let mut values = file.floats(found).expect("moments are numbers");
        if found == name {
            values.last_mut().map(|value| *value = bad).expect("a moment has elements");
        }
        writer.floats(found, file.shape(found).unwrap_or_default(), &values);
    }
    writer.write(&path).expect("the disk has room");
}

#[test]
fn moments_that_are_no_numbers_are_not_taken() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    run_of_four().save_state(folder.path()).expect("all is finite");
    for bad in [f32::NAN, f32::INFINITY] {
        damage(folder.path(), "blocks.0.norm1.bias.second", bad);
        let mut run = training(recipe(1e-2, 1));
        let before = bits(&run.params);
        let text = run.load_state(folder.path()).expect_err("a moment is no number").to_string();
        assert!(bits(&run.params) == before && run.optimiser.steps() == 0);
        for part in ["optimiser.safetensors", "blocks.0.norm1.bias.second", &bad.to_string()] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}

#[test]
fn a_step_beyond_the_schedule_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    run_of_four().save_state(folder.path()).expect("all is finite");
    let path = folder.path().join(TRAINING).join("state.json");
    let state = fs::read_to_string(&path).expect("it was saved");
    for (step, fits) in [(0, true), (6, true), (7, false), (u64::MAX, false)] {
        fs::write(&path, state.replace("\"step\": 4", &format!("\"step\": {step}")))
            .expect("the disk has room");
        let result = training(recipe(1e-2, 1)).load_state(folder.path());
        match result {
            Ok(()) => assert!(fits, "step {step} of 6 was taken"),
            Err(error) => {
                let text = error.to_string();
                for part in [path.to_str().unwrap_or_default(), "`step`", &step.to_string(), "at most 6"] {
                    assert!(!fits && text.contains(part), "{part} in {text}");
                }
            }
        }
    }
}
