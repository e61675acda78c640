//! `show attention`: what a model looks at.

use super::{Common, one_of};
use crate::model::ModelArgs;
use crate::usage::Given;
use beit::show::AttentionMaps;
use beit::{PointSettings, ShownSettings};
use clap::Args as ClapArgs;
use std::path::PathBuf;

/// What some points of images look at: the attention of a block, head by head
///
/// Each point lies in a patch, which is framed. The maps beside it are the attention probabilities of that patch as a query, the mean over
/// the heads and every head, over the image in grey: from dark violet (0) to yellow (the greatest of the map, which is written under it).
/// What the class token gets is in the answer and not in the maps.
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask show attention --model runs/pretrain-001 --out attention.png
  cargo xtask show attention photo.jpg --model microsoft/beit-base-patch16-224 --points \"0.5,0.5;0.2,0.8\" --block 9")]
pub(crate) struct Args {
    #[command(flatten)]
    shown: ShownSettings,
    #[command(flatten)]
    model: ModelArgs,
    /// Block whose attention is shown, counted from 1; the last if left out
    #[arg(long, value_name = "N")]
    block: Option<usize>,
    #[command(flatten)]
    points: PointSettings,
    /// Where to write the PNG
    #[arg(long, default_value = "attention.png", value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(args: &Args, given: &Given) -> anyhow::Result<()> {
    let Args { shown, model, block, points, out, common } = args;
    one_of(shown, given)?;
    let (device, watch) = common.begin(out)?;
    let maps = AttentionMaps::open_with(&model.model, &model.open, *block, &device, &watch)?;
    let drawn = maps.write(out, shown, points, &watch)?;
    let sentence =
        format!("attention of block {}, {} heads, {} queries", drawn.block, drawn.heads, drawn.queries.len());
    common.end(out, &drawn, &sentence)
}
