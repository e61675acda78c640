//! The loops on a few made-up images: the guard, accumulation, and going on where a run stopped.

use beit_data::{Image, LabelledSample, Loader, LoaderConfig, Source};
use beit_heads::{Classifier, ClassifierConfig, Pooling};
use beit_ops::{Host, Tree};
use beit_train::{
    Error, FinetuneRecipe, Finetuning, Hyper, Listeners, Schedule, Silent, load_training, save_training,
};
use beit_vit::{Config, Preset, RelativePositions};
use std::sync::Arc;

const OPS: Host<f32> = Host::new();
type Array = <Host<f32> as beit_ops::Device>::Tensor;

/// Sixteen images whose class is their brightness.
struct Bright;

impl Source for Bright {
    fn len(&self) -> usize {
        16
    }
    fn image(&self, index: usize) -> beit_data::Result<Image> {
        let level = if index.is_multiple_of(2) { 40 } else { 200 };
        Ok(Image::new(8, 8, (0..192).map(|i| level + (i * index % 23) as u8).collect()))
    }
    fn label(&self, index: usize) -> Option<u32> {
        Some(index as u32 % 2)
    }
    fn class_names(&self) -> &[String] {
        &[]
    }
    fn name(&self, index: usize) -> String {
        format!("image {index}")
    }
}

fn loader(batch: usize) -> Loader<LabelledSample> {
    let make = |item: beit_data::Item, _: &mut beit_data::SampleRng| LabelledSample {
        pixels: item.image.pixels().iter().map(|&v| f32::from(v) / 128.0 - 1.0).collect(),
        label: item.label.expect("every image has a label"),
    };
    Loader::new(Arc::new(Bright), (0..16).collect(), LoaderConfig::training(batch, 1), make)
        .expect("settings fit")
}

fn config() -> ClassifierConfig {
    let vit = Config {
        image: [8, 8],
        width: 8,
        depth: 2,
        heads: 2,
        hidden: 16,
        drop_path: 0.2,
        relative_positions: RelativePositions::PerLayer,
        ..Config::new(Preset::Tiny)
    };
    ClassifierConfig::on(vit, 2, Pooling::Mean)
}

fn recipe(peak: f64, accumulate: u64) -> FinetuneRecipe {
    let schedule = Schedule { peak, min: 0.0, warmup: 1, total: 6 };
    let hyper = Hyper { clip_grad: Some(1.0), layer_decay: Some(0.8), ..Hyper::new(schedule) };
    FinetuneRecipe {
        accumulate,
        hyper,
        smoothing: 0.1,
        report_every: 1,
        read_every: 1,
        recompute: false,
        seed: 7,
    }
}

fn training(recipe: FinetuneRecipe) -> Finetuning<'static, Host<f32>> {
    Finetuning::new(&OPS, recipe, Classifier::init(&OPS, &config(), 3))
}

/// Runs up to a step; returns the loss of each step.
fn run(training: &mut Finetuning<'_, Host<f32>>, batch: usize, until: u64) -> Result<Vec<f64>, Error> {
    let mut losses = Vec::new();
    let mut on_report = |report: &beit_train::StepReport| {
        losses.push(report.loss);
        Ok(())
    };
    training.run(
        &loader(batch),
        until,
        &mut Listeners { progress: &mut Silent, on_report: &mut on_report },
    )?;
    Ok(losses)
}

fn bits(params: &Classifier<Array>) -> Vec<u32> {
    params.leaves().into_iter().flatten().map(|v| v.to_bits()).collect()
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
    save_training(&OPS, folder.path(), &first.optimiser, &first.recipe).expect("the disk has room");
    let mut second = training(recipe(1e-2, 1));
    second.params = first.params;
    load_training(&OPS, folder.path(), &mut second.optimiser, &second.recipe).expect("the state fits");
    assert_eq!(second.optimiser.steps(), 4);
    run(&mut second, 8, 6).expect("training works");
    assert!(bits(&second.params) == bits(&straight.params));

    let mut other = training(recipe(2e-2, 1));
    let error = load_training(&OPS, folder.path(), &mut other.optimiser, &other.recipe);
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
    let mut again = training(FinetuneRecipe { recompute: true, ..recipe(1e-2, 1) });
    assert_eq!(run(&mut kept, 8, 6).expect("training works"), run(&mut again, 8, 6).expect("training works"));
    assert!(bits(&kept.params) == bits(&again.params));
}

#[test]
fn reading_seldom_reports_the_same() {
    let reports = |read_every: u64, accumulate: u64, report_every: u64| {
        let recipe = FinetuneRecipe { read_every, report_every, ..recipe(1e-2, accumulate) };
        let mut training = training(recipe);
        let mut reports = Vec::new();
        let mut on_report = |report: &beit_train::StepReport| {
            let numbers =
                [report.loss, report.accuracy.unwrap_or(-1.0), report.lr, report.grad_norm.unwrap_or(-1.0)];
            reports.push((report.step, numbers.map(f64::to_bits)));
            Ok(())
        };
        let mut listeners = Listeners { progress: &mut Silent, on_report: &mut on_report };
        training.run(&loader(4), 6, &mut listeners).expect("training works");
        (reports, bits(&training.params))
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
    let recipe = FinetuneRecipe { read_every: 4, report_every: 50, ..recipe(1e-2, 1) };
    let mut training = training(recipe);
    run(&mut training, 8, 1).expect("training works");
    training.params.vit.blocks[1].mlp.fc1.weight.fill(3e38);
    let before = bits(&training.params);
    let error = run(&mut training, 8, 6).expect_err("the loss is not finite");
    let Error::NotFinite { phase, step, .. } = &error else { panic!("{error}") };
    assert_eq!((*phase, *step), ("finetune", 1), "the first of the steps that were not finite");
    assert_eq!(training.optimiser.steps(), 3, "the look after step 4 ends the run before that is taken");
    assert!(bits(&training.params) == before, "no step was taken");
    let mut moments = training.optimiser.state().flat_map(|(_, moment)| moment.iter());
    assert!(moments.all(|v| v.is_finite()));
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
