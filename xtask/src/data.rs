//! From flags to sources, transforms and loaders.

use beit_data::{
    Cached, FinetuneTransform, Image, LabelledSample, Loader, LoaderConfig, Preprocessing, PretrainSample,
    PretrainTransform, Source, Split, TokenizerTransform, open,
};
use beit_mask::Masker;
use beit_tokenizer::pixels::{dithered, unmap};
use clap::Args;
use rand::RngExt;
use serde::Serialize;
use std::sync::Arc;

/// Decoded images up to this many bytes stay in memory.
const CACHE_BYTES: usize = 1 << 30;

/// Flags about the data.
#[derive(Args, Clone, Debug, Serialize)]
pub(crate) struct DataArgs {
    /// Where images come from: fashion-mnist (embedded), folder:DIR, idx:DIR
    #[arg(long, alias = "data-path", default_value = "fashion-mnist", value_name = "SPEC")]
    pub(crate) data: String,
    /// Share of the files that may be undecodable before the run stops
    #[arg(long, default_value_t = 0.01, value_name = "SHARE")]
    pub(crate) max_bad_share: f64,
}

impl DataArgs {
    /// Opens a split.
    pub(crate) fn open(&self, split: Split) -> anyhow::Result<Arc<dyn Source>> {
        Ok(Arc::new(Cached::new(open(&self.data, split)?, CACHE_BYTES)))
    }

    /// The test split where there is one, else the training split, and which it is.
    pub(crate) fn held_out(&self) -> anyhow::Result<(Arc<dyn Source>, Split)> {
        match self.open(Split::Test) {
            Ok(source) => Ok((source, Split::Test)),
            Err(error) => match error.downcast_ref() {
                Some(beit_data::Error::NoSplit { .. } | beit_data::Error::NoIdx { .. }) => {
                    Ok((self.open(Split::Train)?, Split::Train))
                }
                _ => Err(error),
            },
        }
    }
}

/// The settings that every training loader shares.
pub(crate) struct Loading {
    pub(crate) batch_size: usize,
    pub(crate) seed: u64,
    pub(crate) workers: usize,
    pub(crate) max_bad_share: f64,
}

impl Loading {
    pub(crate) fn training(&self, images: usize) -> LoaderConfig {
        let Self { batch_size, seed, workers, max_bad_share } = *self;
        // Fewer images than a batch: each is seen several times in an epoch.
        let repeats = batch_size.div_ceil(images.max(1)).max(1);
        LoaderConfig { workers, max_bad_share, repeats, ..LoaderConfig::training(batch_size, seed) }
    }

    pub(crate) fn evaluation(&self) -> LoaderConfig {
        let Self { batch_size, seed, workers, max_bad_share } = *self;
        LoaderConfig { workers, max_bad_share, seed, ..LoaderConfig::evaluation(batch_size) }
    }
}

/// The pictures among `indices` that can be decoded, with their indices; the others are named.
pub(crate) fn decodable(
    source: &Arc<dyn Source>,
    indices: impl Iterator<Item = usize>,
) -> impl Iterator<Item = (usize, Image)> {
    indices.filter_map(|index| match source.image(index) {
        Ok(image) => Some((index, image)),
        Err(error) => {
            crate::output::note(&format!("left out: {error}"));
            None
        }
    })
}

/// Names every file that cannot be decoded.
fn reported<S: beit_data::Sample>(loader: Loader<S>) -> Loader<S> {
    loader.on_bad_file(|file| {
        crate::output::note(&format!("left out: cannot decode {}: {}", file.name, file.reason))
    })
}

fn all(source: &Arc<dyn Source>) -> Vec<usize> {
    (0..source.len()).collect()
}

/// Batches for masked image modelling.
pub(crate) fn pretrain_loader(
    source: &Arc<dyn Source>,
    config: LoaderConfig,
    transform: PretrainTransform,
    masker: Masker,
) -> anyhow::Result<Loader<PretrainSample>> {
    let make = move |item: beit_data::Item, rng: &mut beit_data::SampleRng| {
        transform.apply(item.image, &masker, rng)
    };
    Ok(reported(Loader::new(Arc::clone(source), all(source), config, make)?))
}

/// Batches for the tokenizer: augmented and dithered to train it, whole (`None`) to measure it.
pub(crate) fn tokenizer_loader(
    source: &Arc<dyn Source>,
    config: LoaderConfig,
    transform: TokenizerTransform,
    dither: Option<f32>,
) -> anyhow::Result<Loader<Vec<f32>>> {
    let make = move |item: beit_data::Item, rng: &mut beit_data::SampleRng| match dither {
        None => transform.whole(&item.image),
        Some(width) => {
            let mut pixels = transform.apply(item.image, rng);
            pixels.iter_mut().for_each(|x| *x = dithered(unmap(*x), width, rng.random()));
            pixels
        }
    };
    Ok(reported(Loader::new(Arc::clone(source), all(source), config, make)?))
}

/// Batches for fine-tuning.
pub(crate) fn finetune_loader(
    source: &Arc<dyn Source>,
    indices: Vec<usize>,
    config: LoaderConfig,
    transform: FinetuneTransform,
) -> anyhow::Result<Loader<LabelledSample>> {
    let make = move |item: beit_data::Item, rng: &mut beit_data::SampleRng| LabelledSample {
        pixels: transform.apply(&item.image, rng),
        label: item.label.expect("labels are checked before a loader is made"),
    };
    Ok(reported(Loader::new(Arc::clone(source), indices, config, make)?))
}

/// Batches for evaluation. `class` turns a class of the source into one of the model.
pub(crate) fn evaluation_loader(
    source: &Arc<dyn Source>,
    config: LoaderConfig,
    preprocessing: Preprocessing,
    class: impl Fn(u32) -> u32 + Send + Sync + 'static,
) -> anyhow::Result<Loader<LabelledSample>> {
    let make = move |item: beit_data::Item, _: &mut beit_data::SampleRng| LabelledSample {
        pixels: preprocessing.apply(&item.image),
        label: class(item.label.expect("labels are checked before a loader is made")),
    };
    Ok(reported(Loader::new(Arc::clone(source), all(source), config, make)?))
}

/// Batches of images as an evaluation sees them, with labels or without.
pub(crate) fn pixels_loader(
    source: &Arc<dyn Source>,
    config: LoaderConfig,
    preprocessing: Preprocessing,
) -> anyhow::Result<Loader<Vec<f32>>> {
    let make = move |item: beit_data::Item, _: &mut beit_data::SampleRng| preprocessing.apply(&item.image);
    Ok(reported(Loader::new(Arc::clone(source), all(source), config, make)?))
}

/// Checks that two sources have the same classes.
pub(crate) fn same_classes(source: &dyn Source, expected: &[String], what: &str) -> anyhow::Result<()> {
    if source.class_names() != expected {
        anyhow::bail!(
            "{what} has {} classes ({} …), the model {} ({} …): evaluate on data with the model's classes",
            source.class_names().len(),
            source.class_names().first().map_or("none", String::as_str),
            expected.len(),
            expected.first().map_or("none", String::as_str),
        );
    }
    Ok(())
}
