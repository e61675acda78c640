//! Evaluation: what it counts, and going on where it stopped.

use beit_data::{Image, LabelledSample, Loader, LoaderConfig, Source};
use beit_heads::{Classifier, ClassifierConfig, Pooling};
use beit_ops::Host;
use beit_train::{Alone, Communicator, Error, Evaluation, Threads, evaluate};
use beit_vit::{Config, Preset, RelativePositions};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const OPS: Host<f32> = Host::new();
const CLASSES: usize = 7;
const IMAGES: usize = 22;

/// Noise of seven classes, and how many images were asked for. Image 5 cannot be decoded.
#[derive(Default)]
struct Noise {
    decoded: AtomicUsize,
}

impl Source for Noise {
    fn len(&self) -> usize {
        IMAGES
    }
    fn image(&self, index: usize) -> beit_data::Result<Image> {
        self.decoded.fetch_add(1, Ordering::Relaxed);
        if index == 5 {
            let (name, reason) = (self.name(index), "it is broken".to_owned());
            return Err(beit_data::Error::Decode { name, reason });
        }
        Ok(Image::new(8, 8, (0..192).map(|i| (i * (index + 3) * 37 % 251) as u8).collect()))
    }
    fn label(&self, index: usize) -> Option<u32> {
        Some((index * index % CLASSES) as u32)
    }
    fn class_names(&self) -> &[String] {
        &[]
    }
    fn name(&self, index: usize) -> String {
        format!("image {index}")
    }
}

fn loader(source: &Arc<Noise>) -> Loader<LabelledSample> {
    let make = |item: beit_data::Item, _: &mut beit_data::SampleRng| LabelledSample {
        pixels: item.image.pixels().iter().map(|&v| f32::from(v) / 128.0 - 1.0).collect(),
        label: item.label.expect("every image has a label"),
    };
    let config = LoaderConfig { max_bad_share: 0.1, ..LoaderConfig::evaluation(3) };
    Loader::new(Arc::clone(source) as Arc<dyn Source>, (0..IMAGES).collect(), config, make)
        .expect("settings fit")
}

fn model() -> Classifier<<Host<f32> as beit_ops::Device>::Tensor> {
    let vit = Config {
        image: [8, 8],
        width: 8,
        depth: 2,
        heads: 2,
        hidden: 16,
        relative_positions: RelativePositions::PerLayer,
        ..Config::new(Preset::Tiny)
    };
    let config = ClassifierConfig::on(vit, CLASSES, Pooling::Mean);
    let mut params = Classifier::init(&OPS, &config, 3);
    // A head that was just made is nearly zero: all losses would be alike.
    params.head.weight.iter_mut().for_each(|w| *w *= 500.0);
    params
}

/// Evaluates from `start`; stops with an error after `most` batches.
fn run(
    source: &Arc<Noise>,
    start: Option<Evaluation>,
    most: u64,
) -> (Result<Evaluation, Error>, Vec<Evaluation>) {
    let params = model();
    let mut states = Vec::new();
    let mut on_batch = |state: &Evaluation| {
        states.push(state.clone());
        if state.batches == most { Err(Error::Recipe("stopped".to_owned())) } else { Ok(()) }
    };
    let result = evaluate(&mut Alone, &OPS, &params, &loader(source), start, &mut on_batch);
    (result, states)
}

#[test]
fn sums_agree() {
    let (result, states) = run(&Arc::default(), None, u64::MAX);
    let evaluation = result.expect("one bad file is allowed");
    assert_eq!(states.len(), 8);
    assert_eq!((evaluation.batches, evaluation.left_out), (8, 1));
    let (accuracy, classes) = (evaluation.accuracy(), evaluation.per_class());
    let sum = |part: fn(&beit_train::ClassCounts) -> u64| classes.iter().map(part).sum::<u64>() as f64;
    assert_eq!((accuracy.images, sum(|c| c.images)), (IMAGES - 1, 21.0));
    assert_eq!(accuracy.top1, sum(|c| c.right) / 21.0);
    assert_eq!(accuracy.top5, sum(|c| c.right_in_5) / 21.0);
    assert!(classes.iter().all(|c| c.right <= c.right_in_5 && c.right_in_5 <= c.images), "{classes:?}");
    assert_eq!(evaluation.confusion().map(|(_, images)| images).sum::<u64>(), 21);
    // Squares modulo 7.
    assert_eq!(classes.iter().map(|c| c.class).collect::<Vec<_>>(), [0, 1, 2, 4]);
    assert!(accuracy.loss > 0.0 && accuracy.top5 < 1.0, "{accuracy:?}");
}

#[test]
fn going_on_gives_the_same_bits_and_decodes_nothing_twice() {
    let (whole, _) = run(&Arc::default(), None, u64::MAX);
    let whole = whole.expect("one bad file is allowed");
    for stop in 1..=8 {
        let (stopped, states) = run(&Arc::default(), None, stop);
        assert!(matches!(stopped, Err(Error::Recipe(_))), "{stop}");
        let text = serde_json::to_string(states.last().expect("a batch was done")).expect("it is JSON");
        let start = serde_json::from_str(&text).expect("it was written by us");
        let source = Arc::<Noise>::default();
        let (resumed, _) = run(&source, Some(start), u64::MAX);
        let resumed = resumed.expect("the rest is good");
        assert_eq!(resumed.accuracy().loss.to_bits(), whole.accuracy().loss.to_bits(), "after {stop}");
        assert_eq!(resumed, whole, "after {stop}");
        assert_eq!(source.decoded.load(Ordering::Relaxed), IMAGES.saturating_sub(3 * stop as usize));
    }
}

#[test]
fn numbers_that_are_none_are_an_error() {
    let mut params = model();
    params.head.weight.fill(f32::NAN);
    let error = evaluate(&mut Alone, &OPS, &params, &loader(&Arc::default()), None, &mut |_| Ok(()));
    assert!(matches!(error, Err(Error::Logits { batch: 0 })), "{error:?}");
}

/// Every image is looked at once, by one of them.
#[test]
fn ranks_that_take_turns_find_the_same_bits() {
    let (whole, states) = run(&Arc::default(), None, u64::MAX);
    let whole = whole.expect("one bad file is allowed");
    for of in [2, 3, 8, 11] {
        for start in [None, Some(&states[2])] {
            let source = Arc::<Noise>::default();
            let found = Threads::run(of, |ranks| {
                let (params, mut seen) = (model(), Vec::new());
                let mut on_batch = |state: &Evaluation| {
                    seen.push(state.clone());
                    Ok(())
                };
                let found = evaluate(ranks, &OPS, &params, &loader(&source), start.cloned(), &mut on_batch);
                (found.expect("one bad file is allowed"), seen)
            });
            let before = start.map_or(0, |start| start.batches as usize);
            for (rank, (found, seen)) in found.into_iter().enumerate() {
                assert_eq!(found.accuracy().loss.to_bits(), whole.accuracy().loss.to_bits());
                assert_eq!((&found, &seen[..]), (&whole, &states[before..]), "rank {rank} of {of}");
            }
            assert_eq!(source.decoded.load(Ordering::Relaxed), IMAGES - 3 * before);
        }
    }
}

#[test]
fn where_one_rank_stops_all_do() {
    let stopped = Threads::run(3, |ranks| {
        let (params, stops) = (model(), ranks.shard().rank == 2);
        let mut on_batch =
            |state: &Evaluation| if stops && state.batches == 2 { Err(Error::Stopped) } else { Ok(()) };
        evaluate(ranks, &OPS, &params, &loader(&Arc::default()), None, &mut on_batch)
    });
    assert!(stopped.iter().all(|end| matches!(end, Err(Error::Stopped))), "{stopped:?}");
}
