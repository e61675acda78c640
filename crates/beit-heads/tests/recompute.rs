//! What a forward keeps: the inputs of the blocks only, or nothing of those that are not trained. The same bits for less memory.

use beit_heads::{Classifier, ClassifierConfig, Mim, MimConfig, Pooling, masked_rows};
use beit_ops::host::{Array, Real};
use beit_ops::init::Stream;
use beit_ops::prelude::*;
use beit_ops::{Footprint, Host, Layer, Leaf, Plan, Role, Shape, Targets, Tree};
use beit_vit::{Config, DropPath, Input, Keep, Preset, RelativePositions};

const BATCH: usize = 3;

fn small(relative_positions: RelativePositions, inner_norms: bool) -> Config {
    let shape =
        Config { image: [8, 12], width: 12, depth: 3, heads: 2, hidden: 20, ..Config::new(Preset::Tiny) };
    Config { relative_positions, inner_norms, ..shape }
}

fn random<O: Ops>(ops: &O, shape: impl Into<Shape>, stream: u64) -> O::Tensor {
    let shape = shape.into();
    ops.upload(shape, &Stream::new(9, stream).normals(shape.elements(), 0.5))
}

/// The first block drops nothing.
fn drop_path<O: Ops>(ops: &O, depth: usize) -> DropPath<O::Tensor> {
    let factor = |i: usize| if i.is_multiple_of(3) { 0.0 } else { 1.5 };
    let branch = |i: usize| ops.upload([BATCH], &[factor(i), factor(i + 1), factor(i + 2)]);
    let whole = || ops.upload([BATCH], &[1.0; BATCH]);
    let dropping = (1..depth).map(|i| [branch(i), branch(i + 1)]);
    DropPath([[whole(), whole()]].into_iter().chain(dropping).collect())
}

/// Logits and every gradient of a step of masked image modelling.
fn mim<O: Ops>(ops: &O, vit: Config, keep: Keep) -> Vec<O::Tensor> {
    let config = MimConfig { vit, vocab: 7 };
    let params = Mim::init(ops, &config, 3);
    let n = config.vit.patches();
    let masks: Vec<bool> = (0..BATCH * n).map(|i| i % 2 == 0).collect();
    let images = random(ops, [BATCH, 3, config.vit.image[0], config.vit.image[1]], 1);
    let mask = ops.upload([BATCH, n], &masks.iter().map(|&m| f32::from(m)).collect::<Vec<_>>());
    let drop_path = drop_path(ops, config.vit.depth);
    let input = Input { images: &images, mask: Some(&mask), drop_path: Some(&drop_path) };
    let rows = masked_rows(&masks, n);
    let codes = ops.upload_ids(&rows.iter().map(|row| row % 7).collect::<Vec<_>>());
    let targets = Targets::Classes { ids: &codes, smoothing: 0.0 };

    let (logits, saved) = params.forward(ops, &input, &ops.upload_ids(&rows), keep);
    let d_logits =
        ops.cross_entropy_backward(&logits, &targets, &ops.cross_entropy(&logits, &targets).1, 1.0);
    let mut grads = params.map(&mut |p| ops.zeros(ops.shape(p)));
    params.backward(ops, &input, &d_logits, saved, &mut grads);
    [logits].into_iter().chain(grads.leaves().into_iter().cloned()).collect()
}

/// Logits and every gradient of a step of classification.
fn classifier<O: Ops>(ops: &O, vit: Config, keep: Keep) -> Vec<O::Tensor> {
    let config = ClassifierConfig::on(vit, 5, Pooling::Mean);
    let params = Classifier::init(ops, &config, 3);
    let images = random(ops, [BATCH, 3, config.vit.image[0], config.vit.image[1]], 2);
    let drop_path = drop_path(ops, config.vit.depth);
    let input = Input { images: &images, mask: None, drop_path: Some(&drop_path) };
    let ids = ops.upload_ids(&[4, 1, 0]);
    let targets = Targets::Classes { ids: &ids, smoothing: 0.1 };

    let (logits, saved) = params.forward(ops, &input, keep);
    let d_logits =
        ops.cross_entropy_backward(&logits, &targets, &ops.cross_entropy(&logits, &targets).1, 1.0);
    let mut grads = params.map(&mut |p| ops.zeros(ops.shape(p)));
    params.backward(ops, &input, &d_logits, saved, &mut grads);
    [logits].into_iter().chain(grads.leaves().into_iter().cloned()).collect()
}

fn same_bits<F: Real>()
where
    Host<F>: Ops<Tensor = Array<F>>,
{
    let ops = Host::<F>::new();
    let models = [mim::<Host<F>> as fn(&Host<F>, Config, Keep) -> Vec<_>, classifier::<Host<F>>];
    let configs = [
        (0, small(RelativePositions::Shared, false)),
        (0, small(RelativePositions::Shared, true)),
        (1, small(RelativePositions::PerLayer, false)),
        (1, small(RelativePositions::PerLayer, true)),
    ];
    for (model, config) in configs {
        let [all, inputs] = [Keep::ALL, Keep::INPUTS].map(|keep| models[model](&ops, config.clone(), keep));
        assert!(all.len() > 40);
        for (i, (all, inputs)) in all.iter().zip(&inputs).enumerate() {
            assert!(all.iter().any(|v| v.to_f64() != 0.0), "tensor {i} is zero");
            let bits = |v: &F| v.to_f64().to_bits();
            assert!(all.iter().map(bits).eq(inputs.iter().map(bits)), "tensor {i} differs");
        }
    }
}

/// Whether a parameter is not trained where the first block is not.
fn is_frozen(leaf: &Leaf) -> bool {
    match leaf.layer {
        Layer::Stem | Layer::Block(0) => true,
        Layer::Block(_) => false,
        Layer::Top => leaf.role == Role::RelativePositions,
    }
}

/// Gradients of what is trained are those of training everything, and the others are zero.
fn only_the_trained_have_gradients(
    leaves: &[Leaf],
    vit: &Config,
    step: fn(&Host<f32>, Config, Keep) -> Vec<Array<f32>>,
) {
    let ops = Host::<f32>::new();
    for keep in [Keep::ALL, Keep::INPUTS] {
        let [all, above] = [keep, keep.frozen(1)].map(|keep| step(&ops, vit.clone(), keep));
        assert!(all[0] == above[0], "the logits differ");
        let (mut trained, mut others) = (0, 0);
        for ((leaf, all), above) in leaves.iter().zip(&all[1..]).zip(&above[1..]) {
            let frozen = is_frozen(leaf);
            match frozen {
                true => assert!(above.iter().all(|&v| v == 0.0), "{} has a gradient", leaf.name),
                false => assert!(all == above, "the gradient of {} differs", leaf.name),
            }
            *if frozen { &mut others } else { &mut trained } += 1;
        }
        assert!(trained > 20 && others > 10, "{trained} and {others}");
    }
    // Nothing but the head and the norm before it.
    let head = step(&ops, vit.clone(), Keep::ALL.frozen(vit.depth));
    let trained = leaves.iter().zip(&head[1..]).filter(|(_, grad)| grad.iter().any(|&v| v != 0.0));
    let trained: Vec<_> = trained.map(|(leaf, _)| leaf).collect();
    assert!(trained.len() == 4 && trained.iter().all(|leaf| leaf.layer == Layer::Top && !is_frozen(leaf)));
}

#[test]
fn what_is_not_trained_gets_no_gradient() {
    let of = |leaves: Vec<(Leaf, &Shape)>| leaves.into_iter().map(|(leaf, _)| leaf).collect::<Vec<_>>();
    let vit = small(RelativePositions::PerLayer, false);
    let shapes = Classifier::<Shape>::shapes(&ClassifierConfig::on(vit.clone(), 5, Pooling::Mean));
    only_the_trained_have_gradients(&of(shapes.described()), &vit, classifier);
    // One table for all blocks stays as it is for those that are not trained, and so for all.
    let vit = small(RelativePositions::Shared, false);
    let shapes = Mim::<Shape>::shapes(&MimConfig { vit: vit.clone(), vocab: 7 });
    only_the_trained_have_gradients(&of(shapes.described()), &vit, mim);
}

#[test]
fn the_same_bits_f32() {
    same_bits::<f32>();
}

#[test]
fn the_same_bits_f64() {
    same_bits::<f64>();
}

/// Peak of memory beyond what is alive before and after, and the work.
fn planned(keep: Keep, inner_norms: bool) -> (usize, u64) {
    // The CPU would keep packed copies of weights that are used twice, until they change. This is about activations.
    let ops = Plan::new(Footprint::gpu(4));
    let config = MimConfig { vit: Config { inner_norms, ..Config::new(Preset::Base) }, vocab: 8192 };
    let params = Mim::shapes(&config).map(&mut |shape| ops.zeros(*shape));
    let mut grads = params.clone();
    let images = ops.zeros([8, 3, 224, 224]);
    let rows = ops.upload_ids(&[1; 600]);
    let input = Input { images: &images, mask: None, drop_path: None };
    let before = ops.live_bytes();
    let (logits, saved) = params.forward(&ops, &input, &rows, keep);
    params.backward(&ops, &input, &logits, saved, &mut grads);
    drop(logits);
    assert_eq!(ops.live_bytes(), before, "nothing is left over");
    (ops.peak_bytes() - before, ops.flops())
}

#[test]
fn a_fraction_of_the_memory() {
    for inner_norms in [false, true] {
        let (all, work) = planned(Keep::ALL, inner_norms);
        let (inputs, more_work) = planned(Keep::INPUTS, inner_norms);
        // One block with everything and the inputs of twelve.
        assert!(inputs < all / 4, "{inputs} of {all}");
        assert!(more_work > work && more_work < work * 4 / 3, "{more_work} for {work}");
    }
}

#[test]
fn what_is_not_trained_costs_half() {
    let (all, work) = planned(Keep::ALL, false);
    let (half, less_work) = planned(Keep::ALL.frozen(6), false);
    // Of twelve blocks, each twice as much work backward as forward.
    assert!(half < all * 6 / 10, "{half} of {all}");
    assert!(less_work > work * 6 / 10 && less_work < work * 7 / 10, "{less_work} of {work}");
}

/// Norms inside a block cost no products. What they make is kept beside what they read: C and hidden, 5 C more for each token.
#[test]
fn what_inner_norms_keep() {
    let [(without, work), (with, same_work)] = [false, true].map(|inner| planned(Keep::ALL, inner));
    assert_eq!(work, same_work);
    let more = 4 * 12 * 8 * 197 * 5 * 768;
    let kept = with - without;
    // The last MLP sees 600 rows of 1576, and the statistics are two numbers a row.
    assert!(kept > more * 9 / 10 && kept < more * 101 / 100, "{kept} where {more} are expected at most");
}
