//! Models from and to checkpoint folders, with what this program keeps beside them.

use crate::model_source::locate_tokenizer;
use crate::output::note;
use anyhow::Context;
use beit_data::Preprocessing;
use beit_heads::{Classifier, Mim, Pooling};
use beit_ops::Ops;
use beit_tokenizer::{Encoder, Tokenizer};
use beit_train::{Classification, MaskedImages, Trainer};
use beit_weights::{
    Checkpoint, LoadOptions, Loaded, Model, Report, TensorFile, TensorWriter, write_preprocessing,
};
use std::path::Path;

/// A model for masked image modelling.
pub(crate) struct MimModel<T> {
    pub(crate) params: Mim<T>,
    pub(crate) views: Preprocessing,
}

/// A classifier.
pub(crate) struct ClassifierModel<T> {
    pub(crate) params: Classifier<T>,
    pub(crate) class_names: Vec<String>,
    pub(crate) views: Preprocessing,
}

/// Both halves of a tokenizer.
pub(crate) type TokenizerModel<T> = Loaded<Tokenizer<T>>;

/// Whatever a folder holds.
pub(crate) enum Any<T> {
    Mim(Box<MimModel<T>>),
    Classifier(Box<ClassifierModel<T>>),
    Tokenizer(Box<Loaded<Encoder<T>>>),
}

/// A classifier to be fine-tuned.
pub(crate) struct StartModel<T> {
    pub(crate) params: Classifier<T>,
    pub(crate) views: Preprocessing,
    pub(crate) report: Vec<String>,
}

/// What a tokenizer can do: name visual tokens, and draw them if its decoder is there.
pub(crate) enum AnyTokenizer<T> {
    Whole(Box<TokenizerModel<T>>),
    Encoder(Box<Loaded<Encoder<T>>>),
}

impl<T> AnyTokenizer<T> {
    pub(crate) fn encoder(&self) -> &Encoder<T> {
        match self {
            Self::Whole(tokenizer) => &tokenizer.params.encoder,
            Self::Encoder(tokenizer) => &tokenizer.params,
        }
    }

    /// With its decoder, if that is there.
    pub(crate) fn whole(&self) -> Option<&TokenizerModel<T>> {
        match self {
            Self::Whole(tokenizer) => Some(tokenizer),
            Self::Encoder(_) => None,
        }
    }
}

pub(crate) fn mim<O: Ops>(
    ops: &O,
    checkpoint: &Checkpoint,
    options: LoadOptions,
) -> anyhow::Result<MimModel<O::Tensor>> {
    let Loaded { params, report } = checkpoint.mim(ops, options)?;
    describe(checkpoint, &report);
    let views = views(checkpoint, params.vit.config().image);
    Ok(MimModel { params, views })
}

pub(crate) fn classifier<O: Ops>(
    ops: &O,
    checkpoint: &Checkpoint,
    options: LoadOptions,
) -> anyhow::Result<ClassifierModel<O::Tensor>> {
    let Loaded { params, report } = checkpoint.classifier(ops, options)?;
    describe(checkpoint, &report);
    let views = views(checkpoint, params.vit.config().image);
    Ok(ClassifierModel { params, class_names: checkpoint.labels().to_vec(), views })
}

pub(crate) fn any<O: Ops>(
    ops: &O,
    checkpoint: &Checkpoint,
    options: LoadOptions,
) -> anyhow::Result<Any<O::Tensor>> {
    Ok(match checkpoint.model() {
        Model::Mim(_) => Any::Mim(Box::new(mim(ops, checkpoint, options)?)),
        Model::Classifier(_) => Any::Classifier(Box::new(classifier(ops, checkpoint, options)?)),
        Model::Tokenizer(_) => Any::Tokenizer(Box::new(checkpoint.encoder(ops, options)?)),
        other => {
            anyhow::bail!(
                "{}: this is {}, which cannot be run here",
                checkpoint.path().display(),
                other.name()
            )
        }
    })
}

pub(crate) fn load_mim<O: Ops>(ops: &O, dir: &Path) -> anyhow::Result<MimModel<O::Tensor>> {
    mim(ops, &Checkpoint::open(dir)?, LoadOptions::default())
}

pub(crate) fn load_classifier<O: Ops>(ops: &O, dir: &Path) -> anyhow::Result<ClassifierModel<O::Tensor>> {
    classifier(ops, &Checkpoint::open(dir)?, LoadOptions::default())
}

/// The tokenizer that `name` means: see [`locate_tokenizer`].
pub(crate) fn load_tokenizer<O: Ops>(ops: &O, name: &Path) -> anyhow::Result<TokenizerModel<O::Tensor>> {
    Ok(beit_weights::load_tokenizer(ops, locate_tokenizer(name)?)?)
}

/// The tokenizer that `name` means, with or without its decoder.
pub(crate) fn load_any_tokenizer<O: Ops>(ops: &O, name: &Path) -> anyhow::Result<AnyTokenizer<O::Tensor>> {
    let checkpoint = Checkpoint::open(locate_tokenizer(name)?)?;
    let options = LoadOptions::default();
    Ok(match checkpoint.decoder() {
        Some(_) => AnyTokenizer::Whole(Box::new(checkpoint.tokenizer(ops, options)?)),
        None => AnyTokenizer::Encoder(Box::new(checkpoint.encoder(ops, options)?)),
    })
}

/// The sizes of the tokenizer that `name` means.
pub(crate) fn tokenizer_config(name: &Path) -> anyhow::Result<beit_tokenizer::Config> {
    let path = locate_tokenizer(name)?;
    match Checkpoint::open(&path)?.model() {
        Model::Tokenizer(config) => Ok(*config),
        other => anyhow::bail!("{}: this is {}, expected a tokenizer", path.display(), other.name()),
    }
}

/// A classifier that starts from a checkpoint. `image` is the size that it shall see, where that is another one.
pub(crate) fn load_for_finetuning<O: Ops>(
    ops: &O,
    dir: &Path,
    (classes, pooling): (usize, Pooling),
    options: LoadOptions,
    seed: u64,
) -> anyhow::Result<StartModel<O::Tensor>> {
    let checkpoint = Checkpoint::open(dir)?;
    let mut config = checkpoint.model().finetuned(classes, pooling).with_context(|| {
        format!("{}: a tokenizer cannot be fine-tuned; expected a pre-trained model", dir.display())
    })?;
    config.vit.image = options.image.unwrap_or(config.vit.image);
    // A fault of flag and checkpoint together, so no wrong usage.
    config.vit.validate().map_err(|error| anyhow::anyhow!("{}: {error}", dir.display()))?;
    let start = checkpoint.finetuned(ops, &config, options, seed)?;
    // The statistics are the checkpoint's; what is trained here is evaluated in the released code's way.
    let Preprocessing { normalise, size, .. } = views(&checkpoint, config.vit.image);
    let views = Preprocessing { normalise, ..Preprocessing::unilm(size) };
    let report = vec![format!("{}: {}", dir.display(), start.report)];
    Ok(StartModel { params: start.params, views, report })
}

/// Says what is not as the file has it.
fn describe(checkpoint: &Checkpoint, report: &Report) {
    let same = report.resized.is_empty() && report.converted.is_empty() && report.overlooked.is_empty();
    if !(same && report.outside.is_empty()) {
        note(&format!("{}: {report}", checkpoint.path().display()));
    }
}

/// A pre-training run.
pub(crate) type Pretraining<'a, O> = Trainer<'a, O, MaskedImages<'a, <O as beit_ops::Device>::Tensor>>;

/// A fine-tuning run.
pub(crate) type Finetuning<'a, O> = Trainer<'a, O, Classification>;

/// Saves a pre-training run so that it can go on.
pub(crate) fn save_pretraining<O: Ops>(
    training: &Pretraining<'_, O>,
    views: &Preprocessing,
    dir: &Path,
) -> anyhow::Result<()> {
    let more = |dir: &Path| -> Result<(), beit_train::Error> {
        write_preprocessing(dir, views)?;
        training.save_state(dir)
    };
    Ok(beit_weights::save_mim(training.ops, dir, &training.params, more)?)
}

/// Saves a fine-tuning run so that it can go on.
pub(crate) fn save_finetuning<O: Ops>(
    training: &Finetuning<'_, O>,
    views: &Preprocessing,
    class_names: &[String],
    dir: &Path,
) -> anyhow::Result<()> {
    let more = |dir: &Path| -> Result<(), beit_train::Error> {
        write_preprocessing(dir, views)?;
        training.save_state(dir)
    };
    Ok(beit_weights::save_classifier(training.ops, dir, &training.params, class_names, more)?)
}

/// Continues a pre-training run.
pub(crate) fn resume_pretraining<O: Ops>(
    ops: &O,
    dir: &Path,
    training: &mut Pretraining<'_, O>,
) -> anyhow::Result<()> {
    let loaded = load_mim(ops, dir)?;
    same_model(dir, &loaded.params.config(), &training.params.config())?;
    training.params = loaded.params;
    Ok(training.load_state(dir)?)
}

/// Continues a fine-tuning run.
pub(crate) fn resume_finetuning<O: Ops>(
    ops: &O,
    dir: &Path,
    training: &mut Finetuning<'_, O>,
) -> anyhow::Result<()> {
    let loaded = load_classifier(ops, dir)?;
    same_model(dir, &loaded.params.config(), &training.params.config())?;
    training.params = loaded.params;
    Ok(training.load_state(dir)?)
}

fn same_model<C: PartialEq + std::fmt::Debug>(dir: &Path, found: &C, expected: &C) -> anyhow::Result<()> {
    anyhow::ensure!(
        found == expected,
        "{} holds another model than this run's; found {found:?}, expected {expected:?}; resume with the flags of the run",
        dir.display()
    );
    Ok(())
}

/// Saves both halves of a tokenizer.
pub(crate) fn save_tokenizer<O: Ops>(
    ops: &O,
    params: &Tokenizer<O::Tensor>,
    dir: &Path,
) -> anyhow::Result<()> {
    Ok(beit_weights::save_tokenizer(ops, dir, params, beit_weights::no_more_files)?)
}

/// How the pixels of this model are made: as the checkpoint says, else as the released code makes them.
fn views(checkpoint: &Checkpoint, image: [usize; 2]) -> Preprocessing {
    match checkpoint.preprocessing() {
        Some(preprocessing) => preprocessing.for_size(image),
        None => Preprocessing::unilm(image),
    }
}

/// The input of `infer`.
pub(crate) struct Pixels {
    /// `[B, 3, H, W]`
    pub(crate) values: Vec<f32>,
    pub(crate) shape: [usize; 4],
    /// `[B, N]`
    pub(crate) mask: Option<Vec<bool>>,
}

pub(crate) fn read_pixels(path: &Path) -> anyhow::Result<Pixels> {
    let file = TensorFile::open(path)?;
    let values = file.floats("pixel_values")?;
    let shape = extents(&file, "pixel_values", "[B, 3, H, W]")?;
    let mask = file.shape("bool_masked_pos").is_some().then(|| file.mask("bool_masked_pos")).transpose()?;
    Ok(Pixels { values, shape, mask })
}

fn extents<const N: usize>(file: &TensorFile, name: &str, expected: &str) -> anyhow::Result<[usize; N]> {
    let shape = file.shape(name).unwrap_or_default();
    let path = file.path().display();
    shape.try_into().ok().with_context(|| format!("{path}: {name} has shape {shape:?}, expected {expected}"))
}

/// The output of `infer`.
pub(crate) fn write_outputs(
    path: &Path,
    logits: &[f32],
    shape: &[usize],
    codes: Option<(&[u32], [usize; 3])>,
) -> anyhow::Result<()> {
    let mut writer = TensorWriter::new();
    writer.floats("logits", shape, logits);
    if let Some((codes, shape)) = codes {
        writer.integers("codes", &shape, &codes.iter().map(|&code| i64::from(code)).collect::<Vec<_>>());
    }
    Ok(writer.write(path)?)
}

pub(crate) fn write_codes(path: &Path, codes: &[u32], shape: [usize; 3]) -> anyhow::Result<()> {
    let codes: Vec<_> = codes.iter().map(|&code| i64::from(code)).collect();
    Ok(TensorWriter::new().integers("codes", &shape, &codes).write(path)?)
}

pub(crate) fn read_codes(path: &Path) -> anyhow::Result<(Vec<u32>, [usize; 3])> {
    let file = TensorFile::open(path)?;
    let codes = file.integers("codes")?;
    let shape = extents(&file, "codes", "[B, h, w]")?;
    let code =
        |code: i64| u32::try_from(code).with_context(|| format!("{}: visual token {code}", path.display()));
    Ok((codes.into_iter().map(code).collect::<anyhow::Result<_>>()?, shape))
}
