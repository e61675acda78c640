//! Parameter counts to the unit, and the wiring of forward and backward at full size, without data.

use beit_heads::{Classifier, ClassifierConfig, Mim, MimConfig, Pooling};
use beit_ops::prelude::*;
use beit_ops::{Footprint, Plan, Shape, Targets, Tree};
use beit_vit::{Config, DropPath, Input, Keep, Preset, RelativePositions};

fn elements(shapes: Vec<&Shape>) -> usize {
    shapes.iter().map(|shape| shape.elements()).sum()
}

fn mim(vit: Config) -> usize {
    elements(Mim::shapes(&MimConfig { vit, vocab: 8192 }).leaves())
}

fn classifier(preset: Preset, side: usize, classes: usize) -> usize {
    let per_layer = RelativePositions::PerLayer;
    let vit = Config { image: [side; 2], relative_positions: per_layer, ..Config::new(preset) };
    elements(Classifier::shapes(&ClassifierConfig::on(vit, classes, Pooling::Mean)).leaves())
}

/// The counts of the released models; base MIM is also the `n_parameters` in the authors' log.
#[test]
fn released_models() {
    assert_eq!(mim(Config::new(Preset::Base)), 91_965_776);
    assert_eq!(mim(Config::new(Preset::Large)), 311_534_016);
    assert_eq!(classifier(Preset::Base, 224, 1000), 86_530_984);
    assert_eq!(classifier(Preset::Base, 384, 1000), 86_744_104);
    assert_eq!(classifier(Preset::Large, 224, 1000), 304_430_568);
    assert_eq!(classifier(Preset::Large, 384, 1000), 304_998_888);
    assert_eq!(classifier(Preset::Large, 512, 1000), 305_674_728);
    assert_eq!(classifier(Preset::Base, 224, 21841), 102_557_713);
    assert_eq!(classifier(Preset::Large, 224, 21841), 325_792_593);
}

#[test]
fn paper_models() {
    assert_eq!(mim(Config::paper(Preset::Base)), 92_089_856);
    assert_eq!(mim(Config::paper(Preset::Large)), 311_674_880);
}

/// The counts of timm 1.0.31: `beit3_base_patch16_224`, `beit3_large_patch16_224`, `eva_giant_patch14_224` with heads of 88.
#[test]
fn relatives() {
    let count =
        |vit: Config| elements(Classifier::shapes(&ClassifierConfig::on(vit, 1000, Pooling::Mean)).leaves());
    let beit3 = |preset| Config { inner_norms: true, key_bias: true, ..Config::paper(preset) };
    assert_eq!(count(beit3(Preset::Base)), 86_659_816);
    assert_eq!(count(beit3(Preset::Large)), 304_572_392);
    let giant = Config { patch: [14; 2], width: 1408, depth: 40, heads: 16, ..Config::paper(Preset::Large) };
    let giant = Config { hidden: 6144, ..giant };
    assert_eq!(count(giant.clone()), 1_012_555_112);
    // `beit3_giant_patch14_224`
    assert_eq!(count(Config { inner_norms: true, key_bias: true, ..giant }), 1_013_215_592);
}

/// `Plan` runs a whole step of BEiT-B without a number in it: every shape fits, the work is what arithmetic says, nothing leaks.
#[test]
fn a_step_of_base_on_paper() {
    let ops = Plan::default();
    let config = MimConfig { vit: Config::new(Preset::Base), vocab: 8192 };
    let upload = |shape: &Shape| ops.zeros(*shape);
    let params = Mim::shapes(&config).map(&mut |shape| upload(shape));
    let mut grads = params.clone();
    let weights = ops.live_bytes();
    assert_eq!(weights, 2 * 4 * 91_965_776);

    let (batch, masked) = (2, 150);
    let images = ops.zeros([batch, 3, 224, 224]);
    let mask = ops.zeros([batch, 196]);
    let rows = ops.upload_ids(&vec![1; masked]);
    let keep = DropPath((0..12).map(|_| [ops.zeros([batch]), ops.zeros([batch])]).collect());
    let input = Input { images: &images, mask: Some(&mask), drop_path: Some(&keep) };
    let before = ops.live_bytes();
    let (logits, saved) = params.forward(&ops, &input, &rows, Keep::ALL);
    assert_eq!(&*ops.shape(&logits), [masked, 8192]);

    let (c, tokens, m) = (768, 197, (batch * 197) as u64);
    let per_token = (12 * c * c + 2 * tokens * c) as u64;
    let embed = (batch * 196 * 768 * 768) as u64;
    let head = (masked * c * 8192) as u64;
    // The last MLP sees masked patches only.
    let left_out = (m - masked as u64) * (8 * c * c) as u64;
    let forward = 2 * (12 * m * per_token + embed + head - left_out);
    assert_eq!(ops.flops(), forward);

    params.backward(&ops, &input, &logits, saved, &mut grads);
    // The backward does everything twice, but for the gradient of the images.
    assert_eq!(ops.flops(), 3 * forward - 2 * embed);
    drop(logits);
    assert_eq!(ops.live_bytes(), before);
    assert!(ops.peak_bytes() > before);
}

/// Bytes of a pre-training step in bf16 on a device that keeps the log-sum-exp: parameters, gradients, moments, the weights'
/// copies, and what the backward needs.
fn bf16_step(preset: Preset, batch: usize) -> usize {
    let ops = Plan::new(Footprint::gpu(2));
    let config = MimConfig { vit: Config::new(preset), vocab: 8192 };
    let params = Mim::shapes(&config).map(&mut |shape| ops.zeros(*shape));
    let [mut grads, _first, _second] = [(); 3].map(|()| params.clone());
    let images = ops.zeros([batch, 3, 224, 224]);
    let mask = ops.zeros([batch, 196]);
    let rows = ops.upload_ids(&vec![1; 75 * batch]);
    let input = Input { images: &images, mask: Some(&mask), drop_path: None };
    let (logits, saved) = params.forward(&ops, &input, &rows, Keep::ALL);
    let ids = ops.upload_ids(&vec![0; 75 * batch]);
    let targets = Targets::Classes { ids: &ids, smoothing: 0.0 };
    let (_, lse) = ops.cross_entropy(&logits, &targets);
    let d_logits = ops.cross_entropy_backward(&logits, &targets, &lse, 1.0);
    params.backward(&ops, &input, &d_logits, saved, &mut grads);
    ops.peak_bytes()
}

/// Base at 128 images and large at 64 fit a device of 80 GB with a tenth to spare.
#[test]
fn paper_models_fit_80_gb() {
    for (preset, batch) in [(Preset::Base, 128), (Preset::Large, 64)] {
        let gigabytes = bf16_step(preset, batch) as f64 / 1e9;
        assert!(gigabytes * 1.1 < 80.0, "{preset:?} at {batch} images takes {gigabytes:.1} GB");
    }
}
