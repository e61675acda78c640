//! `show neighbours`: which images a model takes for alike.

use super::Common;
use crate::model::ModelArgs;
use beit::ShownSettings;
use beit::show::{NeighbourSettings, write_neighbours};
use clap::Args as ClapArgs;
use std::path::PathBuf;

/// Images and the training images whose features are nearest to theirs, by the cosine
///
/// A row is an image that was held out, or one that is named, and its neighbours, nearest first, with their classes and the cosines. Features
/// are the output of a block, before the final norm, as `embed` writes them.
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask show neighbours --model runs/pretrain-001 --out neighbours.png
  cargo xtask show neighbours photo.jpg --model microsoft/beit-base-patch16-224-pt22k --data folder:photos --layer 9 --k 5")]
pub(crate) struct Args {
    #[command(flatten)]
    shown: ShownSettings,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    settings: NeighbourSettings,
    /// Where to write the PNG
    #[arg(long, default_value = "neighbours.png", value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Args { shown, model, settings, out, common } = args;
    let (device, watch) = common.begin(out)?;
    let drawn = write_neighbours(out, (&model.model, &model.open), settings, shown, &device, &watch)?;
    let same = drawn.same_class.map_or_else(String::new, |share| format!(", {share:.3} of the same class"));
    let sentence = format!(
        "{} nearest of {} training images for {} images{same}",
        settings.k,
        drawn.gallery,
        drawn.queries.len()
    );
    common.end(out, &drawn, &sentence)
}
