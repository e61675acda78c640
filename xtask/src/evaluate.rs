//! `evaluate`: how a classifier does on the images of a source.

mod progress;
mod tables;

use crate::classes::{ClassMap, wnids};
use crate::data::{DataArgs, Loading, evaluation_loader};
use crate::device::{Device, DeviceArgs, Work};
use crate::files;
use crate::model::ClassifierModel;
use crate::model_source::ModelSource;
use crate::output::{answer, images_bar, note};
use crate::usage::usage;
use anyhow::Context;
use beit_data::{LabelledSample, Loader, Source, Split};
use beit_ops::Ops;
use beit_train::{Accuracy, ClassCounts, Evaluation, evaluate};
use clap::Args as ClapArgs;
use progress::{Store, What};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Top-1 and top-5 accuracy, loss, accuracy of each class and confusion matrix of a classifier
///
/// Classes of the data are those of the model with the same names, or by the numbers of ImageNet (n01440764); a model whose
/// classes have no names takes folders named 0, 1, … The data may have some of the model's classes only.
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask evaluate --model runs/finetune-001
  cargo xtask evaluate --model microsoft/beit-base-patch16-224 --data folder:imagenet/val
  cargo xtask evaluate --model runs/finetune-001 --data folder:photos --out runs/evaluation --per-class
  cargo xtask evaluate --model runs/finetune-001 --data folder:photos --out runs/evaluation --resume")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelSource,
    #[command(flatten)]
    data: DataArgs,
    /// Evaluate on the training images instead
    #[arg(long)]
    train_split: bool,
    /// Images of a batch
    #[arg(long, default_value_t = 64)]
    batch_size: usize,
    /// Folder for evaluation.json, per_class.csv, confusion.csv, and progress.json to resume from
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue the evaluation in --out, to the same bits as if it had not stopped
    #[arg(long, requires = "out")]
    resume: bool,
    /// Batches between two writings of progress.json
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    save_every: u64,
    /// Print the accuracy of each class too
    #[arg(long)]
    per_class: bool,
    #[command(flatten)]
    device: DeviceArgs,
    /// JSON on stdout
    #[arg(long)]
    json: bool,
}

/// What the verb answers, and `evaluation.json`.
#[derive(Serialize)]
struct Answer {
    model: String,
    data: String,
    split: String,
    #[serde(flatten)]
    accuracy: Accuracy,
    /// Images that could not be decoded.
    left_out: usize,
    batch_size: usize,
    preprocessing: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_class: Option<Vec<ClassCounts>>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    check_folder(args)?;
    let Done { evaluation, class_names, preprocessing } = args.device.run(args)?;
    let split = split(args);
    let mut answer_value = Answer {
        model: args.model.model.clone(),
        data: args.data.data.clone(),
        split: split.to_string(),
        accuracy: evaluation.accuracy(),
        left_out: evaluation.left_out,
        batch_size: args.batch_size,
        preprocessing,
        per_class: None,
    };
    if let Some(out) = &args.out {
        write(out, &answer_value, &evaluation, &class_names)?;
    }
    let mut sentence = sentence(&split.to_string(), &answer_value.accuracy);
    if args.per_class {
        answer_value.per_class = Some(evaluation.per_class());
        sentence += &tables::per_class(&evaluation, &class_names);
    }
    answer(args.json, &answer_value, &sentence)
}

fn split(args: &Args) -> Split {
    if args.train_split { Split::Train } else { Split::Test }
}

/// What the device is for.
pub(crate) struct Done {
    evaluation: Evaluation,
    class_names: Vec<String>,
    preprocessing: String,
}

impl Work for &Args {
    type Output = Done;

    fn run<O: Ops>(self, ops: &O, _: &Device) -> anyhow::Result<Done> {
        let classifier = self.model.classifier(ops)?;
        let source = self.data.open(split(self))?;
        let loader = loader(self, &source, &classifier)?;
        let preprocessing = classifier.views.to_string();
        let store = open_store(self, ops, &classifier, source.as_ref(), &preprocessing)?;
        let evaluation = whole(self, ops, &classifier, &loader, store)?;
        Ok(Done { evaluation, class_names: classifier.class_names, preprocessing })
    }
}

pub(crate) fn sentence(split: &str, accuracy: &Accuracy) -> String {
    let Accuracy { images, top1, top5, loss } = accuracy;
    format!("{split} accuracy on {images} images: top-1 {top1:.4}, top-5 {top5:.4}, loss {loss:.4}")
}

/// Labels are those of the model.
fn loader<T>(
    args: &Args,
    source: &Arc<dyn Source>,
    classifier: &ClassifierModel<T>,
) -> anyhow::Result<Loader<LabelledSample>> {
    let data = || args.data.data.clone();
    beit_data::labels(source.as_ref()).with_context(data)?;
    let names = &classifier.class_names;
    let map = ClassMap::build(source.class_names(), names, wnids(names.len())).with_context(data)?;
    let loading = Loading {
        batch_size: args.batch_size,
        seed: 0,
        workers: args.device.workers(),
        max_bad_share: args.data.max_bad_share,
    };
    let transform = classifier.views;
    evaluation_loader(source, loading.evaluation(), transform, move |class| map.model_class(class))
}

/// A folder with something in it is not written to, unless its evaluation is to go on.
fn check_folder(args: &Args) -> anyhow::Result<()> {
    match &args.out {
        Some(out) if !args.resume && std::fs::read_dir(out).is_ok_and(|mut all| all.next().is_some()) => {
            usage!("{} is not empty: choose another --out, or --resume the evaluation in it", out.display())
        }
        _ => Ok(()),
    }
}

fn open_store<O: Ops>(
    args: &Args,
    ops: &O,
    classifier: &ClassifierModel<O::Tensor>,
    source: &dyn Source,
    preprocessing: &str,
) -> anyhow::Result<Option<Store>> {
    let Some(out) = &args.out else { return Ok(None) };
    let what = What {
        model: progress::model(ops, &classifier.params)?,
        data: progress::data(&args.data.data, source),
        preprocessing: preprocessing.to_owned(),
        batch_size: args.batch_size,
    };
    Ok(Some(if args.resume { Store::resume(out, what)? } else { Store::begin(out, what)? }))
}

/// The whole set, from where the store is.
fn whole<O: Ops>(
    args: &Args,
    ops: &O,
    classifier: &ClassifierModel<O::Tensor>,
    loader: &Loader<LabelledSample>,
    mut store: Option<Store>,
) -> anyhow::Result<Evaluation> {
    let bar = images_bar(loader.images());
    let start = store.as_mut().and_then(|store| store.start.take());
    if let Some(start) = &start {
        note(&format!("resumed after {} of {} batches", start.batches, loader.batches_per_epoch()));
    }
    let mut on_batch = |state: &Evaluation| {
        bar.set_position(state.batches * args.batch_size as u64);
        match &store {
            Some(store) if state.batches.is_multiple_of(args.save_every) => store.save(state),
            _ => Ok(()),
        }
    };
    let evaluation = evaluate(ops, &classifier.params, loader, start, &mut on_batch)?;
    bar.finish_and_clear();
    if let Some(store) = &store {
        store.save(&evaluation)?;
    }
    Ok(evaluation)
}

fn write(out: &Path, value: &Answer, evaluation: &Evaluation, names: &[String]) -> anyhow::Result<()> {
    files::write(&out.join("per_class.csv"), &tables::per_class_csv(evaluation, names)?)?;
    files::write(&out.join("confusion.csv"), &tables::confusion_csv(evaluation, names)?)?;
    files::write(&out.join("evaluation.json"), serde_json::to_string_pretty(value)?.as_bytes())
}
