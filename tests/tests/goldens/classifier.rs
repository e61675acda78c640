//! `BeitForImageClassification` of transformers: logits, smoothed and soft losses, every named gradient.

use beit_ops::prelude::*;
use beit_ops::{Host, Targets, Tree};
use beit_tests::{Comparison, Golden, stored, tolerance, wgpu};
use beit_vit::{Input, Keep};
use beit_weights::{Checkpoint, Kind, LoadOptions};

/// Of `golden_models.py`.
const SMOOTHING: f32 = 0.1;

fn check<O: Ops>(ops: &O, device: &str) {
    let golden = Golden::open("hf-classify");
    let checkpoint = Checkpoint::open(&golden.folder).unwrap();
    assert_eq!(checkpoint.labels()[6], "LABEL_6");
    let loaded = checkpoint.classifier(ops, LoadOptions::default()).unwrap();
    let model = &loaded.params;
    let mut comparison = Comparison::new(format!("hf-classify on {device}"));

    let images = golden.upload(ops, "pixel_values");
    let input = Input { images: &images, mask: None, drop_path: None };
    let (logits, saved) = model.forward(ops, &input, Keep::ALL);
    comparison.tensor("logits", &ops.read(&logits).unwrap(), &golden.floats("logits"), tolerance::LOGITS);

    let (ids, soft) = (ops.upload_ids(&golden.ids("labels")), golden.upload(ops, "soft_targets"));
    let mut loss = |prefix: &str, targets: &Targets<'_, O>| {
        let (metrics, lse) = ops.cross_entropy(&logits, targets);
        let d_logits = ops.cross_entropy_backward(&logits, targets, &lse, 1.0);
        let (loss, d_name) = (format!("{prefix}loss"), format!("{prefix}dlogits"));
        comparison.tensor(&loss, &ops.read(&metrics).unwrap()[..1], &golden.floats(&loss), tolerance::LOSS);
        let (got, want) = (ops.read(&d_logits).unwrap(), golden.floats(&d_name));
        comparison.tensor(&d_name, &got, &want, tolerance::LOGITS);
        d_logits
    };
    loss("soft_", &Targets::Probabilities(&soft));
    let d_logits = loss("", &Targets::Classes { ids: &ids, smoothing: SMOOTHING });

    let mut gradients = model.map(&mut |param| ops.zeros(ops.shape(param)));
    model.backward(ops, &input, &d_logits, saved, &mut gradients);
    let gradients = stored(ops, &gradients, Kind::Classifier);
    comparison.names(gradients.names().to_vec(), golden.names("grad."));
    for name in gradients.names() {
        let (got, name) = (gradients.floats(name).unwrap(), format!("grad.{name}"));
        comparison.tensor(&name, &got, &golden.floats(&name), tolerance::GRADIENTS);
    }
    comparison.finish();
}

#[test]
fn mean_pooling_f32() {
    check(&Host::<f32>::new(), "f32");
}

#[test]
fn mean_pooling_f64() {
    check(&Host::<f64>::new(), "f64");
}

#[test]
fn mean_pooling_gpu() {
    if let Some(gpu) = wgpu() {
        check(&gpu, "gpu");
    }
}
