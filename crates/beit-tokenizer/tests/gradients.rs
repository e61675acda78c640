//! The whole tokenizer: gradients against finite differences, wiring without data, and what it computes.

use beit_ops::init::Stream;
use beit_ops::prelude::*;
use beit_ops::{Footprint, GumbelNoise, Host, Plan, Shape, Tree};
use beit_tokenizer::{Config, Objective, Tokenizer, init, pixels};

type Tensor = <Host<f64> as beit_ops::Device>::Tensor;

const OPS: Host<f64> = Host::new();
const NOISE: GumbelNoise = GumbelNoise { seed: 1, step: 2 };
const OBJECTIVE: Objective = Objective { temperature: 0.7, kl_weight: 3.0, usage_weight: 0.5 };

fn images(count: usize, side: usize) -> Tensor {
    let mut stream = Stream::new(3, 4);
    let data: Vec<f32> = (0..count * 3 * side * side).map(|_| pixels::map(stream.uniform())).collect();
    OPS.upload([count, 3, side, side], &data)
}

/// A tokenizer whose biases are not zero.
fn tokenizer() -> Tokenizer<Tensor> {
    let mut weights = init(&OPS, &Config::tiny(), 5);
    for (number, leaf) in weights.leaves_mut().into_iter().enumerate() {
        let shape = OPS.shape(leaf);
        let noise = Stream::new(6, number as u64).normals(shape.elements(), 0.1);
        OPS.add_assign(leaf, &OPS.upload(shape, &noise));
    }
    weights
}

/// The weighted sum that [`Objective`] documents.
fn loss(weights: &Tokenizer<Tensor>, images: &Tensor) -> f64 {
    let (losses, _) = weights.forward(&OPS, images, NOISE, &OBJECTIVE);
    let divergences = &losses.divergences[..];
    let positions_over_elements = 1.0 / (3.0 * 16.0);
    losses.reconstruction[0]
        + OBJECTIVE.kl_weight * positions_over_elements * divergences[0]
        + OBJECTIVE.usage_weight * divergences[1]
}

/// Every parameter tensor of both halves, in some elements. Central differences of a loss of order 1 with steps of 1e-5
/// are good to 1e-10; ReLU and pooling have kinks, which the fixed seed stays clear of.
#[test]
fn gradients_against_finite_differences() {
    const STEP: f64 = 1e-5;
    const ALLOWED: f64 = 1e-9;
    let mut weights = tokenizer();
    let images = images(2, 8);
    let mut grads = weights.map(&mut |leaf| OPS.zeros(OPS.shape(leaf)));
    let (_, saved) = weights.forward(&OPS, &images, NOISE, &OBJECTIVE);
    weights.backward(&OPS, saved, &OBJECTIVE, &mut grads);
    let names: Vec<_> = weights.named().into_iter().map(|(name, _)| name).collect();
    let mut largest = 0f64;
    for (k, name) in names.iter().enumerate() {
        let grad = grads.leaves()[k].clone();
        let grad = &grad[..];
        for i in (0..grad.len()).step_by(grad.len().div_ceil(3)) {
            let mut at = |step: f64| {
                weights.leaves_mut()[k][i] += step;
                loss(&weights, &images)
            };
            let (above, below) = (at(STEP), at(-2.0 * STEP));
            at(STEP);
            let want = (above - below) / (2.0 * STEP);
            assert!((grad[i] - want).abs() <= ALLOWED, "{name}[{i}]: got {}, want {want}", grad[i]);
            largest = largest.max(want.abs());
        }
    }
    assert!(largest > 0.05, "the gradients are not all tiny: {largest}");
}

/// `backward` adds to what is in the gradients.
#[test]
fn gradients_accumulate() {
    let weights = tokenizer();
    let images = images(1, 4);
    let step = |grads: &mut Tokenizer<Tensor>| {
        let (_, saved) = weights.forward(&OPS, &images, NOISE, &OBJECTIVE);
        weights.backward(&OPS, saved, &OBJECTIVE, grads);
    };
    let mut once = weights.map(&mut |leaf| OPS.zeros(OPS.shape(leaf)));
    step(&mut once);
    let mut twice = once.clone();
    step(&mut twice);
    for (once, twice) in once.leaves().into_iter().zip(twice.leaves()) {
        assert!(once.iter().zip(twice).all(|(a, b)| (2.0 * a - b).abs() < 1e-12));
    }
}

/// Decoding codes is decoding their one-hot vectors.
#[test]
fn codes_are_one_hot_vectors() {
    let config = Config::tiny();
    let weights = tokenizer();
    let codes = [3, 0, 15, 3, 7, 8];
    let mut one_hot = vec![0.0; codes.len() * config.vocab];
    for (row, &code) in codes.iter().enumerate() {
        one_hot[row * config.vocab + code as usize] = 1.0;
    }
    let one_hot = OPS.upload([1, 2, 3, config.vocab], &one_hot);
    let want = weights.decoder.decode_probabilities(&OPS, &one_hot).unwrap();
    let got = weights.decoder.decode(&OPS, &codes, [2, 3]).unwrap();
    assert_eq!(got.len(), 3 * 8 * 12);
    assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-6));
    assert!(got.iter().all(|v| (0.0..=1.0).contains(v)));
}

/// Inference gives what training gives, one token for each position.
#[test]
fn encoding_takes_the_largest_logit() {
    let weights = tokenizer();
    let images = images(2, 8);
    let logits = weights.encoder.logits(&OPS, &images);
    assert_eq!(OPS.shape(&logits), Shape::from([2 * 2 * 2, 16]));
    let codes = weights.encoder.encode(&OPS, &images);
    for (row, &code) in logits.chunks_exact(logits.len() / codes.len()).zip(&codes) {
        assert!(row.iter().all(|v| *v <= row[code as usize]));
    }
    let some = [7, 0, 3];
    let named = weights.encoder.encode_positions(&OPS, &images, &OPS.upload_ids(&some));
    assert_eq!(named, some.map(|position| codes[position as usize]));
}

/// The wiring of the published model at the published size, forward and backward, without data.
#[test]
fn published_model_fits_together() {
    let plan = Plan::new(Footprint::gpu(4));
    let weights = Tokenizer::shapes(&Config::dalle()).map(&mut |shape| plan.zeros(*shape));
    let mut grads = weights.map(&mut |leaf| plan.zeros(plan.shape(leaf)));
    let images = plan.zeros([1, 3, 112, 112]);
    let (losses, saved) = weights.forward(&plan, &images, NOISE, &OBJECTIVE);
    assert_eq!(plan.shape(&losses.divergences), Shape::from([2]));
    weights.backward(&plan, saved, &OBJECTIVE, &mut grads);
    let before = plan.live_bytes();
    let logits = weights.encoder.logits(&plan, &images);
    assert_eq!(plan.shape(&logits), Shape::from([14 * 14, 8192]));
    assert_eq!(plan.live_bytes(), before + 4 * 14 * 14 * 8192);
}
