//! Ten steps of `torch.optim.AdamW`: losses, norms, rates, and every parameter at the end.

use beit_ops::prelude::*;
use beit_ops::{Host, Layer};
use beit_tests::mim::Batch;
use beit_tests::{Comparison, Golden, stored, tolerance, wgpu};
use beit_train::{Decay, Hyper, Optimiser, Schedule, layer_scale};
use beit_weights::{Kind, load_mim};
use serde_json::Value;
use std::path::Path;

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn float(recipe: &Value, key: &str) -> f64 {
    recipe[key].as_f64().unwrap()
}

fn hyper(recipe: &Value) -> Hyper {
    let steps = |key: &str| recipe[key].as_u64().unwrap();
    let schedule = Schedule {
        peak: float(recipe, "peak_lr"),
        min: float(recipe, "min_lr"),
        warmup: steps("warmup_steps"),
        total: steps("steps"),
        decay: Decay::Cosine,
    };
    Hyper {
        beta1: float(recipe, "beta1"),
        beta2: float(recipe, "beta2"),
        eps: float(recipe, "eps"),
        weight_decay: float(recipe, "weight_decay"),
        clip_grad: Some(float(recipe, "clip_norm") as f32),
        ..Hyper::new(schedule)
    }
}

fn check<O: Ops>(ops: &O, device: &str) {
    let golden = Golden::open("train-ten-steps");
    let recipe = json(&golden.folder.join("recipe.json"));
    let loaded = load_mim(ops, Golden::open(recipe["weights"].as_str().unwrap()).folder).unwrap();
    let (config, mut model) = (loaded.params.config(), loaded.params);
    let batches = [0, 1].map(|i| Batch::<O> {
        images: golden.upload(ops, &format!("pixel_values.{i}")),
        masks: golden.io.mask(&format!("bool_masked_pos.{i}")).unwrap(),
        labels: golden.ids(&format!("labels.{i}")),
    });
    let mut optimiser = Optimiser::new(ops, &model, hyper(&recipe), config.vit.depth);
    let (mut losses, mut norms, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for i in 0..recipe["steps"].as_u64().unwrap() as usize {
        let mut step = batches[i % batches.len()].step(ops, &config, &model);
        let clip = optimiser.clip(ops, &step.gradients);
        losses.push(step.loss);
        norms.push(ops.read(&clip).unwrap()[0]);
        rates.push(optimiser.lr() as f32);
        optimiser.step(ops, &mut model, &mut step.gradients, &clip);
    }

    let mut comparison = Comparison::new(format!("train-ten-steps on {device}"));
    comparison.tensor("losses", &losses, &golden.floats("losses"), tolerance::TRAINING);
    comparison.tensor("grad_norms", &norms, &golden.floats("grad_norms"), tolerance::TRAINING);
    comparison.tensor("lrs", &rates, &golden.floats("lrs"), tolerance::RATES);
    let last = stored(ops, &model, Kind::Mim);
    comparison.names(last.names().to_vec(), golden.names("final."));
    for name in last.names() {
        let (got, name) = (last.floats(name).unwrap(), format!("final.{name}"));
        comparison.tensor(&name, &got, &golden.floats(&name), tolerance::FINAL_PARAMETERS);
    }
    comparison.finish();
}

#[test]
fn ten_steps_f32() {
    check(&Host::<f32>::new(), "f32");
}

#[test]
fn ten_steps_f64() {
    check(&Host::<f64>::new(), "f64");
}

#[test]
fn rates_of_the_released_recipe() {
    let golden = json(&Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens/schedule/schedule.json"));
    let cosine = &golden["cosine"];
    let schedule = Schedule {
        peak: float(cosine, "peak_lr"),
        min: float(cosine, "min_lr"),
        warmup: cosine["warmup_steps"].as_u64().unwrap(),
        total: cosine["total_steps"].as_u64().unwrap(),
        decay: Decay::Cosine,
    };
    for (step, want) in cosine["steps"].as_array().unwrap().iter().zip(cosine["lrs"].as_array().unwrap()) {
        let (got, want) = (schedule.at(step.as_u64().unwrap()), want.as_f64().unwrap());
        assert!((got - want).abs() <= 1e-12 * want, "step {step}: got {got:e}, want {want:e}");
    }
}

#[test]
fn layer_wise_scales() {
    let golden = json(&Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens/schedule/schedule.json"));
    let golden = &golden["layer_decay"];
    let (layers, decay) = (golden["layers"].as_u64().unwrap() as usize, float(golden, "decay"));
    let all = [Layer::Stem].into_iter().chain((0..layers).map(Layer::Block)).chain([Layer::Top]);
    for (layer, want) in all.zip(golden["scales"].as_array().unwrap()) {
        let (got, want) = (layer_scale(layer, layers, decay), want.as_f64().unwrap());
        assert!((got - want).abs() <= 1e-12 * want, "{layer:?}: got {got:e}, want {want:e}");
    }
}

/// Ten steps of masked image modelling follow PyTorch's, and so the CPU's, to 1e-5.
#[test]
fn ten_steps_gpu() {
    if let Some(gpu) = wgpu() {
        check(&gpu, "gpu");
    }
}
