//! `compare`: the same training steps on a device and on the CPU.

use crate::device;
use crate::output::Output;
use beit::DeviceSettings;
use beit_bench::{CompareSettings, Pair, compare};
use clap::Args as ClapArgs;

/// Steps of masked image modelling on a device and on the CPU, from the same weights on the same numbers: how far they are apart
///
/// The CPU computes in f32 and is the reference. Losses may differ by a thousandth in f32 and by two hundredths in bf16, norms of
/// the gradients by ten times as much.
#[derive(ClapArgs)]
#[command(after_help = "Example:
  cargo xtask compare --device cuda --preset base --steps 10")]
pub(crate) struct Args {
    #[command(flatten)]
    settings: CompareSettings,
    #[command(flatten)]
    device: DeviceSettings,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let device = device::open(&args.device, &args.output.watch())?;
    let pairs = compare(&args.settings, &device)?;
    pairs.iter().try_for_each(|pair| args.output.answer(pair, &line(pair)))?;
    let allowed = if device.precision() == "bf16" { 2e-2 } else { 1e-3 };
    match pairs.iter().find(|pair| pair.is_apart(allowed)) {
        Some(pair) => anyhow::bail!("step {} differs by more than {allowed} of the loss", pair.step),
        None => Ok(()),
    }
}

fn line(Pair { step, device, cpu }: &Pair) -> String {
    format!(
        "step {step:2}  loss {:.5}, cpu {:.5}  norm {:.5}, cpu {:.5}",
        device.loss, cpu.loss, device.norm, cpu.norm
    )
}
