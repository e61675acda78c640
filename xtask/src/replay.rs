//! `replay`: a step that a run did not take.

use crate::device;
use crate::output::Output;
use crate::usage::Given;
use beit::{DeviceSettings, Replay, Replaying};
use clap::Args as ClapArgs;
use std::path::PathBuf;

/// Compute a step again that a run did not take, and show which images and parameters made it leap. Nothing is written but indices of images
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask replay runs/pretrain-001/spikes/step-0001234
  cargo xtask replay runs/pretrain-001/spikes/step-0001234 --show 64 --json")]
pub(crate) struct Args {
    /// What the run has kept: RUN/spikes/step-N
    step: PathBuf,
    /// Images and parameters to show
    #[arg(long, default_value_t = 10, value_name = "N")]
    show: usize,
    #[command(flatten)]
    device: DeviceSettings,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(args: &Args, given: &Given) -> anyhow::Result<()> {
    given.refuse(&["precision"], "the run, whose precision is taken")?;
    let watch = args.output.watch();
    let replaying = Replaying::open(&args.step, &args.device, |name| given.has(name))?;
    let device = device::open(replaying.device(), &watch)?;
    let mut replay = replaying.run(&device, &watch)?;
    let sentence = sentence(&replay, args.show);
    replay.tensors.truncate(args.show);
    replay.images.truncate(args.show);
    args.output.answer(&replay, &sentence)
}

fn sentence(replay: &Replay, show: usize) -> String {
    let Replay { step, reason, loss, grad_norm, loss_of_run, grad_norm_of_run, tensors, images } = replay;
    let mut text = format!(
        "step {step} was not taken: {reason}\nloss {}, norm of the gradients {}; in the run {} and {}\n",
        number(*loss),
        number(*grad_norm),
        number(*loss_of_run),
        number(*grad_norm_of_run),
    );
    text += &format!("\n{:>12} {:>12}  of {} images, each by itself", "loss", "gradients", images.len());
    for image in images.iter().take(show) {
        text += &format!("\n{:>12} {:>12}  {}", number(image.loss), number(image.grad_norm), image.name);
    }
    text += &format!("\n\n{:>12} {:>12}  of {} parameters", "", "gradients", tensors.len());
    for tensor in tensors.iter().take(show) {
        text += &format!("\n{:>12} {:>12}  {}", "", number(tensor.grad_norm), tensor.name);
    }
    text
}

fn number(number: Option<f64>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| format!("{number:.5}"))
}
