//! Steps whose gradients leap: they are refused, left out, counted, computed again, and gone on after.

use crate::common::{self, Training, bits, loader, recipe, training};
use beit_data::{Batch, LabelledSample, SampleRng};
use beit_ops::Host;
use beit_train::{Classification, Error, Hooks, NoHooks, Recipe, Schedule, Spike, SpikeGuard};

/// Steps of a run.
const STEPS: u64 = 30;
const GUARD: SpikeGuard = SpikeGuard { spike_factor: 2.0, max_spikes: 2 };

/// Changes the images of some steps.
struct Strange {
    at: Vec<u64>,
    step: u64,
    pixels: fn(f32) -> f32,
}

impl Strange {
    fn at(training: &Training, at: &[u64], pixels: fn(f32) -> f32) -> Self {
        Self { at: at.to_vec(), step: training.optimiser.steps(), pixels }
    }
}

impl Hooks<Host<f32>, Classification> for Strange {
    fn batch(&mut self, batch: &mut Batch<LabelledSample>, _: &mut SampleRng) {
        if self.at.contains(&self.step) {
            batch.data.pixels.iter_mut().for_each(|v| *v = (self.pixels)(*v));
        }
        self.step += 1;
    }
}

fn guarded() -> Training {
    let recipe = recipe(1e-2, 1);
    let schedule = Schedule { total: STEPS, ..recipe.hyper.schedule };
    let hyper = beit_train::Hyper { schedule, ..recipe.hyper };
    training(Recipe { spikes: Some(GUARD), ema: Some(0.5), hyper, ..recipe })
}

/// Trains up to a step, and leaves out what is refused; returns that.
fn run(training: &mut Training, until: u64, at: &[u64], pixels: fn(f32) -> f32) -> Result<Vec<Spike>, Error> {
    let mut spikes = Vec::new();
    loop {
        let mut strange = Strange::at(training, at, pixels);
        match common::reports(training, &loader(8), until, &mut strange) {
            Ok(_) => return Ok(spikes),
            Err(Error::Spike(spike)) => spikes.push(*spike),
            Err(error) => return Err(error),
        }
        training.skip()?;
    }
}

/// Far from every picture, so that the embedding of patches has large gradients.
fn bright(v: f32) -> f32 {
    1e3 * (v + 2.0)
}

fn none(_: f32) -> f32 {
    f32::NAN
}

#[test]
fn a_leap_is_left_out_and_counted() {
    let mut training = guarded();
    run(&mut training, 24, &[], bright).expect("nothing leaps");
    let before = bits(&training.params);
    let mut strange = Strange::at(&training, &[24], bright);
    let error = common::reports(&mut training, &loader(8), STEPS, &mut strange).expect_err("a leap");
    let Error::Spike(spike) = &error else { panic!("{error}") };
    assert_eq!((spike.phase, spike.step, spike.left_out, &spike.tensor), ("finetune", 24, 0, &None));
    assert!(spike.grad_norm > spike.limit && spike.loss.is_finite(), "{spike:?}");
    assert!((spike.limit / spike.mean_grad_norm - 2.0).abs() < 1e-9, "{spike:?}");
    assert!(error.to_string().contains("step 24: the gradients have norm"), "{error}");
    assert!(bits(&training.params) == before && training.optimiser.steps() == 24, "nothing happened");

    training.skip().expect("two may be left out");
    assert!(bits(&training.params) == before && training.optimiser.steps() == 25);
    assert!(run(&mut training, STEPS, &[], bright).expect("the others do not leap").is_empty());
    assert!(bits(&training.params) != before);
}

#[test]
fn what_is_not_finite_is_left_out_from_the_first_step_on() {
    let mut training = guarded();
    let spikes = run(&mut training, STEPS, &[0, 7], none).expect("two may be left out");
    assert_eq!(spikes.iter().map(|spike| spike.step).collect::<Vec<_>>(), [0, 7]);
    assert!(spikes[1].tensor.is_some() && spikes[1].left_out == 1, "{:?}", spikes[1]);
    assert!(training.params.head.weight.iter().all(|v| v.is_finite()));
    assert!(training.model().0.head.weight.iter().all(|v| v.is_finite()), "nor reaches it the average");
}

#[test]
fn no_more_are_left_out_than_may_be() {
    let mut training = guarded();
    let error = run(&mut training, STEPS, &[2, 3, 5], none).expect_err("one too many");
    let Error::TooManySpikes { step, most, .. } = error else { panic!("{error}") };
    assert_eq!((step, most, training.optimiser.steps()), (5, 2, 5));
}

#[test]
fn going_on_leaves_out_the_same_steps() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (mut straight, at) = (guarded(), [22, 26]);
    assert_eq!(run(&mut straight, STEPS, &at, bright).expect("two may be left out").len(), 2);

    let mut first = guarded();
    run(&mut first, 24, &at, bright).expect("two may be left out");
    first.save_state(folder.path()).expect("the disk has room");
    let mut second = guarded();
    second.params = first.into_model().0;
    second.load_state(folder.path()).expect("the state fits");
    let spikes = run(&mut second, STEPS, &at, bright).expect("two may be left out");
    assert_eq!((spikes.len(), spikes[0].left_out), (1, 1), "the count goes on");
    assert!(bits(&second.params) == bits(&straight.params));

    let mut more = guarded();
    more.recipe.spikes = Some(SpikeGuard { max_spikes: 9, ..GUARD });
    more.load_state(folder.path()).expect("a run may go on with another limit");
    more.recipe.spikes = Some(SpikeGuard { spike_factor: 9.0, ..GUARD });
    let error = more.load_state(folder.path()).expect_err("another factor").to_string();
    assert!(error.contains("spike_factor was 2.0, is 9.0"), "{error}");
}

#[test]
fn a_step_is_computed_again_to_the_bit() {
    for accumulate in [1, 2] {
        let recipe = Recipe { read_every: 1, ..recipe(1e-2, accumulate) };
        let mut training = training(recipe);
        let loader = loader(8);
        common::reports(&mut training, &loader, 3, &mut NoHooks).expect("training works");
        let before = bits(&training.params);
        let replayed = training.replay(&loader).expect("training works");
        assert!(bits(&training.params) == before && training.optimiser.steps() == 3);

        let alone: Vec<[f64; 2]> = (3 * accumulate..4 * accumulate)
            .flat_map(|number| loader.one_by_one(number).map(move |batch| (batch, number)))
            .map(|(batch, number)| training.measure(&batch, number).expect("training works"))
            .collect();
        assert_eq!(alone.len() as u64, 8 * accumulate);
        let mean = alone.iter().map(|[loss, _]| loss).sum::<f64>() / alone.len() as f64;
        // The same numbers in sums of another order.
        assert!((mean - replayed.loss).abs() < 1e-5, "{mean} and {}", replayed.loss);

        let square = replayed.tensors.iter().map(|(_, norm)| norm * norm).sum::<f64>();
        assert!((square.sqrt() / replayed.grad_norm - 1.0).abs() < 1e-5);
        let report = &common::reports(&mut training, &loader, 4, &mut NoHooks).expect("training works")[0];
        assert_eq!(report.loss.to_bits(), replayed.loss.to_bits());
        assert_eq!(report.grad_norm.map(f64::to_bits), Some(replayed.grad_norm.to_bits()));
    }
}
