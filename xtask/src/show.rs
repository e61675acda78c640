//! `show`: pictures of masks and of reconstructions.

use crate::device;
use crate::model::ModelArgs;
use crate::output::{Output, Overwrite};
use crate::usage::usage;
use beit::{
    Contents, DataSettings, DeviceSettings, MaskSettings, MaskedModel, ModelSettings, Tokenizer,
    tokenizer_of, write_masks,
};
use clap::{Args as ClapArgs, Subcommand};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Pictures: masks on images, and what a model makes of masked images
#[derive(Subcommand)]
pub(crate) enum Verb {
    Masks(MasksArgs),
    Reconstruction(ReconstructionArgs),
}

/// Masks over images
#[derive(ClapArgs)]
#[command(after_help = "Example:
  cargo xtask show masks --mask random --out masks.png")]
pub(crate) struct MasksArgs {
    #[command(flatten)]
    data: DataSettings,
    #[command(flatten)]
    model: ModelSettings,
    #[command(flatten)]
    mask: MaskSettings,
    /// Where to write the PNG
    #[arg(long, default_value = "masks.png", value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    overwrite: Overwrite,
    #[command(flatten)]
    output: Output,
}

/// Original, masked, reconstruction from true tokens, from those of the nearest visible patches, from predicted tokens
#[derive(ClapArgs)]
#[command(after_help = "Example:
  cargo xtask show reconstruction --model runs/pretrain-001 --out reconstruction.png")]
pub(crate) struct ReconstructionArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Tokenizer: folder, encoder's file, official name or name on the hub; the run's own where not given
    #[arg(long, value_name = "MODEL")]
    tokenizer: Option<PathBuf>,
    #[command(flatten)]
    data: DataSettings,
    #[command(flatten)]
    mask: MaskSettings,
    /// Images
    #[arg(long, default_value_t = 8)]
    images: usize,
    /// Seed of the choice of images and masks
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to write the PNG
    #[arg(long, default_value = "reconstruction.png", value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    overwrite: Overwrite,
    #[command(flatten)]
    device: DeviceSettings,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Masks(args) => masks(&args),
        Verb::Reconstruction(args) => reconstruction(&args),
    }
}

fn masks(args: &MasksArgs) -> anyhow::Result<()> {
    args.overwrite.check(&args.out, Contents::Picture)?;
    let (config, watch) = (args.model.config()?, args.output.watch());
    let (source, _) = args.data.held_out()?;
    watch.notes_of(source.as_ref());
    let preprocessing = args.model.preprocessing(&config, args.data.bands());
    write_masks(&args.out, &source, &preprocessing, &args.mask, config.grid(), &watch)?;
    args.output.answer(&json!({ "out": args.out }), &format!("masks: {}", args.out.display()))
}

fn reconstruction(args: &ReconstructionArgs) -> anyhow::Result<()> {
    let ReconstructionArgs { model, data, mask, images, seed, out, output, .. } = args;
    args.overwrite.check(out, Contents::Picture)?;
    let watch = output.watch();
    let device = device::open(&args.device, &watch)?;
    let masked = MaskedModel::open_with(&model.model, &model.open, &device, &watch)?;
    let name = Path::new(&model.model);
    let Some(tokenizer) = args.tokenizer.clone().or_else(|| tokenizer_of(name)) else {
        usage!("{} has no tokenizer of its own: pass --tokenizer", name.display());
    };
    let tokenizer = Tokenizer::open_with(tokenizer, &device, &watch)?;
    let (source, _) = masked.seen(&model.model, data)?.held_out()?;
    watch.notes_of(source.as_ref());
    masked.write_reconstructions(out, &source, &tokenizer, mask, *images, *seed, &watch)?;
    output.answer(&json!({ "out": out }), &format!("reconstruction: {}", out.display()))
}
