//! Sixteen made-up images, and a classifier that is small enough to be trained in a moment.

use beit_data::{Image, Item, LabelledSample, Loader, LoaderConfig, SampleRng, Source};
use beit_heads::{Classifier, ClassifierConfig, Pooling};
use beit_ops::{Host, Tree};
use beit_train::{
    Classification, Decay, Error, Hooks, Hyper, Listeners, Recipe, Record, Schedule, Silent, StepReport,
    Task, Trainer,
};
use beit_vit::{Config, Preset, RelativePositions};
use std::sync::Arc;

pub(crate) const OPS: Host<f32> = Host::new();
pub(crate) type Array = <Host<f32> as beit_ops::Device>::Tensor;
pub(crate) type Training = Trainer<'static, Host<f32>, Classification>;

pub(crate) const TASK: Classification = Classification { smoothing: 0.1, mixing: None, recompute: false };

/// Images whose class is their brightness.
pub(crate) struct Bright {
    /// Those that cannot be decoded.
    pub(crate) bad: &'static [usize],
}

impl Source for Bright {
    fn len(&self) -> usize {
        16
    }
    fn image(&self, index: usize) -> beit_data::Result<Image> {
        if self.bad.contains(&index) {
            let (name, reason) = (self.name(index), "it is broken".to_owned());
            return Err(beit_data::Error::Decode { name, reason });
        }
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

/// Of some of the images.
pub(crate) fn loader_of(source: Bright, indices: Vec<usize>, config: LoaderConfig) -> Loader<LabelledSample> {
    let make = |item: Item, _: &mut SampleRng| LabelledSample {
        pixels: item.image.pixels().iter().map(|&v| f32::from(v) / 128.0 - 1.0).collect(),
        label: item.label.expect("every image has a label"),
    };
    Loader::new(Arc::new(source), indices, config, make).expect("settings fit")
}

/// Of all images, shuffled.
pub(crate) fn loader(batch: usize) -> Loader<LabelledSample> {
    loader_of(Bright { bad: &[] }, (0..16).collect(), LoaderConfig::training(batch, 1))
}

pub(crate) fn params() -> Classifier<Array> {
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
    Classifier::init(&OPS, &ClassifierConfig::on(vit, 2, Pooling::Mean), 3)
}

/// Six steps.
pub(crate) fn recipe(peak: f64, accumulate: u64) -> Recipe {
    let schedule = Schedule { peak, min: 0.0, warmup: 1, total: 6, decay: Decay::Cosine };
    let hyper = Hyper { clip_grad: Some(1.0), layer_decay: Some(0.8), ..Hyper::new(schedule) };
    Recipe { accumulate, hyper, report_every: 1, read_every: 1, seed: 7, ema: None, spikes: None }
}

pub(crate) fn training(recipe: Recipe) -> Training {
    Trainer::new(&OPS, TASK, recipe, params())
}

/// Runs up to a step; returns its reports.
pub(crate) fn reports<K: Task<Host<f32>>>(
    training: &mut Trainer<'_, Host<f32>, K>,
    loader: &Loader<K::Sample>,
    until: u64,
    hooks: &mut dyn Hooks<Host<f32>, K>,
) -> Result<Vec<StepReport>, Error> {
    let mut reports = Vec::new();
    let mut keep = |record: &Record<'_>| {
        reports.extend(record.step().cloned());
        Ok(())
    };
    let mut listeners = Listeners { progress: &mut Silent, sinks: &mut keep };
    training.run(loader, until, hooks, &mut listeners)?;
    Ok(reports)
}

pub(crate) fn bits(params: &impl Tree<Array>) -> Vec<u32> {
    params.leaves().into_iter().flat_map(|leaf| leaf.iter()).map(|v| v.to_bits()).collect()
}
