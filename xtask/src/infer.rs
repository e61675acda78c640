//! `infer`: raw tensors through a model, for parity with other tools.

use crate::device;
use crate::model::ModelArgs;
use crate::output::{Output, Overwrite};
use beit::tensors::{Inputs, TensorModel};
use beit::{Batches, Contents, DeviceSettings};
use clap::Args as ClapArgs;
use serde_json::json;
use std::path::PathBuf;

/// Raw tensors through a model: `pixel_values [B, 3, H, W]` as the model sees them, optionally `bool_masked_pos [B, N]`, to
/// `logits`; for a tokenizer to `codes` and `logits`, for a transformer without a head to its `tokens`
#[derive(ClapArgs)]
#[command(after_help = "Example:
  cargo xtask infer --model runs/finetune-001 --pixels in.safetensors --out out.safetensors")]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// Input tensors
    #[arg(long, value_name = "FILE")]
    pixels: PathBuf,
    /// Output tensors
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    overwrite: Overwrite,
    #[command(flatten)]
    batches: Batches,
    #[command(flatten)]
    device: DeviceSettings,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    args.overwrite.check(&args.out, Contents::Tensors(&["logits", "codes", "tokens"]))?;
    let watch = args.output.watch();
    let device = device::open(&args.device, &watch)?;
    let model = TensorModel::open_with(&args.model.model, &args.model.open, &device, &watch)?;
    let outputs = model.run(&Inputs::read(&args.pixels)?, args.batches)?;
    outputs.write(&args.out)?;
    let shape = &outputs.shape;
    let sentence = format!("{} {shape:?}: {}", outputs.name(), args.out.display());
    args.output.answer(&json!({ "out": args.out, outputs.name(): shape }), &sentence)
}
