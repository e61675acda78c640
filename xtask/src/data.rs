//! From flags to sources, transforms and loaders.

use beit_data::{
    Cached, ColourJitter, EvalTransform, Filter, FinetuneTransform, Fit, Image, LabelledSample, Loader,
    LoaderConfig, Normalise, PretrainSample, PretrainTransform, RandomResizedCrop, Source, Split,
    TokenizerTransform, open,
};
use beit_mask::Masker;
use beit_tokenizer::pixels::{dithered, unmap};
use beit_weights::{Fit as PreprocessorFit, Preprocessor, Resample};
use clap::Args;
use rand::RngExt;
use serde::Serialize;
use std::sync::Arc;

/// Decoded images up to this many bytes stay in memory.
const CACHE_BYTES: usize = 1 << 30;
/// Images no larger than this have no border to cut away and no detail to zoom into.
const SMALL: usize = 64;

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

/// How pixels become numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Views {
    /// Height and width of what the transformer sees.
    pub(crate) image: [usize; 2],
    /// Mean and deviation.
    pub(crate) normalise: Normalise,
    /// Fit and filter of an evaluation.
    pub(crate) evaluation: (Fit, Filter),
}

impl std::fmt::Display for Views {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ([height, width], (fit, filter)) = (self.image, self.evaluation);
        match fit {
            Fit::Squash => write!(f, "squashed to {height}x{width}")?,
            Fit::CentreCrop { least: [h, w] } if h == w => {
                write!(f, "shorter side to {h}, centre {height}x{width}")?;
            }
            Fit::CentreCrop { least: [h, w] } => write!(f, "covering {h}x{w}, centre {height}x{width}")?,
        }
        let Normalise { mean, std } = self.normalise;
        write!(f, ", {filter:?}, mean {mean:?}, deviation {std:?}")
    }
}

impl Views {
    pub(crate) fn new(image: [usize; 2], imagenet_statistics: bool) -> Self {
        let normalise = if imagenet_statistics { Normalise::IMAGENET } else { Normalise::HALF };
        let views = Self { image, normalise, evaluation: (Fit::Squash, Filter::Bicubic) };
        views.unilm_fit()
    }

    /// As a checkpoint says, for images of this size.
    pub(crate) fn of(preprocessor: &Preprocessor, image: [usize; 2]) -> Self {
        let Preprocessor { fit, resample, mean, std } = *preprocessor;
        let filter = match resample {
            Resample::Bilinear => Filter::Bilinear,
            Resample::Bicubic => Filter::Bicubic,
            Resample::Lanczos => Filter::Lanczos,
        };
        let views = Self { image, normalise: Normalise { mean, std }, evaluation: (Fit::Squash, filter) };
        match fit {
            PreprocessorFit::Squash(_) => views,
            PreprocessorFit::Shorter { side, crop } if crop == image => views.covering(side),
            // Images of another size than the checkpoint's: what the released code does at that size.
            PreprocessorFit::Shorter { .. } => {
                Self { evaluation: (views.unilm_fit().evaluation.0, filter), ..views }
            }
        }
    }

    /// What a checkpoint shall say.
    pub(crate) fn preprocessor(&self) -> Preprocessor {
        let Normalise { mean, std } = self.normalise;
        let fit = match self.evaluation.0 {
            Fit::Squash => PreprocessorFit::Squash(self.image),
            Fit::CentreCrop { least } => {
                PreprocessorFit::Shorter { side: least[0].min(least[1]), crop: self.image }
            }
        };
        let resample = match self.evaluation.1 {
            Filter::Bilinear => Resample::Bilinear,
            Filter::Bicubic => Resample::Bicubic,
            Filter::Lanczos => Resample::Lanczos,
        };
        Preprocessor { fit, resample, mean, std }
    }

    /// The shorter side is brought to `side` pixels.
    pub(crate) fn covering(self, side: usize) -> Self {
        let least = self.image.map(|own| own.max(side));
        Self { evaluation: (Fit::CentreCrop { least }, self.evaluation.1), ..self }
    }

    /// The released code's fit and filter, small images whole.
    pub(crate) fn unilm_fit(self) -> Self {
        let share = if self.is_small() || self.longer() >= 384 { 1.0 } else { 0.875 };
        Self { evaluation: (Fit::centre(self.image, share), Filter::Bicubic), ..self }
    }

    /// The released code's way.
    pub(crate) fn unilm(self) -> Self {
        Self { normalise: Normalise::HALF, ..self.unilm_fit() }
    }

    /// timm's way with its `beit_*`.
    pub(crate) fn timm(self) -> Self {
        let share = if self.longer() < 384 { 0.9 } else { 1.0 };
        Self {
            normalise: Normalise::HALF,
            evaluation: (Fit::centre(self.image, share), Filter::Bicubic),
            ..self
        }
    }

    /// transformers' way with `microsoft/beit-*`.
    pub(crate) fn hugging_face(self) -> Self {
        Self { normalise: Normalise::HALF, evaluation: (Fit::Squash, Filter::Bilinear), ..self }
    }

    fn longer(&self) -> usize {
        self.image[0].max(self.image[1])
    }

    /// Small images are cropped less, and not cut when they are evaluated.
    fn is_small(&self) -> bool {
        self.image.iter().all(|&side| side <= SMALL)
    }

    fn crop(&self) -> RandomResizedCrop {
        if self.is_small() { RandomResizedCrop::SMALL } else { RandomResizedCrop::STANDARD }
    }

    pub(crate) fn pretrain(&self, token_size: [usize; 2], colour_jitter: f64) -> PretrainTransform {
        let jitter =
            ColourJitter { brightness: colour_jitter, contrast: colour_jitter, saturation: colour_jitter };
        PretrainTransform {
            image_size: self.image,
            token_size,
            colour_jitter: jitter,
            crop: self.crop(),
            flip: 0.5,
            normalise: self.normalise,
        }
    }

    pub(crate) fn tokenizer(&self, token_size: [usize; 2]) -> TokenizerTransform {
        TokenizerTransform { size: token_size, crop: self.crop(), flip: 0.5 }
    }

    pub(crate) fn finetune(&self) -> FinetuneTransform {
        let base = if self.is_small() { FinetuneTransform::small() } else { FinetuneTransform::official(0) };
        FinetuneTransform { size: self.image, normalise: self.normalise, ..base }
    }

    /// How an evaluation sees images.
    pub(crate) fn evaluate(&self) -> EvalTransform {
        let (fit, filter) = self.evaluation;
        EvalTransform { size: self.image, fit, filter, normalise: self.normalise }
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
    transform: EvalTransform,
    class: impl Fn(u32) -> u32 + Send + Sync + 'static,
) -> anyhow::Result<Loader<LabelledSample>> {
    let make = move |item: beit_data::Item, _: &mut beit_data::SampleRng| LabelledSample {
        pixels: transform.apply(&item.image),
        label: class(item.label.expect("labels are checked before a loader is made")),
    };
    Ok(reported(Loader::new(Arc::clone(source), all(source), config, make)?))
}

/// Batches of images as an evaluation sees them, with labels or without.
pub(crate) fn pixels_loader(
    source: &Arc<dyn Source>,
    config: LoaderConfig,
    transform: EvalTransform,
) -> anyhow::Result<Loader<Vec<f32>>> {
    let make = move |item: beit_data::Item, _: &mut beit_data::SampleRng| transform.apply(&item.image);
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
