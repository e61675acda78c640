//! Everything that is trained, small enough to be trained in a moment, and what a run of it ends with.

use super::common::{self, Array, OPS, bits, loader, reports, training};
use super::noise::{Noise, values};
use beit_data::{Item, Loader, LoaderConfig, PretrainSample, SampleRng, SegmentationSample};
use beit_heads::segmenter::HeadRunning;
use beit_heads::{HeadConfig, Mim, MimConfig, PixelMean, PixelMim, Segmenter, SegmenterConfig};
use beit_ops::Host;
use beit_tokenizer::Encoder;
use beit_train::{
    Classification, Communicator, MaskedImages, MaskedPixels, Mixing, NoHooks, Ranks, Recipe, Recover,
    Result, Segmentation, StepReport, Task, TensorSums, Tokenization, Trainer,
};
use beit_vit::{Config, Preset, RelativePositions};
use rand::RngExt;
use std::sync::Arc;

pub(crate) type TrainingOf<K> = Trainer<'static, Host<f32>, K>;

/// What a run ends with: the bits of its parameters, of its buffers and of its averages, and what it reported.
#[derive(PartialEq)]
pub(crate) struct End {
    pub(crate) bits: [Vec<u32>; 4],
    reports: Vec<[u64; 4]>,
}

pub(crate) fn end<K: Task<Host<f32>>>(training: &TrainingOf<K>, reports: &[StepReport]) -> End {
    let (params, buffers) = training.model();
    let number = |report: &StepReport| {
        let optional = |value: Option<f64>| value.unwrap_or(-1.0).to_bits();
        [report.epoch, report.loss.to_bits(), optional(report.accuracy), optional(report.grad_norm)]
    };
    End {
        bits: [bits(&training.params), bits(&training.buffers), bits(params), bits(buffers)],
        reports: reports.iter().map(number).collect(),
    }
}

/// A recipe of six steps with all that may go wrong.
pub(crate) fn recipe(accumulate: u64) -> Recipe {
    Recipe { ema: Some(0.75), ..common::recipe(1e-2, accumulate) }
}

/// Six steps of eight micro-batches, by one process.
pub(crate) fn alone<K: Task<Host<f32>>>(
    make: impl Fn(Recipe) -> TrainingOf<K>,
    loader: impl Fn() -> Loader<K::Sample>,
) -> End {
    let mut alone = make(recipe(8));
    let reports = reports(&mut alone, &loader(), 6, &mut NoHooks).expect("training works");
    let end = end(&alone, &reports);
    assert_ne!(end.bits[0], bits(&make(recipe(8)).params), "something was learnt");
    end
}

/// The same, as one of several ranks, whose devices may add up by themselves.
pub(crate) fn shared<K: Task<Host<f32>>>(
    ranks: &mut impl Communicator,
    devices: Option<&mut (dyn TensorSums<Host<f32>> + 'static)>,
    make: impl Fn(Recipe) -> TrainingOf<K>,
    loader: impl Fn() -> Loader<K::Sample>,
) -> Result<End> {
    let mut training = make(recipe(8));
    let mut hooks = NoHooks;
    let mut ranks = Ranks::new(ranks, &mut hooks).on_the_devices(devices);
    let reports = reports(&mut training, &loader(), 6, &mut ranks)?;
    Ok(end(&training, &reports))
}

/// What is done with everything that is trained.
pub(crate) trait Visit {
    fn visit<K: Task<Host<f32>>>(
        &mut self,
        name: &str,
        make: impl Fn(Recipe) -> TrainingOf<K> + Sync,
        loader: impl Fn() -> Loader<K::Sample> + Sync,
    );
}

/// Classification with stochastic depth, of mixed images too, masked images by tokens and by pixels, segmentation, and a tokenizer.
pub(crate) fn visit_all(visit: &mut impl Visit) {
    visit.visit("classification", training, || loader(2));
    visit.visit("classification of mixed images", mixing, || loader(2));
    masked_images(visit);
    segmentation(visit);
    tokenizer(visit);
}

/// Images of a micro-batch are averaged or cut.
pub(crate) fn mixing(recipe: Recipe) -> common::Training {
    let task = Classification { mixing: Some(Mixing::STANDARD), ..common::TASK };
    Trainer::new(&OPS, task, recipe, common::params())
}

fn noise<S: beit_data::Sample + 'static>(
    batch: usize,
    make: impl Fn(Item, &mut SampleRng) -> S + Send + Sync + 'static,
) -> Loader<S> {
    Loader::new(Arc::new(Noise(16)), (0..16).collect(), LoaderConfig::training(batch, 1), make)
        .expect("settings fit")
}

fn vit() -> Config {
    Config {
        image: [8, 8],
        width: 8,
        depth: 2,
        heads: 2,
        hidden: 16,
        drop_path: 0.2,
        relative_positions: RelativePositions::PerLayer,
        ..Config::new(Preset::Tiny)
    }
}

fn tokens() -> beit_tokenizer::Config {
    beit_tokenizer::Config {
        groups: 3,
        blocks_per_group: 1,
        hidden: 8,
        decoder_init: 8,
        vocab: 16,
        ..beit_tokenizer::Config::small()
    }
}

/// Few or many patches of an image are masked: a mean of the ranks' means would weigh those of an image with few more.
fn masked_images(visit: &mut impl Visit) {
    let tokenizer: &'static Encoder<Array> =
        Box::leak(Box::new(beit_tokenizer::init(&OPS, &tokens(), 1).encoder));
    let make = |recipe| {
        let task = MaskedImages { tokenizer, recompute: false, recover: Recover::Masked, baseline: 0.0 };
        let params = Mim::init(&OPS, &MimConfig { vit: vit(), vocab: 16 }, 3);
        Trainer::new(&OPS, task, recipe, params)
    };
    visit.visit("masked images", make, masked);
    let make = |recipe| {
        let task = MaskedPixels { recompute: false, recover: Recover::Masked };
        Trainer::new(&OPS, task, recipe, PixelMim::init(&OPS, &vit(), 3))
    };
    visit.visit("pixels of masked images", make, masked);
}

fn masked() -> Loader<PretrainSample> {
    noise(1, |item, _| PretrainSample {
        pixels: values(&item.image, -1.0, 1.0),
        token_pixels: values(&item.image, 0.1, 0.9),
        mask: (0..4).map(|patch| patch <= item.index % 4).collect(),
    })
}

/// Each micro-batch has batch statistics of its own.
fn segmentation(visit: &mut impl Visit) {
    let config = SegmenterConfig::on(vit(), 3, [0, 0, 1, 1], HeadConfig::setr_pup(4));
    let make = |recipe| {
        let params = Segmenter::init(&OPS, &config, 3);
        let running: HeadRunning<Array> = Segmenter::init_running(&OPS, &config);
        let task = Segmentation { mean: PixelMean::Labelled, recompute: false };
        Trainer::with_buffers(&OPS, task, recipe, params, running)
    };
    let pictures = || {
        noise(2, |item, rng| SegmentationSample {
            pixels: values(&item.image, -1.0, 1.0),
            // Some images have few pixels with a class.
            labels: (0..64).map(|i| if i % 16 > item.index { 255 } else { rng.random_range(0..3) }).collect(),
        })
    };
    visit.visit("segmentation", make, pictures);
}

fn tokenizer(visit: &mut impl Visit) {
    let config = beit_tokenizer::Config { groups: 2, ..tokens() };
    let small = beit_tokenizer::Recipe::small();
    let of_tokens = beit_tokenizer::Recipe { schedule: small.schedule.rescaled(6), ..small };
    let make = |recipe: Recipe| {
        let task = Tokenization::new(&config, of_tokens, [8, 8]).expect("the sides can be halved");
        let recipe = Recipe { hyper: task.hyper(), ..recipe };
        Trainer::new(&OPS, task, recipe, beit_tokenizer::init(&OPS, &config, 3))
    };
    visit.visit("a tokenizer", make, || noise(1, |item, _| values(&item.image, 0.1, 0.9)));
}
