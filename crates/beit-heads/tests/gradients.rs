//! Gradients of whole models against central differences in f64, for both models of the paper, blocks with inner norms, and both
//! poolings.

use beit_heads::{Classifier, ClassifierConfig, Mim, MimConfig, Pooling, masked_rows};
use beit_ops::init::Stream;
use beit_ops::prelude::*;
use beit_ops::{Host, Shape, Targets, Tree};
use beit_vit::{Config, DropPath, Input, Keep, Preset, RelativePositions};

type Array = <Host<f64> as beit_ops::Device>::Tensor;

/// Central differences of step 1e-5 in f64: truncation 1e-10, cancellation 1e-11.
const STEP: f64 = 1e-5;
const TOLERANCE: f64 = 1e-7;

const OPS: Host<f64> = Host::new();

fn random(shape: impl Into<Shape>, stream: u64) -> Array {
    let shape = shape.into();
    OPS.upload(shape, &Stream::new(5, stream).normals(shape.elements(), 0.5))
}

/// Every parameter random, so that none hides behind a zero or a one.
fn randomised<P: Tree<Shape>>(shapes: &P) -> P::Of<Array> {
    let mut stream = 100;
    shapes.map(&mut |shape| {
        stream += 1;
        random(*shape, stream)
    })
}

fn small(relative_positions: RelativePositions, layer_scale: Option<f32>, absolute: bool) -> Config {
    Config {
        image: [4, 6],
        patch: [2, 2],
        width: 6,
        depth: 2,
        heads: 2,
        hidden: 10,
        absolute_positions: absolute,
        relative_positions,
        layer_scale,
        ..Config::new(Preset::Tiny)
    }
}

/// Compares a few elements of every gradient; `loss` is evaluated on perturbed parameters.
fn check<P: Tree<Array> + Clone>(params: &P, grads: &P, loss: &dyn Fn(&P) -> f64) {
    for (leaf, (name, grad)) in grads.named().into_iter().enumerate() {
        let stride = grad.len().div_ceil(5);
        for i in (0..grad.len()).step_by(stride) {
            let moved = |step: f64| {
                let mut params = params.clone();
                params.leaves_mut()[leaf][i] += step;
                loss(&params)
            };
            let want = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
            let got = grad[i];
            assert!((got - want).abs() < TOLERANCE, "{name}[{i}]: got {got}, want {want}");
        }
    }
}

fn check_mim(vit: Config) {
    let config = MimConfig { vit, vocab: 7 };
    let params = randomised(&Mim::shapes(&config));
    let images = random([3, 3, 4, 6], 1);
    // Ragged: 1, 3 and 2 masked patches.
    let masks = [0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1].map(|m| m == 1);
    let rows = OPS.upload_ids(&masked_rows(&masks, 6));
    let mask = OPS.upload([3, 6], &masks.map(f32::from));
    let drop_path = DropPath(vec![
        [OPS.upload([3], &[1.25, 0.0, 1.25]), OPS.upload([3], &[1.25; 3])],
        [OPS.upload([3], &[0.0, 2.0, 2.0]), OPS.upload([3], &[2.0, 0.0, 0.0])],
    ]);
    let input = Input { images: &images, mask: Some(&mask), drop_path: Some(&drop_path) };
    let codes = OPS.upload_ids(&[0, 6, 3, 3, 1, 2]);
    let targets = Targets::Classes { ids: &codes, smoothing: 0.0 };

    let loss = |params: &Mim<Array>| {
        let (logits, _) = params.forward(&OPS, &input, &rows, Keep::All);
        OPS.cross_entropy(&logits, &targets).0[0]
    };
    let (logits, saved) = params.forward(&OPS, &input, &rows, Keep::All);
    let (_, lse) = OPS.cross_entropy(&logits, &targets);
    let d_logits = OPS.cross_entropy_backward(&logits, &targets, &lse, 1.0);
    let mut grads = params.map(&mut |p: &Array| OPS.zeros(OPS.shape(p)));
    params.backward(&OPS, &input, &d_logits, saved, &mut grads);
    check(&params, &grads, &loss);

    let inferred = params.infer(&OPS, &input, &rows);
    assert_eq!(inferred, logits, "infer and forward are one wiring");
}

#[test]
fn mim_released() {
    check_mim(small(RelativePositions::Shared, Some(0.1), false));
}

#[test]
fn mim_paper() {
    check_mim(small(RelativePositions::None, None, true));
}

/// BEiT-3's blocks.
fn inner_norms(vit: Config) -> Config {
    Config { inner_norms: true, key_bias: true, layer_norm_eps: 1e-5, ..vit }
}

#[test]
fn mim_inner_norms() {
    check_mim(inner_norms(small(RelativePositions::None, None, true)));
}

/// With everything else that a block can have.
#[test]
fn mim_inner_norms_and_the_rest() {
    check_mim(inner_norms(small(RelativePositions::Shared, Some(0.1), true)));
}

fn check_classifier(vit: Config, pooling: Pooling) {
    let config = ClassifierConfig::on(vit, 5, pooling);
    let params = randomised(&Classifier::shapes(&config));
    let images = random([2, 3, 4, 6], 2);
    let input = Input { images: &images, mask: None, drop_path: None };
    let ids = OPS.upload_ids(&[4, 1]);
    let targets = Targets::Classes { ids: &ids, smoothing: 0.1 };
    let loss = |params: &Classifier<Array>| {
        let (logits, _) = params.forward(&OPS, &input, Keep::All);
        OPS.cross_entropy(&logits, &targets).0[0]
    };
    let (logits, saved) = params.forward(&OPS, &input, Keep::All);
    let (_, lse) = OPS.cross_entropy(&logits, &targets);
    let d_logits = OPS.cross_entropy_backward(&logits, &targets, &lse, 1.0);
    let mut grads = params.map(&mut |p: &Array| OPS.zeros(OPS.shape(p)));
    params.backward(&OPS, &input, &d_logits, saved, &mut grads);
    check(&params, &grads, &loss);
    assert_eq!(params.infer(&OPS, &images), logits);
}

#[test]
fn classifier_mean() {
    check_classifier(small(RelativePositions::PerLayer, Some(0.1), false), Pooling::Mean);
}

#[test]
fn classifier_cls() {
    check_classifier(small(RelativePositions::PerLayer, Some(0.1), false), Pooling::Cls);
}

#[test]
fn classifier_inner_norms() {
    check_classifier(inner_norms(small(RelativePositions::None, None, true)), Pooling::Mean);
}
