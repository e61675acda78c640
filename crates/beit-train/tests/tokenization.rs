//! The tokenizer's training goes on where it stopped, and may have more than one micro-batch in a step.

use crate::noise::{Noise, values};
use beit_data::{Item, Loader, LoaderConfig, SampleRng, Shard};
use beit_ops::{Host, Tree};
use beit_tokenizer::Config;
use beit_train::{Hooks, Listeners, NoHooks, Recipe, Record, Silent, StepReport, Tokenization, Trainer};
use std::sync::Arc;

const OPS: Host<f32> = Host::new();
type Array = <Host<f32> as beit_ops::Device>::Tensor;
type Training = Trainer<'static, Host<f32>, Tokenization>;

fn loader() -> Loader<Vec<f32>> {
    let make = |item: Item, _: &mut SampleRng| -> Vec<f32> { values(&item.image, 0.1, 0.9) };
    Loader::new(Arc::new(Noise(8)), (0..8).collect(), LoaderConfig::training(4, 1), make)
        .expect("settings fit")
}

fn training() -> Training {
    training_of(1)
}

/// Of so many micro-batches in a step.
fn training_of(accumulate: u64) -> Training {
    let config =
        Config { groups: 2, blocks_per_group: 1, hidden: 8, decoder_init: 8, vocab: 16, ..Config::small() };
    let small = beit_tokenizer::Recipe::small();
    let recipe = beit_tokenizer::Recipe { schedule: small.schedule.rescaled(6), ..small };
    let task = Tokenization::new(&config, recipe, [8, 8]).expect("the sides can be halved");
    let recipe = Recipe {
        accumulate,
        hyper: task.hyper(),
        report_every: 1,
        read_every: 1,
        seed: 3,
        ema: None,
        spikes: None,
    };
    Trainer::new(&OPS, task, recipe, beit_tokenizer::init(&OPS, &config, 3))
}

fn run(
    training: &mut Training,
    until: u64,
    hooks: &mut dyn Hooks<Host<f32>, Tokenization>,
) -> Vec<StepReport> {
    let mut reports = Vec::new();
    let mut keep = |record: &Record<'_>| {
        reports.extend(record.step().cloned());
        Ok(())
    };
    let mut listeners = Listeners { progress: &mut Silent, sinks: &mut keep };
    training.run(&loader(), until, hooks, &mut listeners).expect("training works");
    reports
}

fn bits(params: &impl Tree<Array>) -> Vec<u32> {
    params.leaves().into_iter().flat_map(|leaf| leaf.iter()).map(|v| v.to_bits()).collect()
}

#[test]
fn going_on_gives_the_same_bits() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut straight = training();
    let whole = run(&mut straight, 6, &mut NoHooks);
    assert_eq!(whole.len(), 6);
    for report in &whole {
        assert!(report.accuracy.is_none(), "a tokenizer names nothing that could be right");
        assert_eq!(report.extra.keys().copied().collect::<Vec<_>>(), ["kl", "temperature", "usage_kl"]);
    }

    let mut first = training();
    run(&mut first, 4, &mut NoHooks);
    first.save_state(folder.path()).expect("the disk has room");
    let mut second = training();
    second.params = first.params;
    second.load_state(folder.path()).expect("the state fits");
    let rest = run(&mut second, 6, &mut NoHooks);
    assert!(bits(&second.params) == bits(&straight.params));
    assert_eq!(rest[1].loss.to_bits(), whole[5].loss.to_bits());

    let mut other = training();
    other.task.recipe.usage_weight = 0.25;
    let error = other.load_state(folder.path()).expect_err("another loss").to_string();
    assert!(error.contains("usage_weight was 0.5, is 0.25"), "{error}");
}

/// One of two processes, of which the other has nothing to say.
struct First;

impl Hooks<Host<f32>, Tokenization> for First {
    fn shard(&self) -> Shard {
        Shard { rank: 0, of: 2 }
    }
}

#[test]
fn a_sum_over_images_divided_by_them_is_their_mean() {
    let [mean, sum] =
        [(1, &mut NoHooks as &mut dyn Hooks<_, _>), (2, &mut First)].map(|(accumulate, hooks)| {
            let report = run(&mut training_of(accumulate), 1, hooks).remove(0);
            (report.loss, report.grad_norm.expect("it was measured"))
        });
    assert_eq!(mean.0, sum.0);
    // Multiplied by 4 and by 1/4.
    assert_eq!(mean.1, sum.1);
}
