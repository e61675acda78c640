//! `ablate`: the paper's ablations, in one command that goes on where it was stopped.

use crate::device;
use crate::output::Output;
use crate::signals;
use beit::DeviceSettings;
use beit::ablate::{Ablation, AblationSettings};
use clap::Args as ClapArgs;

/// The paper's ablations: rows that differ in one thing, several seeds of each, judged alike, in a table and a picture
///
/// Every row is pre-trained and then judged by fine-tuning with few labels, by probes of its frozen features, and by segmentation;
/// images with masks by segmentation alone.
/// What is found is written down at once: the same command goes on where it was stopped, and with more rows, seeds or judges does what is missing.
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask ablate --dry-run
  cargo xtask ablate --rows beit,random-masking,pixels,scratch --seeds 1 --epochs 2
  cargo xtask ablate --data folder:photos --image-size 64 --patch-size 8 --labels 300 --out runs/photos-ablation
  cargo xtask ablate --data masks:images,masks,classes.txt --image-size 64 --patch-size 8 --segment-lr 8e-3 --out runs/road-ablation")]
pub(crate) struct Args {
    #[command(flatten)]
    settings: AblationSettings,
    /// Check everything, say how many steps it takes and how long, and stop
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    device: DeviceSettings,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let watch = args.output.watch();
    args.device.check()?;
    signals::catch();
    let ablation = Ablation::new(args.settings.clone(), &watch)?;
    watch.note(&ablation.describe());
    let device = device::open(&args.device, &watch)?;
    if args.dry_run {
        let plan = ablation.plan(Some(&device))?;
        return args.output.answer(&plan, &plan.sentence());
    }
    let found = ablation.run(&device)?;
    let (table, plot) = (found.table.display(), found.plot.display());
    args.output.answer(&found, &format!("{}\ntable: {table}\npicture: {plot}", found.text))
}
