//! `finetune`: classification and segmentation.

use crate::output::Output;
use crate::ranks::{self, Member};
use crate::signals;
use crate::usage::{Given, command};
use beit::{DeviceSettings, FinetuneSettings, Finetuning, RankSettings, SumSettings};
use clap::Args as ClapArgs;
use serde_json::json;

/// Fine-tune for classification or segmentation, from a run, a checkpoint, or from scratch
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask finetune --init runs/pretrain-001
  cargo xtask finetune --init runs/pretrain-001 --labels 500 --epochs 50
  cargo xtask finetune --init microsoft/beit-base-patch16-224-pt22k --image-size 384 --data folder:photos
  cargo xtask finetune --init microsoft/beit-base-patch16-224-pt22k --data folder:photos --aa rand-m9-mstd0.5-inc1 --mixup 0.8 --cutmix 1
  cargo xtask finetune --from-scratch --labels 500
  cargo xtask finetune --task segment --data scenes --init runs/pretrain-001
  cargo xtask finetune --task segment --data masks:photos,masks,classes.txt --init microsoft/beit-base-patch16-224-pt22k --head upernet")]
pub(crate) struct Args {
    #[command(flatten)]
    settings: FinetuneSettings,
    /// Check everything, and stop
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    device: DeviceSettings,
    #[command(flatten)]
    ranks: RankSettings,
    #[command(flatten)]
    sums: SumSettings,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(args: Args, given: &Given) -> anyhow::Result<()> {
    let (ranks, output) = (args.ranks.clone(), args.output);
    ranks::run(&ranks, output, |member| train(args, given, member))
}

fn train(mut args: Args, given: &Given, member: &Member) -> anyhow::Result<()> {
    args.settings.run.decide(&member.team)?;
    if let Some(out) = args.settings.run.resumed() {
        (args.settings, args.device) =
            beit::settings_of_run(&args.settings, &args.device, out, |name| given.has(name))?;
    }
    args.settings.run.folder.command = Some(command());
    args.device.check()?;
    signals::catch();
    member.team.share(&mut args.settings.training.update_freq)?;
    let finetuning = Finetuning::new(args.settings, &member.watch)?;
    let device = member.open(&args.device)?;
    member.watch.note(&finetuning.describe());
    if args.dry_run {
        let steps = finetuning.check(&device)?;
        return member.answer(args.output, &json!({ "steps": steps }), "everything fits");
    }
    let done = finetuning.run(&device.adding_up(&args.sums, &member.watch)?)?;
    let sentence = format!(
        "{}\n{}\ncheckpoint: {}\n{}next: cargo xtask evaluate --model {}",
        done.sentence(),
        done.beside_sentence(),
        done.checkpoint.display(),
        done.best.as_ref().map(|best| best.sentence() + "\n").unwrap_or_default(),
        done.run.display(),
    );
    member.answer(args.output, &done, &sentence)
}
