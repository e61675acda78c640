//! Masked image modelling: images with few masked patches and with many.

use crate::noise::{Noise, values};
use beit_data::{Item, Loader, LoaderConfig, PretrainSample, SampleRng};
use beit_heads::{Mim, MimConfig};
use beit_ops::{Host, Tree};
use beit_tokenizer::Encoder;
use beit_train::{
    Changes, Decay, Hooks, Hyper, Listeners, MaskedImages, Recipe, Record, Recover, Result, Schedule, Silent,
    StepReport, Sums, Trainer,
};
use beit_vit::{Config, Preset, RelativePositions};
use std::ops::Range;
use std::sync::Arc;

const OPS: Host<f32> = Host::new();
type Array = <Host<f32> as beit_ops::Device>::Tensor;

/// Four images of four patches, of which one, two, three and four are masked.
fn loader(images: Range<usize>, batch: usize) -> Loader<PretrainSample> {
    let make = |item: Item, _: &mut SampleRng| {
        let mask = (0..4).map(|patch| patch <= item.index).collect();
        PretrainSample {
            pixels: values(&item.image, -1.0, 1.0),
            token_pixels: values(&item.image, 0.1, 0.9),
            mask,
        }
    };
    Loader::new(Arc::new(Noise(4)), images.collect(), LoaderConfig::evaluation(batch), make)
        .expect("settings fit")
}

/// The gradients of a step, and by what they are still to be divided.
#[derive(Default)]
struct Look {
    grads: Vec<f32>,
    rows: usize,
    /// The largest of the mask token.
    mask_token: f32,
}

impl<'a> Hooks<Host<f32>, MaskedImages<'a, Encoder<Array>>> for Look {
    fn reduce(
        &mut self,
        _: &Host<f32>,
        sum: Changes<'_, Mim<Array>, ()>,
        sums: &mut Sums<Array>,
    ) -> Result<()> {
        self.grads = sum.grads.leaves().into_iter().flatten().copied().collect();
        self.rows = sums.rows();
        let named = sum.grads.named();
        let (_, mask_token) = named.iter().find(|(name, _)| name == "mask_token").expect("it has one");
        self.mask_token = mask_token.iter().fold(0.0, |max, g| max.max(g.abs()));
        Ok(())
    }
}

/// Gradients of the mean over masked patches, and the report, of one step on some of the images.
fn step(images: Range<usize>, batch: usize, accumulate: u64) -> (Vec<f32>, StepReport) {
    let (look, report) = recovering(Recover::Masked, images, batch, accumulate);
    let rows = if accumulate == 1 { 1.0 } else { look.rows as f32 };
    (look.grads.iter().map(|g| g / rows).collect(), report)
}

/// One step on some of the images, as it was seen and as it was reported.
fn recovering(recover: Recover, images: Range<usize>, batch: usize, accumulate: u64) -> (Look, StepReport) {
    let tokens = beit_tokenizer::Config {
        groups: 3,
        blocks_per_group: 1,
        hidden: 8,
        decoder_init: 8,
        vocab: 16,
        ..beit_tokenizer::Config::small()
    };
    let tokenizer = beit_tokenizer::init(&OPS, &tokens, 1).encoder;
    let vit = Config {
        image: [8, 8],
        width: 8,
        depth: 2,
        heads: 2,
        hidden: 16,
        drop_path: 0.2,
        relative_positions: RelativePositions::Shared,
        ..Config::new(Preset::Tiny)
    };
    let schedule = Schedule { peak: 1e-2, min: 0.0, warmup: 0, total: 1, decay: Decay::Cosine };
    let hyper = Hyper { clip_grad: Some(1.0), ..Hyper::new(schedule) };
    let recipe =
        Recipe { accumulate, hyper, report_every: 1, read_every: 1, seed: 3, ema: None, spikes: None };
    let params = Mim::init(&OPS, &MimConfig { vit, vocab: 16 }, 3);
    let task = MaskedImages { tokenizer: &tokenizer, recompute: false, recover, baseline: 0.0 };
    let mut training = Trainer::new(&OPS, task, recipe, params);

    let (mut look, mut report) = (Look::default(), None);
    let mut keep = |record: &Record<'_>| {
        report = record.step().cloned();
        Ok(())
    };
    let mut listeners = Listeners { progress: &mut Silent, sinks: &mut keep };
    training.run(&loader(images, batch), 1, &mut look, &mut listeners).expect("training works");
    (look, report.expect("every step is reported"))
}

/// Largest difference, as a share of the largest number.
fn difference(got: &[f32], want: &[f32]) -> f32 {
    let largest = want.iter().fold(0.0f32, |max, g| max.max(g.abs()));
    got.iter().zip(want).fold(0.0f32, |max, (g, w)| max.max((g - w).abs())) / largest
}

#[test]
fn every_masked_patch_weighs_the_same() {
    let (want, whole) = step(0..4, 4, 1);
    let (got, halves) = step(0..4, 2, 2);
    // The same gradients added in another order.
    assert!(difference(&got, &want) < 1e-5, "{}", difference(&got, &want));
    assert!((halves.loss - whole.loss).abs() < 1e-6, "{halves:?} {whole:?}");
    assert_eq!(halves.accuracy, whole.accuracy);
    let norms = [&whole, &halves].map(|report| report.grad_norm.expect("it was measured"));
    assert!((norms[0] - norms[1]).abs() < 1e-5 * norms[0], "{norms:?}");

    // The first half has 3 masked patches and the second 7: a mean of their means is something else.
    let [first, second] = [0..2, 2..4].map(|images| step(images, 2, 1).0);
    let mean_of_means: Vec<_> = first.iter().zip(&second).map(|(a, b)| (a + b) / 2.0).collect();
    assert!(difference(&mean_of_means, &want) > 1e-2, "{}", difference(&mean_of_means, &want));
}

#[test]
fn what_is_recovered() {
    let [masked, all, unmasked] =
        [Recover::Masked, Recover::All, Recover::Unmasked].map(|recover| recovering(recover, 0..4, 4, 1));
    // Of sixteen patches 1 + 2 + 3 + 4 are masked.
    assert_eq!([masked.0.rows, all.0.rows, unmasked.0.rows], [10, 16, 16]);
    // Where nothing is masked nothing is learnt of the token that masks.
    assert!(masked.0.mask_token > 0.0 && all.0.mask_token > 0.0);
    assert_eq!(unmasked.0.mask_token, 0.0);
    // The baseline is one of masked patches.
    let gap = |report: &StepReport| report.extra.contains_key("gap");
    assert!(gap(&masked.1) && !gap(&all.1) && !gap(&unmasked.1));
}
