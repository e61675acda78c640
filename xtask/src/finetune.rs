//! `finetune`: classification and segmentation.

use crate::dry_run::DryRun;
use crate::output::{Output, Shown};
use crate::pretrain::LOOKED_AT;
use crate::ranks::{self, Member};
use crate::recipe::Recipes;
use crate::signals;
use crate::usage::{Given, usage};
use beit::{DeviceSettings, FinetuneSettings, Finetuning, RankSettings, SumSettings};
use clap::Args as ClapArgs;

/// Fine-tune for classification or segmentation, from a run, a checkpoint, or from scratch
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask finetune --init runs/pretrain-001
  cargo xtask finetune --init runs/pretrain-001 --labels 500 --epochs 50
  cargo xtask finetune --init microsoft/beit-base-patch16-224-pt22k --image-size 384 --data folder:photos
  cargo xtask finetune --init microsoft/beit-base-patch16-224-pt22k --data folder:photos --aa rand-m9-mstd0.5-inc1 --mixup 0.8 --cutmix 1
  cargo xtask finetune --recipe in1k-ft-base-ft22k-384 --data folder:imagenet
  cargo xtask finetune --from-scratch --labels 500
  cargo xtask finetune --task segment --data scenes --init runs/pretrain-001
  cargo xtask finetune --task segment --data masks:photos,masks,classes.txt --init microsoft/beit-base-patch16-224-pt22k --head upernet")]
pub(crate) struct Args {
    #[command(flatten)]
    settings: FinetuneSettings,
    #[command(flatten)]
    recipes: Recipes,
    /// Check everything, say how much work, memory and time the run takes, and stop
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    device: DeviceSettings,
    #[command(flatten)]
    ranks: RankSettings,
    #[command(flatten)]
    sums: SumSettings,
    #[command(flatten)]
    shown: Shown,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(args: Args, given: &Given) -> anyhow::Result<()> {
    let (ranks, output) = (args.ranks.clone(), args.shown.with(args.output));
    ranks::run(&ranks, output, |member| train(args, given, member))
}

fn train(mut args: Args, given: &Given, member: &Member) -> anyhow::Result<()> {
    let flags = (args.settings, args.device);
    (args.settings, args.device) = args.recipes.settle(flags, |settings| &mut settings.run, given, member)?;
    start_is_clear(&args.settings)?;
    args.device.check()?;
    signals::catch();
    args.settings.training.divide(member.team.shard().of)?;
    member.team.share(&mut args.settings.training.update_freq)?;
    let finetuning = Finetuning::new(args.settings, &member.watch)?;
    let device = member.open(&args.device)?;
    member.watch.note(&finetuning.describe());
    if args.dry_run {
        let survey = finetuning.survey(LOOKED_AT);
        member.watch.note(&format!("data: {}", survey.sentence()));
        let plan = finetuning.check(&device)?;
        let answer = DryRun { plan: &plan, seconds: plan.seconds(), data: &survey, predicted: &[] };
        return member.answer(args.output, &answer, &format!("everything fits\n{}", plan.sentence()));
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

/// Flags that contradict each other do not parse; recipes may.
fn start_is_clear(FinetuneSettings { init, from_scratch, run, .. }: &FinetuneSettings) -> anyhow::Result<()> {
    match (init, from_scratch) {
        _ if run.resumed().is_some() => Ok(()),
        (None, false) => {
            usage!("--init or --from-scratch: expected a model to start from, or that there is none")
        }
        (Some(_), true) => usage!("--init and --from-scratch: expected one of them"),
        _ => Ok(()),
    }
}
