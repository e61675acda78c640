//! `pretrain`: masked image modelling.

use crate::dry_run::DryRun;
use crate::output::{Output, Shown};
use crate::ranks::{self, Member};
use crate::recipe::Recipes;
use crate::signals;
use crate::usage::Given;
use beit::{
    ClusterSettings, Device, DeviceSettings, Predicted, PretrainSettings, Pretrained, Pretraining,
    RankSettings, SumSettings,
};
use clap::Args as ClapArgs;

/// Images that a dry run looks at.
pub(crate) const LOOKED_AT: usize = 20;

/// Pre-train by masked image modelling, without labels. With no flags: embedded images, a tiny model, a few minutes
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask pretrain
  cargo xtask pretrain --data folder:photos --preset small --epochs 300 --out runs/photos
  cargo xtask pretrain --resume --out runs/photos
  cargo xtask pretrain --recipe in1k-800-base --data folder:imagenet --dry-run
  cargo xtask pretrain --ranks 2
  cargo xtask pretrain --dry-run --preset base --ranks 16 --nodes 2 --link 100
  torchrun --no-python --nproc-per-node 2 target/release/xtask pretrain")]
pub(crate) struct Args {
    #[command(flatten)]
    settings: PretrainSettings,
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
    cluster: ClusterSettings,
    #[command(flatten)]
    shown: Shown,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(args: Args, given: &Given) -> anyhow::Result<()> {
    let (mut ranks, output) = (args.ranks.clone(), args.shown.with(args.output));
    if args.dry_run {
        // Those are imagined.
        ranks.ranks = None;
    }
    ranks::run(&ranks, output, |member| train(args, given, member))
}

fn train(mut args: Args, given: &Given, member: &Member) -> anyhow::Result<()> {
    let flags = (args.settings, args.device);
    (args.settings, args.device) = args.recipes.settle(flags, |settings| &mut settings.run, given, member)?;
    args.device.check()?;
    signals::catch();
    let of = member.team.shard().of;
    let imagined = args.ranks.ranks.filter(|_| args.dry_run).unwrap_or(of);
    args.settings.training.divide(imagined)?;
    if args.dry_run {
        args.settings.training.update_freq.get_or_insert(imagined.max(1) as u64);
    }
    member.team.share(&mut args.settings.training.update_freq)?;
    let pretraining = Pretraining::new(args.settings.clone(), &member.watch)?;
    member.watch.note(&pretraining.describe());
    if args.dry_run {
        return dry_run(&pretraining, imagined, &args, member);
    }
    let device = member.open(&args.device)?.adding_up(&args.sums, &member.watch)?;
    let done = pretraining.run(&device)?;
    member.answer(args.output, &done, &sentence(&done))
}

fn sentence(done: &Pretrained) -> String {
    let Pretrained { run, checkpoint, best, pictures, .. } = done;
    format!(
        "{}\ncheckpoint: {}\n{}pictures: {}\nnext: cargo xtask finetune --init {}",
        done.sentence(),
        checkpoint.display(),
        best.as_ref().map(|best| best.sentence() + "\n").unwrap_or_default(),
        pictures.display(),
        run.display(),
    )
}

/// Everything but the training.
fn dry_run(pretraining: &Pretraining, imagined: usize, args: &Args, member: &Member) -> anyhow::Result<()> {
    let survey = pretraining.survey(LOOKED_AT);
    member.watch.note(&format!("data: {}", survey.sentence()));
    let mut plan = pretraining.plan(args.device.footprint()?, imagined)?;
    let device = member.open(&args.device)?;
    plan.images_per_second = match args.cluster.rate {
        Some(rate) => Some(rate),
        // The machine that the run is for may have what this one lacks.
        None => pretraining
            .rate(&device)
            .inspect_err(|error| member.watch.note(&format!("the speed was not measured: {error}")))
            .ok(),
    };
    if let Err(error) = pretraining.fits(&device) {
        member.watch.note(&format!("not on this machine: {error}"));
    }
    let cluster = ClusterSettings { rate: plan.images_per_second, ..args.cluster.clone() };
    let mut predicted = Vec::new();
    if cluster.rate.is_some() {
        let ranks = args.ranks.ranks.unwrap_or(1);
        predicted = pretraining.predict(ranks, &cluster, || Device::open(&args.device))?;
        predicted.retain(|_| args.ranks.ranks.is_some());
    }
    let mut sentence = plan.sentence();
    if !predicted.is_empty() {
        sentence += "\n ranks  machines  compute s  exchange s  sent MB  images/s  efficiency     days";
    }
    for Predicted { ranks, nodes, compute, exchange, sent, images_per_second, efficiency, days } in &predicted
    {
        sentence += &format!(
            "\n{ranks:6}  {nodes:8}  {compute:9.3}  {exchange:10.3}  {:7.0}  {images_per_second:8.0}  {efficiency:10.2}  {days:7.2}",
            sent / 1e6
        );
    }
    let answer = DryRun { plan: &plan, seconds: plan.seconds(), data: &survey, predicted: &predicted };
    member.answer(args.output, &answer, &sentence)
}
