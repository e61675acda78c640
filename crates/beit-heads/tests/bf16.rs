//! Products in bf16 on the CPU change what a model says by little.

use beit_heads::{Classifier, ClassifierConfig, Pooling};
use beit_ops::init::Stream;
use beit_ops::prelude::*;
use beit_ops::{Host, Tree};
use beit_vit::{Config, Preset, RelativePositions};

/// How far bf16 is off.
struct Apart {
    /// The largest difference of two logits of an image, as a share of the range of its logits.
    off: f32,
    /// Images that are given the same class.
    same: usize,
    images: usize,
}

/// A model of random weights with `classes` classes on random images, `batch` at a time.
fn apart(preset: Preset, classes: usize, seeds: u64, batch: usize) -> Apart {
    let vit = Config { relative_positions: RelativePositions::PerLayer, ..Config::new(preset) };
    let config = ClassifierConfig::on(vit, classes, Pooling::Mean);
    let mut apart = Apart { off: 0.0, same: 0, images: 0 };
    for seed in 0..seeds {
        let exact = logits(&Host::<f32>::new(), &config, seed, batch);
        let rounded = logits(&Host::bf16(), &config, seed, batch);
        for (exact, rounded) in exact.chunks(classes).zip(rounded.chunks(classes)) {
            let range =
                exact.iter().fold(f32::MIN, |a, &b| a.max(b)) - exact.iter().fold(f32::MAX, |a, &b| a.min(b));
            let off = exact.iter().zip(rounded).fold(0.0f32, |off, (a, b)| off.max((a - b).abs()));
            apart.off = apart.off.max(off / range);
            apart.same += usize::from(best(exact) == best(rounded));
            apart.images += 1;
        }
    }
    apart
}

fn logits(host: &Host<f32>, config: &ClassifierConfig, seed: u64, batch: usize) -> Vec<f32> {
    let mut number = 0;
    // Every tensor is random, tables and biases too, as they are in a model that was trained.
    let params = Classifier::shapes(config).map(&mut |shape| {
        number += 1;
        let norm = shape.len() == 1 && shape[0] == config.vit.width;
        let numbers = Stream::new(seed, number).normals(shape.elements(), 0.05);
        host.upload(*shape, &numbers.iter().map(|x| if norm { 0.5 + x } else { *x }).collect::<Vec<_>>())
    });
    let [height, width] = config.vit.image;
    let pixels = Stream::new(seed, 0).normals(batch * 3 * height * width, 1.0);
    let images = host.upload([batch, 3, height, width], &pixels);
    host.read(&params.infer(host, &images)).expect("the host works")
}

fn best(logits: &[f32]) -> usize {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).expect("there are classes")
}

#[test]
fn tiny() {
    let Apart { off, same, images } = apart(Preset::Tiny, 10, 10, 16);
    assert!(off <= 0.02, "logits are off by {off} of their range");
    assert!(100 * same >= 99 * images, "{same} of {images} have the same class");
}

/// Minutes without optimisation.
#[test]
#[ignore = "base takes minutes: scripts/slow"]
#[allow(clippy::print_stdout)]
fn base() {
    let Apart { off, same, images } = apart(Preset::Base, 1000, 25, 4);
    println!("logits off by {off} of their range, the same class for {same} of {images}");
    assert!(off <= 0.02, "logits are off by {off} of their range");
    assert!(100 * same >= 99 * images, "{same} of {images} have the same class");
}
