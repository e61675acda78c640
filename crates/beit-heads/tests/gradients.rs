//! Gradients of whole models against central differences in f64, for both models of the paper, blocks with inner norms, both
//! poolings, and both segmentation heads.

use beit_heads::{
    Auxiliary, Classifier, ClassifierConfig, HeadConfig, Mim, MimConfig, PixelMean, PixelMim, Pixels,
    Pooling, Segmenter, SegmenterConfig, masked_rows, patch_values, pixel_loss,
};
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
        let (logits, _) = params.forward(&OPS, &input, &rows, Keep::ALL);
        OPS.cross_entropy(&logits, &targets).0[0]
    };
    let (logits, saved) = params.forward(&OPS, &input, &rows, Keep::ALL);
    let (_, lse) = OPS.cross_entropy(&logits, &targets);
    let d_logits = OPS.cross_entropy_backward(&logits, &targets, &lse, 1.0);
    let mut grads = params.map(&mut |p: &Array| OPS.zeros(OPS.shape(p)));
    params.backward(&OPS, &input, &d_logits, saved, &mut grads);
    check(&params, &grads, &loss);

    let inferred = params.infer(&OPS, &input, &rows);
    assert_eq!(inferred, logits, "infer and forward are one wiring");
}

#[test]
fn pixels_of_masked_patches() {
    let vit = Config { channels: 2, ..small(RelativePositions::PerLayer, Some(0.1), true) };
    let params = randomised(&PixelMim::shapes(&vit));
    let images = random([2, 2, 4, 6], 1);
    let masks = [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 1, 0].map(|m| m == 1);
    let rows = OPS.upload_ids(&masked_rows(&masks, 6));
    let mask = OPS.upload([2, 6], &masks.map(f32::from));
    let input = Input { images: &images, mask: Some(&mask), drop_path: None };
    let targets = random([4, patch_values(&vit)], 3);

    let loss = |params: &PixelMim<Array>| {
        let (pixels, _) = params.forward(&OPS, &input, &rows, Keep::ALL);
        OPS.squared_error(&pixels, &targets)[0]
    };
    let (pixels, saved) = params.forward(&OPS, &input, &rows, Keep::ALL);
    let d_pixels = OPS.squared_error_backward(&pixels, &targets, 1.0);
    let mut grads = params.map(&mut |p: &Array| OPS.zeros(OPS.shape(p)));
    params.backward_watched(&OPS, &input, &d_pixels, saved, &mut grads, &mut |_| {});
    check(&params, &grads, &loss);
    assert_eq!(params.infer(&OPS, &input, &rows), pixels, "infer and forward are one wiring");
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
        let (logits, _) = params.forward(&OPS, &input, Keep::ALL);
        OPS.cross_entropy(&logits, &targets).0[0]
    };
    let (logits, saved) = params.forward(&OPS, &input, Keep::ALL);
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

/// A segmenter on images of two by four patches, of which some pixels have no class, with channels dropped before the scores.
fn check_segmenter(head: HeadConfig, taps: [usize; 4], mean: PixelMean) {
    let vit = Config { image: [4, 8], depth: 4, ..small(RelativePositions::PerLayer, Some(0.1), false) };
    let config = SegmenterConfig::on(vit, 3, taps, head);
    assert_eq!(config.validate(), Ok(()));
    let params = randomised(&Segmenter::<Shape>::shapes(&config));
    let running = Segmenter::init_running(&OPS, &config);
    let images = random([2, 3, 4, 8], 3);
    let input = Input { images: &images, mask: None, drop_path: None };
    let dropout: Vec<Array> = config
        .scored()
        .into_iter()
        .map(|c| {
            let factors: Vec<f32> = (0..2 * c).map(|i| if i % 3 == 1 { 0.0 } else { 1.25 }).collect();
            OPS.upload([2, c], &factors)
        })
        .collect();
    let labels: Vec<u32> = (0..64).map(|i| if i % 5 == 2 { 255 } else { (i * 7 / 3) % 3 }).collect();
    let pixels = Pixels { labels: &labels, size: [4, 8], classes: 3 };

    let losses = |params: &Segmenter<Array>| {
        let (logits, saved) = params.forward(&OPS, &input, &mut running.clone(), &dropout, Keep::ALL);
        (pixel_loss(&OPS, &logits, &pixels, mean, 1.0), saved)
    };
    let loss = |params: &Segmenter<Array>| {
        let metrics = losses(params).0.metrics;
        // The weight of auxiliary heads is a number in f32.
        metrics[0][0] + metrics[1..].iter().map(|m| f64::from(0.4f32) * m[0]).sum::<f64>()
    };
    let (found, saved) = losses(&params);
    let mut grads = params.map(&mut |p: &Array| OPS.zeros(OPS.shape(p)));
    params.backward(&OPS, &input, &found.d_logits, &dropout, saved, &mut grads);
    check(&params, &grads, &loss);
}

fn upernet(auxiliary: Option<Auxiliary>) -> HeadConfig {
    HeadConfig::Upernet { channels: 5, scales: vec![1, 2, 3], auxiliary }
}

#[test]
fn segmenter_setr_pup() {
    let head = HeadConfig::SetrPup { channels: 5, auxiliary: false };
    check_segmenter(head, [0, 1, 2, 3], PixelMean::Labelled);
}

/// The heads read blocks that are not the last.
#[test]
fn segmenter_setr_pup_auxiliary() {
    let head = HeadConfig::SetrPup { channels: 4, auxiliary: true };
    check_segmenter(head, [0, 1, 2, 3], PixelMean::All);
}

#[test]
fn segmenter_upernet() {
    check_segmenter(upernet(None), [0, 1, 2, 3], PixelMean::All);
}

#[test]
fn segmenter_upernet_auxiliary() {
    check_segmenter(upernet(Some(Auxiliary { channels: 4, layers: 2 })), [0, 1, 2, 3], PixelMean::Labelled);
}
