//! Every place where others may join in, used.

use crate::common::{
    Array, Bright, OPS, TASK, Training, bits, loader, loader_of, params, recipe, reports, training,
};
use beit_data::{Batch, LabelledSample, LoaderConfig, SampleRng};
use beit_heads::Classifier;
use beit_ops::prelude::*;
use beit_ops::{Host, Tree, tree};
use beit_train::{
    Changes, Classification, ClassificationSettings, Error, Finished, Hooks, Moment, NoHooks, Outcome,
    Recipe, Result, Sums, Task, Trainer,
};
use rand::RngExt;

type Params = Classifier<Array>;

/// An average of the weights (EMA).
struct Average {
    params: Params,
}

impl Hooks<Host<f32>, Classification> for Average {
    fn stepped(&mut self, ops: &Host<f32>, params: &Params, _: &(), _: u64) -> Result<()> {
        for (average, param) in self.params.leaves_mut().into_iter().zip(params.leaves()) {
            *average = ops.add_scaled(&ops.scaled(average, 0.75), param, 0.25);
        }
        Ok(())
    }
}

/// With a recipe that asks for it.
fn averaging() -> Training {
    training(Recipe { ema: Some(0.75), ..recipe(1e-2, 1) })
}

#[test]
fn the_trainer_keeps_the_average_that_a_hook_would() {
    let mut hooked = training(recipe(1e-2, 1));
    let mut average = Average { params: hooked.params.clone() };
    reports(&mut hooked, &loader(8), 6, &mut average).expect("training works");
    let mut training = averaging();
    reports(&mut training, &loader(8), 6, &mut NoHooks).expect("training works");
    assert!(bits(&training.params) == bits(&hooked.params), "an average changes nothing");
    assert!(bits(training.model().0) == bits(&average.params));
    assert!(
        bits(hooked.model().0) == bits(&hooked.params),
        "without an average the model is what was trained"
    );

    let refused = Recipe { ema: Some(1.0), ..recipe(1e-2, 1) };
    let error = reports(&mut self::training(refused), &loader(8), 1, &mut NoHooks).expect_err("no average");
    assert!(error.to_string().contains("the decay of the average of the weights is 1"), "{error}");
}

#[test]
fn an_average_goes_on_where_it_stood() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut straight = averaging();
    reports(&mut straight, &loader(8), 6, &mut NoHooks).expect("training works");
    let mut first = averaging();
    reports(&mut first, &loader(8), 4, &mut NoHooks).expect("training works");
    first.save_state(folder.path()).expect("the disk has room");

    let mut second = averaging();
    second.params = first.into_model().0;
    second.load_state(folder.path()).expect("the state fits");
    reports(&mut second, &loader(8), 6, &mut NoHooks).expect("training works");
    assert!(bits(&second.params) == bits(&straight.params));
    assert!(bits(second.model().0) == bits(straight.model().0));

    let error = training(recipe(1e-2, 1)).load_state(folder.path()).expect_err("another recipe");
    assert!(error.to_string().contains("ema was 0.75, is null"), "{error}");
}

#[test]
fn an_average_of_the_weights_is_kept() {
    let mut averaged = training(recipe(1e-2, 1));
    let mut average = Average { params: averaged.params.clone() };
    reports(&mut averaged, &loader(8), 6, &mut average).expect("training works");

    let values = |params: &Params| params.leaves().into_iter().flatten().copied().collect::<Vec<f32>>();
    let mut plain = training(recipe(1e-2, 1));
    let mut want = values(&plain.params);
    for step in 1..=6 {
        reports(&mut plain, &loader(8), step, &mut NoHooks).expect("training works");
        want.iter_mut().zip(values(&plain.params)).for_each(|(a, p)| *a = 0.75 * *a + 0.25 * p);
    }
    assert!(bits(&plain.params) == bits(&averaged.params), "an average changes nothing");
    for (got, want) in values(&average.params).into_iter().zip(want) {
        // The same sums, rounded elsewhere.
        assert!((got - want).abs() <= 1e-6 * want.abs().max(1.0), "got {got}, want {want}");
    }
}

/// Turns labels around, each with probability one half.
#[derive(Default)]
struct Turn {
    turned: Vec<bool>,
}

impl Hooks<Host<f32>, Classification> for Turn {
    fn batch(&mut self, batch: &mut Batch<LabelledSample>, rng: &mut SampleRng) {
        for label in &mut batch.data.labels {
            self.turned.push(rng.random());
            *label = if *self.turned.last().unwrap_or(&false) { 1 - *label } else { *label };
        }
    }
}

#[test]
fn a_batch_is_changed_with_numbers_of_its_own() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut straight, mut whole) = (training(recipe(1e-2, 2)), Turn::default());
    reports(&mut straight, &loader(4), 6, &mut whole).expect("training works");
    assert_eq!(whole.turned.len(), 48);
    assert!(whole.turned.chunks(4).any(|draws| draws != &whole.turned[..4]), "each micro-batch has its own");

    let mut first = training(recipe(1e-2, 2));
    reports(&mut first, &loader(4), 4, &mut Turn::default()).expect("training works");
    first.save_state(folder.path()).expect("the disk has room");
    let (mut second, mut rest) = (training(recipe(1e-2, 2)), Turn::default());
    second.params = first.params;
    second.load_state(folder.path()).expect("the state fits");
    reports(&mut second, &loader(4), 6, &mut rest).expect("training works");
    assert_eq!(rest.turned, whole.turned[32..], "going on draws the same numbers");
    assert!(bits(&second.params) == bits(&straight.params));

    let mut plain = training(recipe(1e-2, 2));
    reports(&mut plain, &loader(4), 6, &mut NoHooks).expect("training works");
    assert!(bits(&plain.params) != bits(&straight.params), "the labels were changed");
}

/// Adds up what it has not announced.
struct Unannounced;

impl Hooks<Host<f32>, Classification> for Unannounced {
    fn reduce(&mut self, _: &Host<f32>, _: Changes<'_, Params, ()>, sums: &mut Sums<Array>) -> Result<()> {
        sums.parts.extend(sums.parts.clone());
        Ok(())
    }
}

#[test]
fn processes_that_were_not_announced_are_refused() {
    let mut training = training(recipe(1e-2, 1));
    let error = reports(&mut training, &loader(8), 6, &mut Unannounced).expect_err("a mean and a sum");
    assert!(matches!(&error, Error::Recipe(problem) if problem.contains("micro-batches")), "{error}");
    assert!(bits(&training.params) == bits(&params()), "no step was taken");
}

#[test]
fn every_image_weighs_the_same() {
    // The same thirteen images: in two uneven micro-batches, and in one.
    let run = |training: &mut Training, batch: usize| {
        let config = LoaderConfig { max_bad_share: 0.5, ..LoaderConfig::evaluation(batch) };
        let loader = loader_of(Bright { bad: &[10, 14, 15] }, (0..16).collect(), config);
        reports(training, &loader, 1, &mut NoHooks).expect("training works").remove(0)
    };
    let one = run(&mut training(recipe(1e-2, 1)), 16);
    let two = run(&mut training(recipe(1e-2, 2)), 8);
    assert!((one.loss - two.loss).abs() < 1e-6, "{one:?} {two:?}");
    assert_eq!(one.accuracy, two.accuracy);
    let norms = [one, two].map(|report| report.grad_norm.expect("it was measured"));
    // The same gradients added in another order.
    assert!((norms[0] - norms[1]).abs() < 1e-5 * norms[0], "{norms:?}");
}

tree! {
    /// What a run has seen.
    struct Seen {
        /// Running mean of the pixels, `[1]`.
        mean: T = leaf "running_mean" as Bias,
    }
}

/// Classification that keeps a running statistic.
struct Watching;

impl Task<Host<f32>> for Watching {
    type Params = Params;
    type Buffers = Seen<Array>;
    type Sample = LabelledSample;
    type Settings = ClassificationSettings;

    fn phase(&self) -> &'static str {
        "watching"
    }
    fn settings(&self) -> ClassificationSettings {
        Task::<Host<f32>>::settings(&TASK)
    }
    fn depth(&self, params: &Params) -> usize {
        Task::<Host<f32>>::depth(&TASK, params)
    }
    fn micro_batch(
        &self,
        ops: &Host<f32>,
        params: &Params,
        batch: &Batch<LabelledSample>,
        moment: &Moment,
        Changes { grads, buffers }: Changes<'_, Params, Seen<Array>>,
        finished: &mut Finished<'_, Array>,
    ) -> Result<Outcome<Array>> {
        let mean = batch.data.pixels.iter().sum::<f32>() / batch.data.pixels.len() as f32;
        buffers.mean = ops.add_scaled(&ops.scaled(&buffers.mean, 0.9), &ops.upload([1], &[mean]), 0.1);
        TASK.micro_batch(ops, params, batch, moment, Changes { grads, buffers: &mut () }, finished)
    }
}

/// Keeps the buffers of every step.
#[derive(Default)]
struct Watch {
    means: Vec<f32>,
}

impl Hooks<Host<f32>, Watching> for Watch {
    fn stepped(&mut self, _: &Host<f32>, _: &Params, buffers: &Seen<Array>, _: u64) -> Result<()> {
        self.means.push(buffers.mean[0]);
        Ok(())
    }
}

#[test]
fn what_changes_without_a_gradient_is_carried_and_saved() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let begin = || {
        let seen = Seen { mean: OPS.zeros([1]) };
        Trainer::with_buffers(&OPS, Watching, recipe(1e-2, 1), params(), seen)
    };
    let (mut straight, mut watch) = (begin(), Watch::default());
    reports(&mut straight, &loader(8), 6, &mut watch).expect("training works");
    assert_eq!(watch.means.len(), 6);
    assert!(watch.means.windows(2).all(|means| means[0] != means[1]), "{:?}", watch.means);

    let mut first = begin();
    reports(&mut first, &loader(8), 4, &mut NoHooks).expect("training works");
    first.save_state(folder.path()).expect("the disk has room");
    let (mut second, mut rest) = (begin(), Watch::default());
    second.params = first.params;
    second.load_state(folder.path()).expect("the state fits");
    assert_eq!(second.buffers.mean[0], watch.means[3]);
    reports(&mut second, &loader(8), 6, &mut rest).expect("training works");
    assert_eq!(rest.means, watch.means[4..]);
    assert!(bits(&second.params) == bits(&straight.params));
    assert_eq!(
        second.optimiser.state(&OPS).count(),
        2 * straight.params.leaves().len(),
        "no moments of buffers"
    );

    let recipe = Recipe { ema: Some(0.75), ..recipe(1e-2, 1) };
    let seen = Seen { mean: OPS.zeros([1]) };
    let mut averaged = Trainer::with_buffers(&OPS, Watching, recipe, params(), seen);
    reports(&mut averaged, &loader(8), 6, &mut NoHooks).expect("training works");
    let want = watch.means.iter().fold(0.0, |average, mean| 0.75 * average + 0.25 * mean);
    let found = averaged.model().1.mean[0];
    assert!((found - want).abs() < 1e-6, "buffers are averaged: found {found}, want {want}");
}
