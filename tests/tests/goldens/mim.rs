//! `BeitForMaskedImageModeling` of transformers: logits, loss and every named gradient.

use beit_heads::patch_rows;
use beit_ops::Host;
use beit_ops::prelude::*;
use beit_tests::mim::Batch;
use beit_tests::{Comparison, Golden, stored, tolerance, wgpu};
use beit_vit::Input;
use beit_weights::{Kind, load_mim};

fn check<O: Ops>(ops: &O, name: &str, device: &str) {
    let golden = Golden::open(name);
    let loaded = load_mim(ops, &golden.folder).unwrap();
    let (config, model) = (&loaded.params.config(), &loaded.params);
    let batch = Batch::<O> {
        images: golden.upload(ops, "pixel_values"),
        masks: golden.io.mask("bool_masked_pos").unwrap(),
        labels: golden.ids("labels"),
    };
    let mut comparison = Comparison::new(format!("{name} on {device}"));

    let mask = batch.mask(ops, config.vit.patches());
    let rows = ops.upload_ids(&patch_rows(ops.shape(&batch.images)[0], config.vit.patches()));
    for (name, mask) in [("logits", Some(&mask)), ("logits_unmasked", None)] {
        let input = Input { images: &batch.images, mask, drop_path: None };
        let logits = ops.read(&model.infer(ops, &input, &rows)).unwrap();
        comparison.tensor(name, &logits, &golden.floats(name), tolerance::LOGITS);
    }

    let step = batch.step(ops, config, model);
    comparison.tensor("loss", &[step.loss], &golden.floats("loss"), tolerance::LOSS);
    comparison.tensor("accuracy", &[step.accuracy], &golden.floats("accuracy"), tolerance::LOSS);
    let gradients = stored(ops, &step.gradients, Kind::Mim);
    comparison.names(gradients.names().to_vec(), golden.names("grad."));
    for name in gradients.names() {
        let (got, name) = (gradients.floats(name).unwrap(), format!("grad.{name}"));
        comparison.tensor(&name, &got, &golden.floats(&name), tolerance::GRADIENTS);
    }
    comparison.finish();
}

#[test]
fn relative_positions_and_layer_scale_f32() {
    check(&Host::<f32>::new(), "hf-mim-relative", "f32");
}

#[test]
fn relative_positions_and_layer_scale_f64() {
    check(&Host::<f64>::new(), "hf-mim-relative", "f64");
}

#[test]
fn absolute_positions_f32() {
    check(&Host::<f32>::new(), "hf-mim-plain", "f32");
}

#[test]
fn absolute_positions_f64() {
    check(&Host::<f64>::new(), "hf-mim-plain", "f64");
}

#[test]
fn both_on_a_gpu() {
    if let Some(gpu) = wgpu() {
        check(&gpu, "hf-mim-relative", "gpu");
        check(&gpu, "hf-mim-plain", "gpu");
    }
}
