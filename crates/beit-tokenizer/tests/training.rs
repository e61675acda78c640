//! Learning: the loss falls, and the codebook comes into use.

use beit_ops::init::Stream;
use beit_ops::prelude::*;
use beit_ops::{AdamW, GumbelNoise, Host, Tree};
use beit_tokenizer::{Config, Recipe, Terms, Tokenizer, Usage, init, pixels};

const OPS: Host<f32> = Host::new();
const SIDE: usize = 8;
const STEPS: u64 = 120;

type Tensor = <Host<f32> as beit_ops::Device>::Tensor;

/// Grey squares of random brightness and place on a grey ground.
fn images(count: usize, recipe: &Recipe, stream: &mut Stream) -> Tensor {
    let mut data = Vec::new();
    for _ in 0..count {
        let [ground, square, x0, y0] = [(); 4].map(|()| stream.uniform());
        let inside = |i: usize, from: f32| (i as f32 / SIDE as f32 - from).abs() < 0.3;
        for i in 0..3 * SIDE * SIDE {
            let (y, x) = (i / SIDE % SIDE, i % SIDE);
            let grey = if inside(x, x0) && inside(y, y0) { square } else { ground };
            data.push(pixels::dithered(grey, recipe.dither, stream.uniform()));
        }
    }
    OPS.upload([count, 3, SIDE, SIDE], &data)
}

fn step(step: u64, recipe: &Recipe, images: &Tensor, state: &mut [Tokenizer<Tensor>; 4]) -> Terms {
    let [weights, grads, first, second] = state;
    let objective = recipe.objective(step);
    let (losses, saved) = weights.forward(&OPS, images, GumbelNoise { seed: 1, step }, &objective);
    grads.leaves_mut().into_iter().for_each(|grad| OPS.clear(grad));
    weights.backward(&OPS, saved, &objective, grads);
    let clip = OPS.clip_factor(&grads.leaves(), recipe.max_norm, 1.0);
    let moments = first.leaves_mut().into_iter().zip(second.leaves_mut());
    for ((weight, grad), (first, second)) in weights.leaves_mut().into_iter().zip(grads.leaves()).zip(moments)
    {
        let Recipe { beta1, beta2, weight_decay, .. } = *recipe;
        let lr = recipe.schedule.lr.at(step);
        let hyper = AdamW { lr, beta1, beta2, eps: 1e-8, weight_decay, step: step + 1 };
        OPS.adamw(weight, grad, [first, second], &clip, &hyper);
    }
    losses.read(&OPS).expect("the host does not fail")
}

#[test]
fn loss_falls_and_tokens_come_into_use() {
    let small = Recipe::small();
    let recipe = Recipe { batch: 16, schedule: small.schedule.rescaled(STEPS), ..small };
    let config = Config { hidden: 16, blocks_per_group: 1, ..Config::tiny() };
    let weights = init(&OPS, &config, 1);
    let zeros = weights.map(&mut |leaf| OPS.zeros(OPS.shape(leaf)));
    let mut state = [weights, zeros.clone(), zeros.clone(), zeros];
    let mut stream = Stream::new(2, 0);
    let terms: Vec<Terms> = (0..STEPS)
        .map(|s| step(s, &recipe, &images(recipe.batch, &recipe, &mut stream), &mut state))
        .collect();
    let mean = |terms: &[Terms]| terms.iter().map(|t| t.reconstruction).sum::<f32>() / terms.len() as f32;
    let (start, end) = (mean(&terms[..10]), mean(&terms[STEPS as usize - 10..]));
    assert!(end < start - 0.2, "reconstruction went from {start} to {end}");

    let codes = state[0].encoder.encode(&OPS, &images(64, &recipe, &mut stream));
    let usage = Usage::counted(&codes, config.vocab);
    assert!(usage.used() >= 8, "{usage:?}");
}
