//! Groups of decay, numbers of recipes, and rates of layers.

use super::*;
use beit_heads::{Classifier, ClassifierConfig, Mim, MimConfig, Pooling};
use beit_vit::{Config, Preset, RelativePositions};
use std::collections::BTreeMap;

/// Every parameter that a model may have, by its name.
fn leaves() -> BTreeMap<String, Leaf> {
    let more = Config { absolute_positions: true, inner_norms: true, ..Config::new(Preset::Base) };
    let vit = Config { key_bias: true, ..more };
    let mim = Mim::<Shape>::shapes(&MimConfig { vit: vit.clone(), vocab: 8192 });
    let vit = Config { relative_positions: RelativePositions::PerLayer, ..vit };
    let classifier = Classifier::<Shape>::shapes(&ClassifierConfig::on(vit, 1000, Pooling::Mean));
    let all = mim.described().into_iter().chain(classifier.described());
    all.map(|(leaf, _)| (leaf.name.clone(), leaf)).collect()
}

#[test]
fn decay_groups_of_the_released_code() {
    let rows = [
        ("cls_token", false),
        ("pos_embed", false),
        ("mask_token", true),
        ("rel_pos_bias.relative_position_bias_table", true),
        ("blocks.0.attn.relative_position_bias_table", true),
        ("blocks.0.attn.q_bias", false),
        ("blocks.0.attn.k_bias", false),
        ("blocks.0.attn.norm.weight", false),
        ("blocks.0.mlp.norm.bias", false),
        ("blocks.0.gamma_1", false),
        ("blocks.0.norm1.weight", false),
        ("blocks.0.mlp.fc1.weight", true),
        ("patch_embed.proj.bias", false),
        ("lm_head.weight", true),
    ];
    let leaves = leaves();
    for (name, want) in rows {
        assert_eq!(leaves[name].role.decays(), want, "{name}");
    }
}

#[test]
fn numbers_that_no_step_can_have_are_named() {
    let good =
        Hyper::new(Schedule { peak: 1e-3, min: 1e-5, warmup: 0, total: 10, decay: crate::Decay::Cosine });
    assert!(good.check().is_ok());
    let rate = |peak, min| Hyper { schedule: Schedule { peak, min, ..good.schedule }, ..good };
    for (bad, says) in [
        (rate(f64::NAN, 0.0), "the peak learning rate is NaN"),
        (rate(f64::INFINITY, 0.0), "the peak learning rate is inf"),
        (rate(1e-3, 1e-2), "the learning rate at the end is 0.01"),
        (rate(1e-3, f64::NAN), "the learning rate at the end is NaN"),
        (Hyper { beta1: 1.0, ..good }, "beta1 is 1"),
        (Hyper { beta2: f64::NAN, ..good }, "beta2 is NaN"),
        (Hyper { eps: 0.0, ..good }, "eps is 0"),
        (Hyper { weight_decay: f64::INFINITY, ..good }, "the weight decay is inf"),
        (Hyper { clip_grad: Some(f32::NAN), ..good }, "the limit of the gradients is NaN"),
        (Hyper { layer_decay: Some(f64::NAN), ..good }, "the layer decay is NaN"),
    ] {
        let text = bad.check().expect_err(says).to_string();
        assert!(text.starts_with(says) && text.contains("expected a finite number"), "{text}");
    }
}

#[test]
fn layer_wise_decay() {
    let rows = [
        ("cls_token", 0),
        ("mask_token", 0),
        ("patch_embed.proj.weight", 0),
        ("blocks.0.norm1.weight", 1),
        ("blocks.3.attn.k_bias", 4),
        ("blocks.7.attn.norm.weight", 8),
        ("blocks.11.mlp.norm.weight", 12),
        ("blocks.11.mlp.fc2.bias", 12),
        ("rel_pos_bias.relative_position_bias_table", 13),
        ("fc_norm.weight", 13),
        ("head.weight", 13),
    ];
    let leaves = leaves();
    for (name, id) in rows {
        let want = 0.65f64.powi(13 - id);
        assert!((layer_scale(leaves[name].layer, 12, 0.65) - want).abs() < 1e-15, "{name}");
    }
}
