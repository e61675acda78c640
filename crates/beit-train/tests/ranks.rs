//! One, two and four ranks end with the same bits, whatever is trained.

mod common;

use beit_data::{Image, Item, Loader, LoaderConfig, PretrainSample, SampleRng, SegmentationSample, Source};
use beit_heads::segmenter::HeadRunning;
use beit_heads::{HeadConfig, Mim, MimConfig, PixelMean, Segmenter, SegmenterConfig};
use beit_ops::Host;
use beit_tokenizer::Encoder;
use beit_train::{
    Communicator, Error, Hooks, MaskedImages, NoHooks, Ranks, Recipe, Result, Segmentation, StepReport, Task,
    Threads, Tokenization, Trainer,
};
use beit_vit::{Config, Preset, RelativePositions};
use common::{Array, Bright, OPS, bits, loader, reports};
use rand::RngExt;
use std::sync::Arc;

type Training<K> = Trainer<'static, Host<f32>, K>;

/// What a run ends with: the bits of its parameters, of its buffers and of its averages, and what it reported.
#[derive(PartialEq)]
struct End {
    bits: [Vec<u32>; 4],
    reports: Vec<[u64; 3]>,
}

fn end<K: Task<Host<f32>>>(training: &Training<K>, reports: &[StepReport]) -> End {
    let (params, buffers) = training.model();
    let number = |report: &StepReport| {
        let optional = |value: Option<f64>| value.unwrap_or(-1.0).to_bits();
        [report.loss.to_bits(), optional(report.accuracy), optional(report.grad_norm)]
    };
    End {
        bits: [bits(&training.params), bits(&training.buffers), bits(params), bits(buffers)],
        reports: reports.iter().map(number).collect(),
    }
}

/// A recipe of six steps with all that may go wrong.
fn recipe(accumulate: u64) -> Recipe {
    Recipe { ema: Some(0.75), ..common::recipe(1e-2, accumulate) }
}

/// Six steps of eight micro-batches, shared by so many ranks.
fn trained<K: Task<Host<f32>>>(
    of: usize,
    make: impl Fn(Recipe) -> Training<K> + Sync,
    loader: impl Fn() -> Loader<K::Sample> + Sync,
) -> Vec<End> {
    let run = |ranks: &mut Threads| -> Result<End> {
        let mut training = make(recipe(8));
        let reports = reports(&mut training, &loader(), 6, &mut Ranks { ranks, hooks: &mut NoHooks })?;
        Ok(end(&training, &reports))
    };
    Threads::run(of, run).into_iter().map(|end| end.expect("training works")).collect()
}

fn same_bits<K: Task<Host<f32>>>(
    make: impl Fn(Recipe) -> Training<K> + Sync,
    loader: impl Fn() -> Loader<K::Sample> + Sync,
) {
    let mut alone = make(recipe(8));
    let reports = reports(&mut alone, &loader(), 6, &mut NoHooks).expect("training works");
    let alone = end(&alone, &reports);
    assert_ne!(alone.bits[0], bits(&make(recipe(8)).params), "something was learnt");
    for of in [1, 2, 4, 8] {
        for (rank, end) in trained(of, &make, &loader).into_iter().enumerate() {
            assert!(end == alone, "rank {rank} of {of}");
        }
    }
}

#[test]
fn classification() {
    // Of two images each, with stochastic depth.
    same_bits(common::training, || loader(2));
}

/// Images that are different everywhere.
struct Noise;

impl Source for Noise {
    fn len(&self) -> usize {
        16
    }
    fn image(&self, index: usize) -> beit_data::Result<Image> {
        Ok(Image::new(8, 8, (0..192).map(|i| (i * (index + 3) * 37 % 251) as u8).collect()))
    }
    fn label(&self, _: usize) -> Option<u32> {
        None
    }
    fn class_names(&self) -> &[String] {
        &[]
    }
    fn name(&self, index: usize) -> String {
        format!("image {index}")
    }
}

fn noise<S: beit_data::Sample + 'static>(
    batch: usize,
    make: impl Fn(Item, &mut SampleRng) -> S + Send + Sync + 'static,
) -> Loader<S> {
    Loader::new(Arc::new(Noise), (0..16).collect(), LoaderConfig::training(batch, 1), make)
        .expect("settings fit")
}

fn values(image: &Image, low: f32, high: f32) -> Vec<f32> {
    image.pixels().iter().map(|&v| low + (high - low) * f32::from(v) / 255.0).collect()
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

/// A mean of the ranks' means would weigh the patches of an image with few more than those of one with many.
#[test]
fn masked_images_of_which_few_or_many_patches_are_masked() {
    let tokenizer: &'static Encoder<Array> =
        Box::leak(Box::new(beit_tokenizer::init(&OPS, &tokens(), 1).encoder));
    let make = |recipe| {
        let task = MaskedImages { tokenizer, recompute: false, baseline: 0.0 };
        let params = Mim::init(&OPS, &MimConfig { vit: vit(), vocab: 16 }, 3);
        Trainer::new(&OPS, task, recipe, params)
    };
    let masked = || {
        noise(1, |item, _| PretrainSample {
            pixels: values(&item.image, -1.0, 1.0),
            token_pixels: values(&item.image, 0.1, 0.9),
            mask: (0..4).map(|patch| patch <= item.index % 4).collect(),
        })
    };
    same_bits(make, masked);
}

/// Each micro-batch has batch statistics of its own.
#[test]
fn segmentation() {
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
    same_bits(make, pictures);
}

#[test]
fn tokenizers() {
    let config = beit_tokenizer::Config { groups: 2, ..tokens() };
    let small = beit_tokenizer::Recipe::small();
    let of_tokens = beit_tokenizer::Recipe { schedule: small.schedule.rescaled(6), ..small };
    let make = |recipe: Recipe| {
        let task = Tokenization::new(&config, of_tokens, [8, 8]).expect("the sides can be halved");
        let recipe = Recipe { hyper: task.hyper(), ..recipe };
        Trainer::new(&OPS, task, recipe, beit_tokenizer::init(&OPS, &config, 3))
    };
    same_bits(make, || noise(1, |item, _| values(&item.image, 0.1, 0.9)));
}

/// Pauses after some steps.
struct Pause(u64);

impl<K: Task<Host<f32>>> Hooks<Host<f32>, K> for Pause {
    fn pause(&mut self, step: u64) -> Result<bool> {
        Ok(step == self.0)
    }
}

#[test]
fn where_one_rank_pauses_all_do() {
    let steps = Threads::run(2, |ranks| {
        let at = if ranks.shard().rank == 1 { 2 } else { u64::MAX };
        let mut training = common::training(recipe(2));
        reports(&mut training, &loader(2), 6, &mut Ranks { ranks, hooks: &mut Pause(at) })
            .expect("training works");
        training.optimiser.steps()
    });
    assert_eq!(steps, [2, 2]);
}

/// What was learnt by some ranks goes on with others.
#[test]
fn another_number_of_ranks_goes_on() {
    let make = |recipe| -> common::Training { common::training(recipe) };
    let straight = trained(1, make, || loader(2)).remove(0);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ends = Threads::run(4, |ranks| {
        let mut first = make(recipe(8));
        let rank = ranks.shard().rank;
        reports(&mut first, &loader(2), 3, &mut Ranks { ranks, hooks: &mut NoHooks })
            .expect("training works");
        let folder = folder.path().join(rank.to_string());
        std::fs::create_dir(&folder).expect("a new folder");
        first.save_state(&folder).expect("the disk has room");
        (folder, first.into_model().0)
    });
    let ends = Threads::run(2, |ranks| {
        let (folder, average) = &ends[3 - ranks.shard().rank];
        let mut second = make(recipe(8));
        second.params = average.clone();
        second.load_state(folder).expect("the state fits");
        reports(&mut second, &loader(2), 6, &mut Ranks { ranks, hooks: &mut NoHooks })
            .expect("training works");
        bits(&second.params)
    });
    assert!(ends.iter().all(|end| *end == straight.bits[0]));
}

/// A rank whose data fail ends, and the others with it.
#[test]
fn a_rank_that_fails_ends_the_others() {
    let errors = Threads::run(2, |ranks| {
        let bad: &[usize] = if ranks.shard().rank == 1 { &[0, 1, 2, 3] } else { &[] };
        let loader = common::loader_of(Bright { bad }, (0..16).collect(), LoaderConfig::training(2, 1));
        let mut training = common::training(recipe(2));
        reports(&mut training, &loader, 6, &mut Ranks { ranks, hooks: &mut NoHooks })
            .expect_err("images are broken")
    });
    assert!(matches!(errors[0], Error::Ranks { rank: 0, other: 1, .. }), "{}", errors[0]);
    assert!(matches!(errors[1], Error::Data(_)), "{}", errors[1]);
}

#[test]
fn steps_that_cannot_be_shared_are_refused() {
    let errors = Threads::run(2, |ranks| {
        let mut training = common::training(recipe(3));
        reports(&mut training, &loader(2), 6, &mut Ranks { ranks, hooks: &mut NoHooks })
            .expect_err("three for two")
    });
    let said = "3 micro-batches in a step: expected a multiple of the 2 processes that share them";
    assert!(errors.iter().all(|error| error.to_string() == said), "{}", errors[0]);
}
