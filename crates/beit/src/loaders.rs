//! From sources and transforms to loaders.

use crate::device::Device;
use crate::error::{Result, unfit};
use crate::progress::Watch;
use crate::settings::{Crops, DataSettings, OptimisationSettings};
use beit_data::{
    FinetuneTransform, Image, Item, LabelledSample, Loader, LoaderConfig, Preprocessing, PretrainSample,
    PretrainTransform, Sample, SampleRng, SegmentationSample, SegmentationTransform, Shuffle, Source,
    TokenizerTransform, normal_name,
};
use beit_mask::Masker;
use beit_tokenizer::pixels::{dithered, unmap};
use rand::RngExt;
use std::sync::Arc;

/// What every loader of a task shares.
#[derive(Clone)]
pub(crate) struct Loading {
    pub(crate) batch_size: usize,
    pub(crate) seed: u64,
    pub(crate) workers: usize,
    pub(crate) max_bad_share: f64,
    /// Whether training decodes pictures smaller where it can.
    pub(crate) fast_decode: bool,
    pub(crate) shuffle: Shuffle,
    pub(crate) watch: Watch,
}

impl Loading {
    pub(crate) fn new(
        batch_size: usize,
        seed: u64,
        data: &DataSettings,
        device: &Device,
        watch: &Watch,
    ) -> Self {
        let DataSettings { max_bad_share, fast_decode, shuffle, .. } = *data;
        let (workers, watch) = (device.workers(), watch.clone());
        Self { batch_size, seed, workers, max_bad_share, fast_decode, shuffle: shuffle.into(), watch }
    }

    /// For training a transformer.
    pub(crate) fn for_training(
        optimisation: &OptimisationSettings,
        data: &DataSettings,
        workers: usize,
        watch: &Watch,
    ) -> Self {
        let DataSettings { max_bad_share, fast_decode, .. } = *data;
        let (batch_size, seed, watch) = (optimisation.batch_size(), optimisation.seed, watch.clone());
        let shuffle = data.shuffle.into();
        Self { batch_size, seed, workers, max_bad_share, fast_decode, shuffle, watch }
    }

    pub(crate) fn training(&self, images: usize) -> LoaderConfig {
        let Self { batch_size, seed, workers, max_bad_share, shuffle, .. } = *self;
        // Fewer images than a batch: each is seen several times in an epoch.
        let repeats = batch_size.div_ceil(images.max(1)).max(1);
        LoaderConfig { workers, max_bad_share, repeats, shuffle, ..LoaderConfig::training(batch_size, seed) }
    }

    pub(crate) fn evaluation(&self) -> LoaderConfig {
        let Self { batch_size, seed, workers, max_bad_share, .. } = *self;
        LoaderConfig { workers, max_bad_share, seed, ..LoaderConfig::evaluation(batch_size) }
    }

    /// Batches for masked image modelling.
    pub(crate) fn pretrain(
        &self,
        source: &Arc<dyn Source>,
        config: LoaderConfig,
        transform: PretrainTransform,
        masker: Masker,
    ) -> Result<Loader<PretrainSample>> {
        let make = move |item: Item, rng: &mut SampleRng| {
            transform.apply_reduced(item.image, item.size, &masker, rng)
        };
        let loader = self.loader(source, all(source), config, make)?;
        Ok(self.reducing(loader, move |size, rng| transform.reduction(size, rng)))
    }

    /// Augmented and dithered batches for training a tokenizer.
    pub(crate) fn tokenizer(
        &self,
        source: &Arc<dyn Source>,
        transform: TokenizerTransform,
        dither: f32,
    ) -> Result<Loader<Vec<f32>>> {
        let make = move |item: Item, rng: &mut SampleRng| {
            let mut pixels = transform.apply_reduced(item.image, item.size, rng);
            pixels.iter_mut().for_each(|x| *x = dithered(unmap(*x), dither, rng.random()));
            pixels
        };
        let loader = self.loader(source, all(source), self.training(source.len()), make)?;
        Ok(self.reducing(loader, move |size, rng| transform.reduction(size, rng)))
    }

    /// Augmented batches for making a tokenizer by k-means.
    pub(crate) fn augmented(
        &self,
        source: &Arc<dyn Source>,
        transform: TokenizerTransform,
    ) -> Result<Loader<Vec<f32>>> {
        let make = move |item: Item, rng: &mut SampleRng| transform.apply_reduced(item.image, item.size, rng);
        let loader = self.loader(source, all(source), self.training(source.len()), make)?;
        Ok(self.reducing(loader, move |size, rng| transform.reduction(size, rng)))
    }

    /// Batches of whole images for measuring a tokenizer.
    pub(crate) fn token_views(
        &self,
        source: &Arc<dyn Source>,
        transform: TokenizerTransform,
    ) -> Result<Loader<Vec<f32>>> {
        let make = move |item: Item, _: &mut SampleRng| transform.whole(&item.image);
        self.loader(source, all(source), self.evaluation(), make)
    }

    /// Batches for fine-tuning, with each image so many times in a row.
    pub(crate) fn finetune(
        &self,
        source: &Arc<dyn Source>,
        indices: Vec<usize>,
        transform: FinetuneTransform,
        copies: usize,
    ) -> Result<Loader<LabelledSample>> {
        let make = move |item: Item, rng: &mut SampleRng| LabelledSample {
            pixels: transform.apply_reduced(&item.image, item.size, rng),
            label: item.label.expect("labels are checked before a loader is made"),
        };
        let config = LoaderConfig { copies, ..self.training(indices.len()) };
        let loader = self.loader(source, indices, config, make)?;
        Ok(self.reducing(loader, move |size, rng| transform.reduction(size, rng)))
    }

    /// Batches for evaluation. `class` turns a class of the source into one of the model.
    pub(crate) fn labelled(
        &self,
        source: &Arc<dyn Source>,
        (preprocessing, crops): (Preprocessing, Crops),
        class: impl Fn(u32) -> u32 + Send + Sync + 'static,
    ) -> Result<Loader<LabelledSample>> {
        let make = move |item: Item, _: &mut SampleRng| LabelledSample {
            pixels: crops.pixels(&preprocessing, &item.image),
            label: class(item.label.expect("labels are checked before a loader is made")),
        };
        self.loader(source, all(source), self.evaluation(), make)
    }

    /// Batches for fine-tuning a segmenter.
    pub(crate) fn segmentation(
        &self,
        source: &Arc<dyn Source>,
        indices: Vec<usize>,
        transform: SegmentationTransform,
    ) -> Result<Loader<SegmentationSample>> {
        let make = move |item: Item, rng: &mut SampleRng| {
            transform.apply(&item.image, &item.mask.expect("the loader reads masks"), rng)
        };
        let config = self.training(indices.len()).with_masks();
        self.loader(source, indices, config, make)
    }

    /// Pictures with their masks, in order.
    pub(crate) fn pictured<S: Sample>(
        &self,
        source: &Arc<dyn Source>,
        make: impl Fn(Item) -> S + Send + Sync + 'static,
    ) -> Result<Loader<S>> {
        let config = self.evaluation().with_masks();
        self.loader(source, all(source), config, move |item: Item, _: &mut SampleRng| make(item))
    }

    /// Batches of images as an evaluation sees them, with labels or without.
    pub(crate) fn pixels(
        &self,
        source: &Arc<dyn Source>,
        (preprocessing, crops): (Preprocessing, Crops),
    ) -> Result<Loader<Vec<f32>>> {
        let make = move |item: Item, _: &mut SampleRng| crops.pixels(&preprocessing, &item.image);
        self.loader(source, all(source), self.evaluation(), make)
    }

    /// Decodes pictures smaller, where that is asked for.
    fn reducing<S: Sample>(
        &self,
        loader: Loader<S>,
        factor: impl Fn([usize; 2], &mut SampleRng) -> u32 + Send + Sync + 'static,
    ) -> Loader<S> {
        if self.fast_decode { loader.reducing(factor) } else { loader }
    }

    /// Every file that cannot be decoded is named.
    fn loader<S: Sample>(
        &self,
        source: &Arc<dyn Source>,
        indices: Vec<usize>,
        config: LoaderConfig,
        make: impl Fn(Item, &mut SampleRng) -> S + Send + Sync + 'static,
    ) -> Result<Loader<S>> {
        let watch = self.watch.clone();
        let loader = Loader::new(Arc::clone(source), indices, config, make)?;
        Ok(loader.on_bad_file(move |file| {
            watch.note(&format!("left out: cannot decode {}: {}", file.name, file.reason));
        }))
    }
}

fn all(source: &Arc<dyn Source>) -> Vec<usize> {
    (0..source.len()).collect()
}

/// `count` of so many images, at least one, at even distances, so that those of a sorted set are not all of its first class; the seed says
/// which is the first.
pub(crate) fn spread(images: usize, count: usize, seed: u64) -> impl Iterator<Item = usize> {
    let (count, first) = (count.clamp(1, images.max(1)), seed.checked_rem(images as u64).unwrap_or(0));
    (0..count.min(images)).map(move |i| (i * images / count + first as usize) % images)
}

/// The pictures among `indices` that can be decoded, with their indices; the others are named.
pub(crate) fn decodable(
    source: &Arc<dyn Source>,
    indices: impl Iterator<Item = usize>,
    watch: &Watch,
) -> impl Iterator<Item = (usize, Image)> {
    indices.filter_map(|index| match source.image(index) {
        Ok(image) => Some((index, image)),
        Err(error) => {
            watch.note(&format!("left out: {error}"));
            None
        }
    })
}

/// Checks that what has the classes `found` has those that are expected.
pub(crate) fn same_classes(found: &[String], expected: &[String], what: &str) -> Result<()> {
    let normal = |names: &[String]| names.iter().map(|name| normal_name(name)).collect::<Vec<_>>();
    if normal(found) != normal(expected) {
        unfit!(
            "{what} has {} classes ({} …), the model {} ({} …): evaluate on data with the model's classes",
            found.len(),
            found.first().map_or("none", String::as_str),
            expected.len(),
            expected.first().map_or("none", String::as_str),
        );
    }
    Ok(())
}
