//! `probe`: what frozen features are worth.

use crate::device;
use crate::model::ModelArgs;
use crate::output::{Output, Overwrite};
use crate::ranks;
use crate::usage::usage;
use beit::probe::{AttentionProbeSettings, AttentionProbed};
use beit::{Contents, DeviceSettings, Judge, OpenSettings, Probe, ProbeSettings, RankSettings};
use clap::{Args as ClapArgs, Subcommand};
use std::path::{Path, PathBuf};

/// How well a simple judge classifies with the frozen features of every layer, and with the pixels
///
/// The features of a block are its output before the final norm, standardised by the training images. The judge learns from the labels
/// of the training images and names the test images, or a part of the training images (--validation).
#[derive(Subcommand)]
pub(crate) enum Verb {
    Knn(Knn),
    Linear(Linear),
    Attention(AttentionArgs),
}

/// By a majority of the nearest training images, nearest by the cosine
///
/// Of classes with equally many votes the one with the smallest number wins.
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask probe knn --model runs/pretrain-001
  cargo xtask probe knn --model runs/pretrain-001 --picture layers.svg
  cargo xtask probe knn --model runs/pretrain-001 --labels 2000 --validation 0.2 --pool cls-mean")]
pub(crate) struct Knn {
    /// Nearest training images that vote
    #[arg(long, default_value_t = 10)]
    k: usize,
    #[command(flatten)]
    args: Args,
}

/// By multinomial logistic regression, fitted to its end
///
/// It has the least C · Σ cross-entropy + |weights|² / 2, which is what scikit-learn minimises.
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask probe linear --model runs/pretrain-001
  cargo xtask probe linear --model microsoft/beit-base-patch16-224-pt22k --data folder:photos --pool cls-mean --c 0.1")]
pub(crate) struct Linear {
    /// Weight of the losses against the penalty; where not given, 0.05 for pixels and 1 for blocks
    #[arg(long)]
    c: Option<f64>,
    #[command(flatten)]
    args: Args,
}

/// How much of what a patch looks at lies in the object that it is of, beside what needs no learning
///
/// An object is all pixels of a class in the mask of a picture. Attention of a patch to itself and to the class token does not count.
/// Beside each block stand what the model looks at from the same place in other pictures, and the same model with random weights; above
/// them attention that is the same everywhere, and such as falls off from the middle of the picture or from the patch, each of the width
/// that does best.
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask probe attention --model runs/pretrain-001 --data scenes
  cargo xtask probe attention --model runs/pretrain-001 --data masks:images,masks,classes.txt --objects car,person")]
pub(crate) struct AttentionArgs {
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    settings: AttentionProbeSettings,
    #[command(flatten)]
    device: DeviceSettings,
    #[command(flatten)]
    output: Output,
}

#[derive(ClapArgs)]
struct Args {
    /// Run, checkpoint folder, file, official name or name on the hub; pixels alone where it is left out
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    #[command(flatten)]
    open: OpenSettings,
    #[command(flatten)]
    settings: ProbeSettings,
    /// Draw accuracy over the blocks, with that of the pixels as a level: an SVG
    #[arg(long, value_name = "FILE.svg", requires = "model")]
    picture: Option<PathBuf>,
    #[command(flatten)]
    overwrite: Overwrite,
    #[command(flatten)]
    device: DeviceSettings,
    #[command(flatten)]
    ranks: RankSettings,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(verb: &Verb) -> anyhow::Result<()> {
    let (judge, args) = match verb {
        Verb::Knn(Knn { k, args }) => (Judge::Knn { k: *k }, args),
        Verb::Linear(Linear { c, args }) => (Judge::Linear { c: *c }, args),
        Verb::Attention(args) => return attention(args),
    };
    judge.check()?;
    let Args { model, open, settings, picture, overwrite, device, ranks, output } = args;
    ranks::run(ranks, *output, |member| {
        if let Some(picture) = picture.as_deref().filter(|_| member.team.leads()) {
            is_svg(picture)?;
            overwrite.check(picture, Contents::Curves)?;
        }
        let device = member.open(device)?;
        let probe = Probe::open_with(model.as_deref(), open, settings, &device, &member.watch)?;
        let probed = probe.judged(&judge, &member.watch)?;
        if let Some(picture) = picture.as_deref().filter(|_| member.team.leads()) {
            probed.draw(picture)?;
            member.watch.note(&format!("accuracy over layers: {}", picture.display()));
        }
        member.answer(*output, &probed, &probed.table())
    })
}

fn attention(args: &AttentionArgs) -> anyhow::Result<()> {
    let AttentionArgs { model, settings, device, output } = args;
    let watch = output.watch();
    let device = device::open(device, &watch)?;
    let probed = AttentionProbed::of(&model.model, &model.open, settings, &device, &watch)?;
    output.answer(&probed, &probed.table())
}

fn is_svg(picture: &Path) -> anyhow::Result<()> {
    if picture.extension().is_none_or(|ending| ending != "svg") {
        usage!("--picture {}: expected a name that ends in .svg", picture.display());
    }
    Ok(())
}
