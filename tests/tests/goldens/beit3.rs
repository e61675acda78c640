//! `beit3_base_patch16_224` of timm in small: logits, loss and every named gradient of blocks with norms inside.

use beit_heads::{Classifier, ClassifierConfig, Pooling};
use beit_ops::prelude::*;
use beit_ops::{Host, Shape, Targets, Tree};
use beit_tests::{Comparison, Golden, tolerance, wgpu};
use beit_vit::{Config, Input, Keep, Preset};
use beit_weights::TensorFile;
use serde_json::Value;

const CLASSES: usize = 7;

/// The model that `model_args.json` describes.
fn config(golden: &Golden) -> ClassifierConfig {
    let text = std::fs::read(golden.folder.join("model_args.json")).unwrap();
    let args: Value = serde_json::from_slice(&text).unwrap();
    let number = |key: &str| usize::try_from(args[key].as_u64().unwrap()).unwrap();
    let width = number("embed_dim");
    let vit = Config {
        image: [number("img_size"); 2],
        patch: [number("patch_size"); 2],
        width,
        depth: number("depth"),
        heads: number("num_heads"),
        hidden: number("mlp_ratio") * width,
        inner_norms: true,
        key_bias: true,
        layer_norm_eps: 1e-5,
        ..Config::paper(Preset::Base)
    };
    ClassifierConfig::on(vit, CLASSES, Pooling::Mean)
}

/// The part of timm's `attn.qkv.bias` that each of our biases is.
const BIASES: [&str; 3] = ["q_bias", "k_bias", "v_bias"];

/// Where a parameter is in timm's file: the name, and which third of the tensor if not all of it.
fn stored(name: &str) -> (String, Option<usize>) {
    for (third, bias) in BIASES.into_iter().enumerate() {
        if let Some(attention) = name.strip_suffix(bias) {
            return (format!("{attention}qkv.bias"), Some(third));
        }
    }
    (name.to_owned(), None)
}

/// A parameter, or what `prefix` makes of its name, in a file of timm.
fn floats(file: &TensorFile, prefix: &str, name: &str) -> Vec<f32> {
    let (name, third) = stored(name);
    let values = file.floats(&format!("{prefix}{name}")).unwrap();
    match third {
        Some(third) => values.chunks(values.len() / 3).nth(third).unwrap().to_vec(),
        None => values,
    }
}

fn params<O: Ops>(ops: &O, golden: &Golden) -> Classifier<O::Tensor> {
    let file = TensorFile::open(golden.folder.join("model.safetensors")).unwrap();
    let mut names: Vec<String> = Vec::new();
    let params = Classifier::<Shape>::shapes(&config(golden)).map_described(&mut |leaf, shape| {
        names.push(stored(&leaf.name).0);
        ops.upload(*shape, &floats(&file, "", &leaf.name))
    });
    names.sort();
    names.dedup();
    let mut all = file.names().to_vec();
    all.sort();
    assert_eq!(names, all, "every tensor of timm is a parameter");
    params
}

fn check<O: Ops>(ops: &O, device: &str) {
    let golden = Golden::open("timm-beit3");
    let model = params(ops, &golden);
    for block in &model.vit.blocks {
        // What timm adds to its keys and we do not: the logits below are the same.
        let bias = ops.read(block.attn.k_bias.as_ref().unwrap()).unwrap();
        assert!(bias.iter().all(|&b| b != 0.0));
    }
    let mut comparison = Comparison::new(format!("timm-beit3 on {device}"));
    let images = golden.upload(ops, "pixel_values");
    let inferred = ops.read(&model.infer(ops, &images)).unwrap();
    comparison.tensor("logits", &inferred, &golden.floats("logits"), tolerance::LOGITS);

    let input = Input { images: &images, mask: None, drop_path: None };
    let (logits, saved) = model.forward(ops, &input, Keep::ALL);
    let ids = ops.upload_ids(&golden.ids("labels"));
    let targets = Targets::Classes { ids: &ids, smoothing: 0.0 };
    let (metrics, lse) = ops.cross_entropy(&logits, &targets);
    comparison.tensor("loss", &ops.read(&metrics).unwrap()[..1], &golden.floats("loss"), tolerance::LOSS);
    let d_logits = ops.cross_entropy_backward(&logits, &targets, &lse, 1.0);
    let mut gradients = model.map(&mut |param| ops.zeros(ops.shape(param)));
    model.backward(ops, &input, &d_logits, saved, &mut gradients);
    for (name, gradient) in gradients.named() {
        let want = floats(&golden.io, "grad.", &name);
        let got = ops.read(gradient).unwrap();
        if name.ends_with("k_bias") {
            // Zero, where PyTorch has rounding; its float64 is rounded once more in the file.
            assert!(
                got.iter().all(|&g| g == 0.0) && want.iter().all(|w| w.abs() < 1e-12),
                "{name}: {want:?}"
            );
        } else {
            comparison.tensor(&name, &got, &want, tolerance::GRADIENTS);
        }
    }
    comparison.finish();
}

#[test]
fn inner_norms_f32() {
    check(&Host::<f32>::new(), "f32");
}

#[test]
fn inner_norms_f64() {
    check(&Host::<f64>::new(), "f64");
}

#[test]
fn inner_norms_gpu() {
    if let Some(gpu) = wgpu() {
        check(&gpu, "gpu");
    }
}
