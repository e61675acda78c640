//! `doctor`: what a run would meet.

use crate::output::Output;
use beit::doctor::{Level, examine};
use beit::{DeviceSettings, DoctorSettings};
use clap::Args as ClapArgs;
use serde_json::json;

/// Look at the machine, the device, the data, the disk, the settings and the hub before a run; each finding says what to do
///
/// Nothing is fetched, and nothing is written but indices of images. Exit code 1 where there is a problem.
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask doctor
  cargo xtask doctor --data folder:photos --preset base
  cargo xtask doctor --recipe in1k-ft-base-ft22k --data folder:imagenet --out runs/tuned")]
pub(crate) struct Args {
    #[command(flatten)]
    settings: DoctorSettings,
    #[command(flatten)]
    device: DeviceSettings,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let findings = examine(&args.settings, &args.device, &args.output.watch())?;
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    args.output.answer(&json!({ "findings": findings }), &lines.join("\n"))?;
    let problems = findings.iter().filter(|finding| finding.level == Level::Problem).count();
    match problems {
        0 => Ok(()),
        1 => anyhow::bail!("a problem was found"),
        many => anyhow::bail!("{many} problems were found"),
    }
}
