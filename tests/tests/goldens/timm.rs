//! `timm.models.beit.Beit`: logits of files with the official names and no `config.json`.

use beit_heads::{Classifier, ClassifierConfig, Pooling};
use beit_ops::prelude::*;
use beit_ops::{Host, Shape};
use beit_tests::{Comparison, Golden, tolerance};
use beit_vit::{Config, RelativePositions};
use beit_weights::load_params;
use serde_json::Value;

/// timm's, where transformers has 1e-12.
const EPS: f64 = 1e-6;

/// The model that `model_args.json` and `golden_models.py` (32-pixel pictures, 8-pixel patches) describe.
fn config(golden: &Golden) -> ClassifierConfig {
    let text = std::fs::read(golden.folder.join("model_args.json")).unwrap();
    let args: Value = serde_json::from_slice(&text).unwrap();
    let number = |key: &str| args[key].as_u64().unwrap() as usize;
    let flag = |key: &str| args[key].as_bool().unwrap();
    let pooling = if args["global_pool"] == "avg" { Pooling::Mean } else { Pooling::Cls };
    let vit = Config {
        image: [32; 2],
        patch: [8; 2],
        channels: 3,
        width: number("embed_dim"),
        depth: number("depth"),
        heads: number("num_heads"),
        hidden: 2 * number("embed_dim"),
        absolute_positions: flag("use_abs_pos_emb"),
        relative_positions: match flag("use_rel_pos_bias") {
            true => RelativePositions::PerLayer,
            false => RelativePositions::None,
        },
        layer_scale: args["init_values"].as_f64().map(|value| value as f32),
        inner_norms: false,
        key_bias: false,
        mask_token: false,
        final_norm: pooling == Pooling::Cls,
        layer_norm_eps: EPS,
        drop_path: 0.0,
    };
    ClassifierConfig { vit, classes: 7, pooling }
}

fn check<O: Ops>(ops: &O, name: &str, device: &str) {
    let golden = Golden::open(name);
    let config = config(&golden);
    let model: Classifier<_> =
        load_params(ops, &golden.weights(), &Classifier::<Shape>::shapes(&config)).unwrap();
    let logits = model.infer(ops, &golden.upload(ops, "pixel_values"));
    let mut comparison = Comparison::new(format!("{name} on {device}"));
    comparison.tensor("logits", &ops.read(&logits).unwrap(), &golden.floats("logits"), tolerance::LOGITS);
    comparison.finish();
}

#[test]
fn mean_pooling() {
    check(&Host::<f32>::new(), "timm-classify", "f32");
    check(&Host::<f64>::new(), "timm-classify", "f64");
}

#[test]
fn class_token() {
    check(&Host::<f32>::new(), "timm-plain", "f32");
    check(&Host::<f64>::new(), "timm-plain", "f64");
}
