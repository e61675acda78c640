//! `evaluate`: the accuracy of a classifier.

use crate::data::{DataArgs, Loading, evaluation_loader, same_classes};
use crate::device::DeviceArgs;
use crate::model;
use crate::output::{answer, images_bar};
use crate::run::checkpoint_of;
use anyhow::Context;
use beit_data::Split;
use beit_train::{Accuracy, evaluate};
use clap::Args as ClapArgs;
use serde::Serialize;
use std::path::PathBuf;

/// Top-1 and top-5 accuracy of a classifier on the test images of a source
#[derive(ClapArgs)]
#[command(after_help = "Example:
  cargo xtask evaluate --model runs/finetune-001")]
pub(crate) struct Args {
    /// Run or checkpoint
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Evaluate on the training images instead
    #[arg(long)]
    train_split: bool,
    /// Images of a batch
    #[arg(long, default_value_t = 64)]
    batch_size: usize,
    #[command(flatten)]
    device: DeviceArgs,
    /// JSON on stdout
    #[arg(long)]
    json: bool,
}

/// What the verb answers.
#[derive(Serialize)]
struct Answer {
    model: PathBuf,
    split: String,
    #[serde(flatten)]
    accuracy: Accuracy,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let ops = args.device.open()?;
    let model = checkpoint_of(&args.model)?;
    let classifier = model::load_classifier(&ops, &model)?;
    let split = if args.train_split { Split::Train } else { Split::Test };
    let source = args.data.open(split)?;
    beit_data::labels(source.as_ref()).with_context(|| args.data.data.clone())?;
    same_classes(source.as_ref(), &classifier.class_names, &args.data.data)?;
    let loading = Loading {
        batch_size: args.batch_size,
        seed: 0,
        workers: args.device.workers(),
        max_bad_share: args.data.max_bad_share,
    };
    let loader = evaluation_loader(&source, loading.evaluation(), classifier.views.evaluate())?;
    let bar = images_bar(loader.images());
    let mut on_batch = |images: usize| bar.set_position(images as u64);
    let accuracy = evaluate(&ops, &classifier.config, &classifier.params, &loader, &mut on_batch)?;
    bar.finish_and_clear();
    let sentence = format!(
        "{split} accuracy on {} images: top-1 {:.4}, top-5 {:.4}, loss {:.4}",
        accuracy.images, accuracy.top1, accuracy.top5, accuracy.loss
    );
    answer(args.json, &Answer { model, split: split.to_string(), accuracy }, &sentence)
}
