//! Models from and to checkpoint folders, with what this program keeps beside them.

use crate::data::Views;
use crate::device::Cpu;
use anyhow::Context;
use beit_data::Normalise;
use beit_heads::{Classifier, ClassifierConfig, Mim, MimConfig, Pooling};
use beit_ops::Ops;
use beit_tokenizer::{Encoder, Tokenizer};
use beit_train::{Finetuning, Pretraining, load_training, save_training};
use beit_weights::{Labelled, Loaded, Model, PREPROCESSOR, Preprocessor, Resample, TensorFile, TensorWriter};
use std::path::Path;

type Tensor = <Cpu as Ops>::Tensor;

/// A model for masked image modelling.
pub(crate) struct MimModel {
    pub(crate) config: MimConfig,
    pub(crate) params: Mim<Tensor>,
    pub(crate) views: Views,
}

/// A classifier.
pub(crate) struct ClassifierModel {
    pub(crate) config: ClassifierConfig,
    pub(crate) params: Classifier<Tensor>,
    pub(crate) class_names: Vec<String>,
    pub(crate) views: Views,
}

/// Both halves of a tokenizer.
pub(crate) type TokenizerModel = Loaded<beit_tokenizer::Config, Tokenizer<Tensor>>;

/// Whatever a folder holds.
pub(crate) enum Any {
    Mim(Box<MimModel>),
    Classifier(Box<ClassifierModel>),
    Tokenizer(Box<Loaded<beit_tokenizer::Config, Encoder<Tensor>>>),
}

/// A classifier to be fine-tuned.
pub(crate) struct StartModel {
    pub(crate) config: ClassifierConfig,
    pub(crate) params: Classifier<Tensor>,
    pub(crate) views: Views,
    pub(crate) report: Vec<String>,
}

pub(crate) fn load_mim(ops: &Cpu, dir: &Path) -> anyhow::Result<MimModel> {
    let Loaded { config, params } = beit_weights::load_mim(ops, dir)?;
    let views = views(dir, config.vit.image)?;
    Ok(MimModel { config, params, views })
}

pub(crate) fn load_classifier(ops: &Cpu, dir: &Path) -> anyhow::Result<ClassifierModel> {
    let Loaded { config: Labelled { classifier: config, labels }, params } =
        beit_weights::load_classifier(ops, dir)?;
    let views = views(dir, config.vit.image)?;
    Ok(ClassifierModel { config, params, class_names: labels, views })
}

/// The tokenizer in a folder, or in the folder `tokenizer` of a run.
pub(crate) fn load_tokenizer(ops: &Cpu, dir: &Path) -> anyhow::Result<TokenizerModel> {
    let nested = dir.join("tokenizer");
    let dir = if nested.join("config.json").is_file() { &nested } else { dir };
    Ok(beit_weights::load_tokenizer(ops, dir)?)
}

pub(crate) fn load_any(ops: &Cpu, dir: &Path) -> anyhow::Result<Any> {
    Ok(match Model::read(dir)? {
        Model::Mim(_) => Any::Mim(Box::new(load_mim(ops, dir)?)),
        Model::Classifier(_) => Any::Classifier(Box::new(load_classifier(ops, dir)?)),
        Model::Tokenizer(_) => Any::Tokenizer(Box::new(beit_weights::load_encoder(ops, dir)?)),
        other => anyhow::bail!("{}: this is {}, which cannot be run here", dir.display(), other.name()),
    })
}

pub(crate) fn load_for_finetuning(
    ops: &Cpu,
    dir: &Path,
    classes: usize,
    pooling: Pooling,
    seed: u64,
) -> anyhow::Result<StartModel> {
    let config = Model::read(dir)?.finetuned(classes, pooling).with_context(|| {
        format!("{}: a tokenizer cannot be fine-tuned; expected a pre-trained model", dir.display())
    })?;
    let start = beit_weights::load_for_finetuning(ops, dir, &config, seed)?;
    let views = views(dir, config.vit.image)?;
    Ok(StartModel {
        config,
        params: start.params,
        views,
        report: vec![format!("{}: {}", dir.display(), start.report)],
    })
}

/// Saves a pre-training run so that it can go on.
pub(crate) fn save_pretraining(
    training: &Pretraining<'_, Cpu>,
    views: &Views,
    dir: &Path,
) -> anyhow::Result<()> {
    let more = |dir: &Path| -> Result<(), beit_train::Error> {
        preprocessor(views).write(dir)?;
        save_training(training.ops, dir, &training.optimiser, &training.recipe)
    };
    Ok(beit_weights::save_mim(training.ops, dir, &training.config, &training.params, more)?)
}

/// Saves a fine-tuning run so that it can go on.
pub(crate) fn save_finetuning(
    training: &Finetuning<'_, Cpu>,
    views: &Views,
    class_names: &[String],
    dir: &Path,
) -> anyhow::Result<()> {
    let more = |dir: &Path| -> Result<(), beit_train::Error> {
        preprocessor(views).write(dir)?;
        save_training(training.ops, dir, &training.optimiser, &training.recipe)
    };
    let config = Labelled { classifier: training.config.clone(), labels: class_names.to_vec() };
    Ok(beit_weights::save_classifier(training.ops, dir, &config, &training.params, more)?)
}

/// Continues a pre-training run.
pub(crate) fn resume_pretraining(
    ops: &Cpu,
    dir: &Path,
    training: &mut Pretraining<'_, Cpu>,
) -> anyhow::Result<()> {
    let loaded = load_mim(ops, dir)?;
    same_model(dir, &loaded.config, &training.config)?;
    training.params = loaded.params;
    Ok(load_training(ops, dir, &mut training.optimiser, &training.recipe)?)
}

/// Continues a fine-tuning run.
pub(crate) fn resume_finetuning(
    ops: &Cpu,
    dir: &Path,
    training: &mut Finetuning<'_, Cpu>,
) -> anyhow::Result<()> {
    let loaded = load_classifier(ops, dir)?;
    same_model(dir, &loaded.config, &training.config)?;
    training.params = loaded.params;
    Ok(load_training(ops, dir, &mut training.optimiser, &training.recipe)?)
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
pub(crate) fn save_tokenizer(
    ops: &Cpu,
    config: &beit_tokenizer::Config,
    params: &Tokenizer<Tensor>,
    dir: &Path,
) -> anyhow::Result<()> {
    Ok(beit_weights::save_tokenizer(ops, dir, config, params, beit_weights::no_more_files)?)
}

/// How the pixels of this model were made.
fn views(dir: &Path, image: [usize; 2]) -> anyhow::Result<Views> {
    if !dir.join(PREPROCESSOR).exists() {
        return Ok(Views::new(image, false));
    }
    let Preprocessor { mean, std, .. } = Preprocessor::read(dir)?;
    Ok(Views { image, normalise: Normalise { mean, std } })
}

fn preprocessor(views: &Views) -> Preprocessor {
    let Normalise { mean, std } = views.normalise;
    Preprocessor { mean, std, resample: Resample::Bicubic, ..Preprocessor::squash(views.image) }
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
