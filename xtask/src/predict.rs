//! `predict`: the classes of images.

use crate::device;
use crate::model::ModelArgs;
use crate::output::Output;
use crate::usage::usage;
use beit::{Batches, Classifier, DeviceSettings, Files, Prediction, Source};
use clap::Args as ClapArgs;
use serde::Serialize;
use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

/// The most likely classes of images, with their probabilities
///
/// Images come out in the order in which they are named, those of a folder in the order of their names. What cannot be decoded is
/// named and left out; the verb then fails after the others.
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask predict photo.jpg --model runs/finetune-001
  cargo xtask predict photo.jpg --model microsoft/beit-base-patch16-224
  cargo xtask predict photos more/photo.png --model runs/finetune-001 --top-k 3 --json")]
pub(crate) struct Args {
    /// Images, or folders of images
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// Classes of each image
    #[arg(long, default_value_t = 5, value_name = "K")]
    top_k: usize,
    #[command(flatten)]
    batches: Batches,
    #[command(flatten)]
    device: DeviceSettings,
    #[command(flatten)]
    output: Output,
}

/// What the verb answers for each image.
#[derive(Serialize)]
struct Answer<'a> {
    file: String,
    /// The most likely first.
    predictions: Vec<Prediction<'a>>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    if args.top_k == 0 {
        usage!("--top-k 0: expected at least 1 class");
    }
    let watch = args.output.watch();
    let device = device::open(&args.device, &watch)?;
    let classifier = Classifier::open_with(&args.model.model, &args.model.open, &device, &watch)?;
    let source: Arc<dyn Source> = Arc::new(Files::find(&args.images)?);
    watch.notes_of(source.as_ref());
    let bad = classifier.classify_source(&source, args.batches, &watch, |index, found| {
        let answer = Answer { file: source.name(index), predictions: found.top(args.top_k) };
        args.output.answer(&answer, &table(&answer))
    })?;
    if bad > 0 {
        anyhow::bail!("{bad} of {} files cannot be decoded", source.len());
    }
    Ok(())
}

fn table(answer: &Answer<'_>) -> String {
    // One line each, whatever a name has in it.
    let line = |name: &str| name.replace('\n', "\\n");
    let mut text = line(&answer.file);
    for Prediction { label, probability, .. } in &answer.predictions {
        let _ = write!(text, "\n  {probability:.4}  {}", line(label));
    }
    text
}
