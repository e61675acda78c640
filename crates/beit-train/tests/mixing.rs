//! Training on mixed images: gradients, what is counted as right, and going on.

use crate::common::{self, Array, OPS, TASK, Training, bits, loader, params, recipe, reports};
use beit_data::{Batch, LabelledBatch, LabelledSample};
use beit_heads::{Classifier, ClassifierConfig, Pooling};
use beit_ops::{Device, Host, Tree};
use beit_train::{Changes, Classification, Mixing, Moment, NoHooks, Recipe, Task, Trainer};
use beit_vit::{Config, Preset};

const MIXUP: Mixing = Mixing { cutmix: 0.0, ..Mixing::STANDARD };
const CUTMIX: Mixing = Mixing { mixup: 0.0, ..Mixing::STANDARD };

fn mixing(mixing: Mixing, recipe: Recipe) -> Training {
    Trainer::new(&OPS, Classification { mixing: Some(mixing), ..TASK }, recipe, params())
}

/// Two bright images and two dark ones, in that order, so that each is mixed with one of the other class.
fn batch() -> Batch<LabelledSample> {
    let value = |i: usize| if i < 2 * 192 { 1.0 } else { -1.0 } + (i * 7 % 13) as f32 / 20.0;
    let data = LabelledBatch { pixels: (0..4 * 192).map(value).collect(), labels: vec![0, 0, 1, 1] };
    Batch { epoch: 0, number: 0, indices: vec![0, 1, 2, 3], data }
}

/// The metrics of a micro-batch and the gradients of its loss, by one kind of number.
fn micro_batch<O: beit_ops::Ops>(
    ops: &O,
    mixing: Mixing,
    params: &Classifier<O::Tensor>,
    number: u64,
) -> (O::Tensor, Classifier<O::Tensor>) {
    let mut grads = params.map(&mut |p| ops.zeros(ops.shape(p)));
    let moment = Moment { step: 0, number, seed: 7, alone: true, frozen: 0 };
    let changes = Changes { grads: &mut grads, buffers: &mut () };
    let task = Classification { mixing: Some(mixing), ..TASK };
    let outcome = task.micro_batch(ops, params, &batch(), &moment, changes, &mut |_| {}).expect("it works");
    (outcome.metrics, grads)
}

#[test]
fn gradients_are_those_of_the_loss() {
    let ops = Host::<f64>::new();
    let vit = Config { image: [8, 8], width: 8, depth: 1, heads: 2, hidden: 16, ..Config::new(Preset::Tiny) };
    let vit = Config { drop_path: 0.0, ..vit };
    let mut params = Classifier::init(&ops, &ClassifierConfig::on(vit, 2, Pooling::Mean), 3);
    // The head begins so near zero that the gradients of everything below it are.
    params.head.weight.iter_mut().for_each(|w| *w *= 1e3);
    let step = 1e-5;
    for (mixing, numbers) in [(MIXUP, 0..3), (CUTMIX, 0..3)] {
        for number in numbers {
            let (_, grads) = micro_batch(&ops, mixing, &params, number);
            let grads: Vec<Vec<f64>> =
                grads.leaves().iter().map(|leaf| leaf.iter().copied().collect()).collect();
            let scale = grads.iter().flatten().fold(0.0_f64, |most, g| most.max(g.abs()));
            for (leaf, grads) in grads.iter().enumerate() {
                // An element of each tensor, another for each micro-batch.
                let at = (leaf * 31 + number as usize * 17) % grads.len();
                let loss = |by: f64| {
                    let mut moved = params.clone();
                    *moved.leaves_mut()[leaf].get_mut(at).expect("it is in the tensor") += by;
                    micro_batch(&ops, mixing, &moved, number).0[0]
                };
                let expected = (loss(step) - loss(-step)) / (2.0 * step);
                // The error of a central difference, and the targets' rounding to single precision.
                let allowed = 1e-6 * scale;
                let found = grads[at];
                assert!((found - expected).abs() < allowed, "leaf {leaf}: {found}, {expected} +- {allowed}");
            }
        }
    }
}

#[test]
fn mixing_changes_what_is_learnt_and_goes_on_to_the_same_bits() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut straight = mixing(Mixing::STANDARD, recipe(1e-2, 2));
    reports(&mut straight, &loader(4), 6, &mut NoHooks).expect("training works");
    let mut plain = common::training(recipe(1e-2, 2));
    reports(&mut plain, &loader(4), 6, &mut NoHooks).expect("training works");
    assert!(bits(&plain.params) != bits(&straight.params));

    let mut first = mixing(Mixing::STANDARD, recipe(1e-2, 2));
    reports(&mut first, &loader(4), 4, &mut NoHooks).expect("training works");
    first.save_state(folder.path()).expect("the disk has room");
    let mut second = mixing(Mixing::STANDARD, recipe(1e-2, 2));
    second.params = first.params;
    second.load_state(folder.path()).expect("the state fits");
    reports(&mut second, &loader(4), 6, &mut NoHooks).expect("training works");
    assert!(bits(&second.params) == bits(&straight.params));

    let error = mixing(MIXUP, recipe(1e-2, 2)).load_state(folder.path()).expect_err("another recipe");
    assert!(error.to_string().contains("cutmix was 1.0, is 0.0"), "{error}");
    let error = common::training(recipe(1e-2, 2)).load_state(folder.path()).expect_err("another recipe");
    assert!(error.to_string().contains("mixing was "), "{error}");
}

/// With probability 0 the loss is that of the labels, up to the rounding of the targets.
#[test]
fn unmixed_batches_have_the_loss_of_their_labels() {
    let never = Mixing { probability: 0.0, ..Mixing::STANDARD };
    let mut mixed = mixing(never, recipe(1e-2, 1));
    let mut plain = common::training(recipe(1e-2, 1));
    let mixed = reports(&mut mixed, &loader(8), 1, &mut NoHooks).expect("training works").remove(0);
    let plain = reports(&mut plain, &loader(8), 1, &mut NoHooks).expect("training works").remove(0);
    assert!((mixed.loss - plain.loss).abs() < 1e-6, "{} {}", mixed.loss, plain.loss);
    assert_eq!(mixed.accuracy, plain.accuracy);
}

#[test]
fn the_host_s_numbers_are_f32_near_f64() {
    let params: Classifier<Array> = params();
    let ops = Host::<f64>::new();
    let wide = params.map(&mut |p| ops.upload(OPS.shape(p), &OPS.read(p).expect("it is on the host")));
    for mixing in [MIXUP, CUTMIX] {
        let (narrow, _) = micro_batch(&OPS, mixing, &params, 1);
        let (wide, _) = micro_batch(&ops, mixing, &wide, 1);
        assert!((f64::from(narrow[0]) - wide[0]).abs() < 1e-5, "{} {}", narrow[0], wide[0]);
    }
}
