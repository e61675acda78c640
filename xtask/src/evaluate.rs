//! `evaluate`: how a classifier or a segmenter does on the images of a source.

use crate::model::ModelArgs;
use crate::output::Output;
use crate::ranks::{self, Member};
use crate::signals;
use crate::usage::Given;
use beit::{DeviceSettings, EvaluationSettings, FineTuned, FinetuneTask, RankSettings, ViewSettings};
use clap::Args as ClapArgs;
use serde::Serialize;

/// How a classifier or a segmenter does: accuracy or mean intersection over union, class by class, and the confusion matrix
///
/// Of a classifier top-1 and top-5 accuracy and loss; of a segmenter mIoU, mAcc and aAcc at the resolution of the pictures.
///
/// Classes of the data are those of the model with the same names, or by the numbers of ImageNet (n01440764); a model whose
/// classes have no names takes folders named 0, 1, … in the order in which training numbers them (10 before 2). The data may have
/// some of the model's classes only.
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask evaluate --model runs/finetune-001
  cargo xtask evaluate --model microsoft/beit-base-patch16-224 --data folder:imagenet/val
  cargo xtask evaluate --model runs/finetune-001 --data folder:photos --out runs/evaluation --per-class
  cargo xtask evaluate --model runs/finetune-001 --data folder:photos --out runs/evaluation --resume
  cargo xtask evaluate --model runs/finetune-001 --data folder:photos --crops 3
  cargo xtask evaluate --model runs/finetune-002 --data scenes --per-class
  cargo xtask evaluate --model microsoft/beit-base-finetuned-ade-640-640 --data ade:ADEChallengeData2016 --scales 0.5,0.75,1,1.25,1.5,1.75 --flip")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    settings: EvaluationSettings,
    /// What the model names; where not given, what it was trained for
    #[arg(long, value_enum)]
    task: Option<FinetuneTask>,
    #[command(flatten)]
    views: ViewSettings,
    /// Print how it does on each class too
    #[arg(long)]
    per_class: bool,
    #[command(flatten)]
    device: DeviceSettings,
    #[command(flatten)]
    ranks: RankSettings,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Answer<'a, E, C> {
    #[serde(flatten)]
    evaluated: &'a E,
    #[serde(skip_serializing_if = "Option::is_none")]
    per_class: Option<&'a [C]>,
}

impl Args {
    /// Prints what was found, class by class where that is asked for.
    fn answer<E: Serialize, C: Serialize>(
        &self,
        member: &Member,
        evaluated: &E,
        classes: &[C],
        sentence: String,
        table: impl FnOnce() -> String,
    ) -> anyhow::Result<()> {
        let per_class = self.per_class.then_some(classes);
        let sentence = if self.per_class { sentence + &table() } else { sentence };
        member.answer(self.output, &Answer { evaluated, per_class }, &sentence)
    }
}

pub(crate) fn run(args: &Args, given: &Given) -> anyhow::Result<()> {
    ranks::run(&args.ranks, args.output, |member| evaluate(args, given, member))
}

fn evaluate(args: &Args, given: &Given, member: &Member) -> anyhow::Result<()> {
    if member.team.leads() {
        args.settings.check()?;
    }
    let (watch, name) = (&member.watch, &args.model.model);
    let device = member.open(&args.device)?;
    let model = FineTuned::open_with(name, args.task, &args.model.open, &device, watch)?;
    signals::catch();
    match model {
        FineTuned::Classifier(classifier) => {
            given.refuse(&VIEWS, "segmentation, and this is a classifier")?;
            let found = classifier.evaluate(name, &args.settings, watch)?;
            args.answer(member, &found, &found.per_class, found.sentence(), || found.per_class_text())
        }
        FineTuned::Segmenter(segmenter) => {
            given.refuse(&["batch_size", "crops"], "classification, and this is a segmenter")?;
            let found = segmenter.evaluate(name, &args.settings, &args.views, watch)?;
            args.answer(member, &found, &found.counts.per_class(), found.sentence(), || {
                found.per_class_text()
            })
        }
    }
}

/// The fields of [`ViewSettings`].
pub(crate) const VIEWS: [&str; 4] = ["scales", "flip", "stride", "whole"];
