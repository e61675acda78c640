//! `weights verify`: whether a checkpoint is what the catalogue says.

use crate::device;
use crate::output::Output;
use beit::{Check, DeviceSettings, verify};
use clap::Args as ClapArgs;
use std::path::PathBuf;

/// Check an official checkpoint: model, number of parameters, every number finite, and the published logits of one picture
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask weights verify microsoft/beit-base-patch16-224
  cargo xtask weights verify beit_base_patch16_224_pt22k --path beit_base_patch16_224_pt22k.pth
  cargo xtask weights verify microsoft/beit-base-patch16-224 --picture 000000039769.jpg")]
pub(crate) struct Args {
    /// Official name, or its name on the hub
    id: String,
    /// The file or folder, where it is not to be fetched
    #[arg(long, value_name = "PATH")]
    path: Option<PathBuf>,
    /// The picture whose logits are published: 000000039769.jpg of COCO's val2017
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceSettings,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let watch = args.output.watch();
    let device = device::open(&args.device, &watch)?;
    let verified = verify(&args.id, args.path.as_deref(), args.picture.as_deref(), &device, &watch)?;
    let verdict = |check: &Check| match check.passed {
        Some(true) => "as published",
        Some(false) => "DIFFERS",
        None => "not checked",
    };
    let line = |check: &Check| format!("{:12}  {}: {}", verdict(check), check.what, check.found);
    let lines: Vec<_> = verified.checks.iter().map(line).collect();
    args.output.answer(&verified, &lines.join("\n"))?;
    match verified.checks.iter().find(|check| check.passed == Some(false)) {
        Some(check) => {
            let (path, name) = (verified.path.display(), &verified.name);
            anyhow::bail!("{path} is not {name}: {} differs; fetch it again", check.what)
        }
        None => Ok(()),
    }
}
