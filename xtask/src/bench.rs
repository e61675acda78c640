//! `bench`: what a device does in a second, and what share that is of its best matrix product.

mod alone;
mod table;

use crate::device;
use crate::output::Output;
use beit::DeviceSettings;
use beit_bench::BenchSettings;
use clap::Args as ClapArgs;
use table::Table;

/// Time matrix products, layers and whole steps of the model on a device
///
/// Every time is the median of several runs after warm-up. Operations are counted on the device without numbers, and their rate is
/// put beside the best square product of the same run. Bytes planned are those of tensors on this device; bytes taken are
/// what its pool holds after the row, which never shrinks. Of segmenters on the CPU they are the most that a process held which did
/// this row alone, and so are the peer's.
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask bench cpu
  cargo xtask bench cpu --precision bf16 --only steps --peer torch
  cargo xtask bench cpu --only steps --peer onnxruntime
  cargo xtask bench cpu --only segmentation --peer torch --runs 1
  cargo xtask bench gpu
  cargo xtask bench gpu --preset base --only steps --peer torch --prepare-peer
  cargo xtask bench gpu --preset base --only steps --peer torch
  cargo xtask bench gpu --device wgpu --preset tiny --json")]
pub(crate) struct Args {
    #[command(flatten)]
    settings: BenchSettings,
    #[command(flatten)]
    device: DeviceSettings,
    #[command(flatten)]
    output: Output,
    /// Answer the bytes that a process has held which did nothing but the row of this name
    #[arg(long, hide = true)]
    alone: Option<String>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let settings = args.settings.device(&args.device)?;
    let watch = args.output.watch();
    let device = device::open(&settings, &watch)?;
    if let Some(row) = &args.alone {
        let bytes = args.settings.alone(row, &device)?;
        return args.output.answer(&bytes, &serde_json::to_string(&bytes)?);
    }
    let mut table = Table::new(args.output, &device);
    args.settings.run(&device, &watch, &mut |row| table.row(alone::measured(row)?))?;
    table.end()
}
