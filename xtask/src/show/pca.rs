//! `show pca`: what patches have in common.

use super::{Common, one_of};
use crate::model::ModelArgs;
use crate::usage::Given;
use beit::ShownSettings;
use beit::show::{PcaSettings, write_pca};
use clap::Args as ClapArgs;
use std::path::PathBuf;

/// Principal components of the patches' features as colours, fitted over all images together
///
/// The first component of all patches parts them at their mean; the foreground is the side of which less lies at the borders of the
/// images. The three first components of the patches of the foreground are red, green and blue, each from its least to its greatest value:
/// patches of one colour have like features, in whichever image they are. Features are the output of a block, before the final norm.
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask show pca --model runs/pretrain-001 --images 8 --out pca.png
  cargo xtask show pca birds --model microsoft/beit-base-patch16-224-pt22k --layer 9")]
pub(crate) struct Args {
    #[command(flatten)]
    shown: ShownSettings,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    settings: PcaSettings,
    /// Where to write the PNG
    #[arg(long, default_value = "pca.png", value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(args: &Args, given: &Given) -> anyhow::Result<()> {
    let Args { shown, model, settings, out, common } = args;
    one_of(shown, given)?;
    let (device, watch) = common.begin(out)?;
    let drawn = write_pca(out, (&model.model, &model.open), settings, shown, &device, &watch)?;
    let shares: Vec<String> = drawn.components.iter().map(|share| format!("{share:.3}")).collect();
    let sentence =
        format!("components with {} of the variance, of {} images", shares.join(", "), drawn.images.len());
    common.end(out, &drawn, &sentence)
}
