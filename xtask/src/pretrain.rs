//! `pretrain`: masked image modelling.

use crate::output::Output;
use crate::ranks::{self, Member};
use crate::signals;
use crate::usage::{Given, command};
use beit::{
    ClusterSettings, Device, DeviceSettings, PlannedRun, Predicted, PretrainSettings, Pretrained,
    Pretraining, RankSettings, SumSettings,
};
use clap::Args as ClapArgs;
use serde::Serialize;

/// Pre-train by masked image modelling, without labels. With no flags: embedded images, a tiny model, a few minutes
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask pretrain
  cargo xtask pretrain --data folder:photos --preset small --epochs 300 --out runs/photos
  cargo xtask pretrain --resume --out runs/photos
  cargo xtask pretrain --ranks 2
  cargo xtask pretrain --dry-run --preset base --ranks 16 --nodes 2 --link 100
  torchrun --no-python --nproc-per-node 2 target/release/xtask pretrain")]
pub(crate) struct Args {
    #[command(flatten)]
    settings: PretrainSettings,
    /// Check everything, say how much work and memory the run takes, and stop
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    device: DeviceSettings,
    #[command(flatten)]
    ranks: RankSettings,
    #[command(flatten)]
    sums: SumSettings,
    #[command(flatten)]
    cluster: ClusterSettings,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(args: Args, given: &Given) -> anyhow::Result<()> {
    let (mut ranks, output) = (args.ranks.clone(), args.output);
    if args.dry_run {
        // Those are imagined.
        ranks.ranks = None;
    }
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
    let imagined = args.ranks.ranks.unwrap_or(member.team.shard().of);
    if args.dry_run {
        args.settings.training.update_freq.get_or_insert(imagined.max(1) as u64);
    }
    member.team.share(&mut args.settings.training.update_freq)?;
    let pretraining = Pretraining::new(args.settings, &member.watch)?;
    member.watch.note(&pretraining.describe());
    if args.dry_run {
        let predicted = match args.ranks.ranks {
            Some(ranks) => pretraining.predict(ranks, &args.cluster, || Device::open(&args.device))?,
            None => Vec::new(),
        };
        let plan = pretraining.plan(args.device.footprint()?, imagined)?;
        return dry_run(&plan, &predicted, (member, args.output));
    }
    let device = member.open(&args.device)?.adding_up(&args.sums, &member.watch)?;
    let done = pretraining.run(&device)?;
    member.answer(args.output, &done, &sentence(&done))
}

fn sentence(done: &Pretrained) -> String {
    let Pretrained { run, checkpoint, best, tokens, split, pictures } = done;
    format!(
        "masked-token accuracy on {} patches of {split} images: {:.3}, which is {:.3} of the way from {:.3} to 1\n\
         without a model: always the commonest token {:.3}, the commonest at that position {:.3}, that of the nearest visible patch {:.3}\n\
         on the {} that are not background: {:.3}, commonest token: {:.3}\n\
         checkpoint: {}\n{}pictures: {}\nnext: cargo xtask finetune --init {}",
        tokens.patches,
        tokens.accuracy,
        tokens.share_of_gap(),
        tokens.baseline(),
        tokens.majority,
        tokens.position_majority,
        tokens.nearest_visible,
        tokens.content_patches,
        tokens.content_accuracy,
        tokens.content_majority,
        checkpoint.display(),
        best.as_ref().map(|best| best.sentence() + "\n").unwrap_or_default(),
        pictures.display(),
        run.display(),
    )
}

fn dry_run(
    plan: &PlannedRun,
    predicted: &[Predicted],
    (member, output): (&Member, Output),
) -> anyhow::Result<()> {
    let (steps, flops) = (plan.steps, plan.flops_per_step as f64);
    let mut sentence = format!(
        "a step: {:.1} GFLOP, {:.0} MiB; the run: {steps} steps, {:.1} TFLOP (tokenizer not counted)",
        flops / 1e9,
        plan.peak_bytes as f64 / (1 << 20) as f64,
        flops * steps as f64 / 1e12,
    );
    if !predicted.is_empty() {
        sentence += "\n ranks  machines  compute s  exchange s  sent MB  images/s  efficiency     days";
    }
    for Predicted { ranks, nodes, compute, exchange, sent, images_per_second, efficiency, days } in predicted
    {
        sentence += &format!(
            "\n{ranks:6}  {nodes:8}  {compute:9.3}  {exchange:10.3}  {:7.0}  {images_per_second:8.0}  {efficiency:10.2}  {days:7.2}",
            sent / 1e6
        );
    }
    member.answer(output, &DryRun { plan, predicted }, &sentence)
}

#[derive(Serialize)]
struct DryRun<'a> {
    #[serde(flatten)]
    plan: &'a PlannedRun,
    /// With more and more processes.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    predicted: &'a [Predicted],
}
