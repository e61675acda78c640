//! `show codebook`: which visual tokens are used, and what they look like.

use super::Common;
use beit::show::CodebookSettings;
use beit::{DataSettings, MeasureSettings, Sides, Tokenizer};
use clap::Args as ClapArgs;
use std::path::PathBuf;

/// The most used visual tokens: what each looks like, its number, and its share of the tokens of images that were held out
///
/// A token is what the tokenizer draws for it among copies of itself: of k-means the mean patch, of a discrete VAE what its decoder makes.
/// The most used comes first; tokens that do not occur are left out.
#[derive(ClapArgs)]
#[command(after_help = "Examples:
  cargo xtask show codebook --tokenizer runs/pretrain-001 --out codebook.png
  cargo xtask show codebook --tokenizer runs/tokenizer-001 --data folder:photos --image-size 112 --means")]
pub(crate) struct Args {
    /// Tokenizer: folder, run, encoder's file, official name or name on the hub
    #[arg(long, value_name = "MODEL")]
    tokenizer: PathBuf,
    #[command(flatten)]
    data: DataSettings,
    #[command(flatten)]
    measure: MeasureSettings,
    /// Image side in pixels, or HEIGHTxWIDTH
    #[arg(long, default_value = "28")]
    image_size: Sides,
    #[command(flatten)]
    settings: CodebookSettings,
    /// Where to write the PNG
    #[arg(long, default_value = "codebook.png", value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    common: Common,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Args { tokenizer, data, measure, image_size: Sides(size), settings, out, common } = args;
    let (device, watch) = common.begin(out)?;
    let tokenizer = Tokenizer::open_with(tokenizer, &device, &watch)?;
    let drawn = tokenizer.write_codebook(out, (data, *measure, *size), settings, &device, &watch)?;
    let sentence = format!(
        "on {} {} images {} of {} tokens used, perplexity {:.1}; the {} most used",
        drawn.images,
        drawn.split,
        drawn.used,
        drawn.vocab,
        drawn.perplexity,
        drawn.tokens.len()
    );
    common.end(out, &drawn, &sentence)
}
