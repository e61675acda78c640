//! `evaluate`: how a classifier does on the images of a source.

use crate::device;
use crate::model::ModelArgs;
use crate::output::Output;
use crate::signals;
use beit::{Classifier, DeviceSettings, Evaluated, EvaluationSettings};
use beit_train::ClassCounts;
use clap::Args as ClapArgs;
use serde::Serialize;

/// Top-1 and top-5 accuracy, loss, accuracy of each class and confusion matrix of a classifier
///
/// Classes of the data are those of the model with the same names, or by the numbers of ImageNet (n01440764); a model whose
/// classes have no names takes folders named 0, 1, … in the order in which training numbers them (10 before 2). The data may have
/// some of the model's classes only.
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask evaluate --model runs/finetune-001
  cargo xtask evaluate --model microsoft/beit-base-patch16-224 --data folder:imagenet/val
  cargo xtask evaluate --model runs/finetune-001 --data folder:photos --out runs/evaluation --per-class
  cargo xtask evaluate --model runs/finetune-001 --data folder:photos --out runs/evaluation --resume")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    settings: EvaluationSettings,
    /// Print the accuracy of each class too
    #[arg(long)]
    per_class: bool,
    #[command(flatten)]
    device: DeviceSettings,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    evaluated: &'a Evaluated,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_class: Option<&'a [ClassCounts]>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    args.settings.check()?;
    let watch = args.output.watch();
    let device = device::open(&args.device, &watch)?;
    let classifier = Classifier::open_with(&args.model.model, &args.model.open, &device, &watch)?;
    signals::catch();
    let evaluated = classifier.evaluate(&args.model.model, &args.settings, &watch)?;
    let mut sentence = evaluated.sentence();
    if args.per_class {
        sentence += &evaluated.per_class_text();
    }
    let per_class = args.per_class.then_some(&evaluated.per_class[..]);
    args.output.answer(&Answer { evaluated: &evaluated, per_class }, &sentence)
}
