//! The loop on a few made-up images: the guard, accumulation, and going on where a run stopped.

use crate::common::{self, Training, bits, loader, recipe, training};
use beit_ops::{Layer, Tree};
use beit_train::{Error, Hyper, NoHooks, Recipe, StepReport};

/// Runs up to a step; returns its reports.
fn reports(training: &mut Training, batch: usize, until: u64) -> Result<Vec<StepReport>, Error> {
    common::reports(training, &loader(batch), until, &mut NoHooks)
}

/// Runs up to a step; returns the loss of each step.
fn run(training: &mut Training, batch: usize, until: u64) -> Result<Vec<f64>, Error> {
    Ok(reports(training, batch, until)?.iter().map(|report| report.loss).collect())
}

#[test]
fn a_step_of_two_micro_batches_is_one_of_both() {
    let mut whole = training(recipe(1e-2, 1));
    let mut halves = training(recipe(1e-2, 2));
    let one = run(&mut whole, 8, 6).expect("training works");
    let two = run(&mut halves, 4, 6).expect("training works");
    assert_eq!(one.len(), 6);
    for (step, (one, two)) in one.iter().zip(&two).enumerate() {
        // The same gradients added in another order, six steps long.
        assert!((one - two).abs() < 1e-5, "step {step}: {one} and {two}");
    }
    assert!(one[5] < one[0], "it learns: {one:?}");
}

#[test]
fn going_on_gives_the_same_bits() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut straight = training(recipe(1e-2, 1));
    run(&mut straight, 8, 6).expect("training works");

    let mut first = training(recipe(1e-2, 1));
    run(&mut first, 8, 4).expect("training works");
    first.save_state(folder.path()).expect("the disk has room");
    let mut second = training(recipe(1e-2, 1));
    second.params = first.params;
    second.load_state(folder.path()).expect("the state fits");
    assert_eq!(second.optimiser.steps(), 4);
    run(&mut second, 8, 6).expect("training works");
    assert!(bits(&second.params) == bits(&straight.params));

    let mut other = training(recipe(2e-2, 1));
    let error = other.load_state(folder.path());
    assert!(error.expect_err("another recipe").to_string().contains("peak was 0.01, is 0.02"));
}

#[test]
fn a_number_that_is_none_stops_the_run_before_it_does_harm() {
    let mut training = training(recipe(1e-2, 1));
    run(&mut training, 8, 2).expect("training works");
    // A weight so large that the first layer norm of the MLP overflows.
    training.params.vit.blocks[1].mlp.fc1.weight.fill(3e38);
    let before = bits(&training.params);
    let error = run(&mut training, 8, 6).expect_err("the loss is not finite");
    let Error::NotFinite { phase, step, tensor } = &error else { panic!("{error}") };
    assert_eq!((*phase, *step), ("finetune", 2));
    assert!(tensor.contains("loss") || tensor.contains("gradient of"), "{tensor}");
    assert!(error.to_string().contains("step 2"), "{error}");
    assert!(bits(&training.params) == before, "the parameters are untouched");
}

#[test]
fn computing_again_gives_the_same_bits() {
    let mut kept = training(recipe(1e-2, 1));
    let mut again = training(recipe(1e-2, 1));
    again.task.recompute = true;
    assert_eq!(run(&mut kept, 8, 6).expect("training works"), run(&mut again, 8, 6).expect("training works"));
    assert!(bits(&kept.params) == bits(&again.params));
}

#[test]
fn reading_seldom_reports_the_same() {
    let reports = |read_every: u64, accumulate: u64, report_every: u64| {
        let recipe = Recipe { read_every, report_every, ..recipe(1e-2, accumulate) };
        let mut training = training(recipe);
        let reports = reports(&mut training, 4, 6).expect("training works");
        let numbers = |report: &StepReport| {
            let numbers =
                [report.loss, report.accuracy.unwrap_or(-1.0), report.lr, report.grad_norm.unwrap_or(-1.0)];
            (report.step, numbers.map(f64::to_bits))
        };
        (reports.iter().map(numbers).collect::<Vec<_>>(), bits(&training.params))
    };
    for (accumulate, report_every) in [(1, 1), (2, 4), (1, 3), (2, 50)] {
        let always = reports(1, accumulate, report_every);
        assert_eq!(always.0.len() as u64, 6u64.div_ceil(report_every));
        for read_every in [0, 2, 5, 100] {
            assert!(reports(read_every, accumulate, report_every) == always, "{read_every}, {report_every}");
        }
    }
}

#[test]
fn a_step_that_is_not_finite_is_skipped_and_reported_later() {
    let recipe = Recipe { read_every: 4, report_every: 50, ..recipe(1e-2, 1) };
    let mut training = training(recipe);
    run(&mut training, 8, 1).expect("training works");
    training.params.vit.blocks[1].mlp.fc1.weight.fill(3e38);
    let before = bits(&training.params);
    let error = run(&mut training, 8, 6).expect_err("the loss is not finite");
    let Error::NotFinite { phase, step, .. } = &error else { panic!("{error}") };
    assert_eq!((*phase, *step), ("finetune", 1), "the first of the steps that were not finite");
    assert_eq!(training.optimiser.steps(), 3, "the look after step 4 ends the run before that is taken");
    assert!(bits(&training.params) == before, "no step was taken");
    let moments =
        training.optimiser.state(&common::OPS).map(|moment| moment.expect("the host can be read").2);
    assert!(moments.flatten().all(f32::is_finite));
}

#[test]
fn the_gradient_that_is_not_finite_is_named() {
    let mut training = training(recipe(1e-2, 1));
    // The loss stays finite, but the gradient of what lies before this gamma does not.
    training.params.vit.blocks[0].gamma_2.as_mut().expect("LayerScale").fill(0.0);
    training.params.vit.blocks[0].mlp.fc2.weight.fill(2e38);
    training.params.vit.blocks[0].mlp.fc2.bias.as_mut().expect("a bias").fill(f32::MAX);
    match run(&mut training, 8, 6) {
        Err(Error::NotFinite { step: 0, tensor, .. }) => assert!(tensor.len() > 3, "{tensor}"),
        other => panic!("expected a guard at step 0, got {other:?}"),
    }
}

#[test]
fn what_is_not_trained_stays_as_it_is_and_has_no_moments() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let frozen = || {
        let recipe = recipe(1e-2, 1);
        training(Recipe { hyper: Hyper { frozen: 1, ..recipe.hyper }, ..recipe })
    };
    let mut straight = frozen();
    let before = straight.params.clone();
    run(&mut straight, 8, 6).expect("training works");
    let (mut same, mut others) = (0, 0);
    for ((leaf, before), after) in before.described().iter().zip(straight.params.leaves()) {
        let stays = matches!(leaf.layer, Layer::Stem | Layer::Block(0));
        assert_eq!(*before == after, stays, "{}", leaf.name);
        *if stays { &mut same } else { &mut others } += 1;
    }
    assert!(same > 10 && others > 10);

    let mut first = frozen();
    run(&mut first, 8, 4).expect("training works");
    first.save_state(folder.path()).expect("the disk has room");
    let moments = first.optimiser.state(&common::OPS).map(|moment| moment.expect("the host can be read").0);
    assert_eq!(
        moments.filter(|name| name.starts_with("blocks.0.") || name.starts_with("patch_embed")).count(),
        0
    );
    let mut second = frozen();
    second.params = first.params;
    second.load_state(folder.path()).expect("the state fits");
    run(&mut second, 8, 6).expect("training works");
    assert!(bits(&second.params) == bits(&straight.params));
    let error = training(recipe(1e-2, 1)).load_state(folder.path()).expect_err("another recipe");
    assert!(error.to_string().contains("frozen was 1, is null"), "{error}");
}
