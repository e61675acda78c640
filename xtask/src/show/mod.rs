//! `show`: pictures of masks, and of what was learnt.

mod attention;
mod codebook;
mod neighbours;
mod pca;

use crate::device;
use crate::model::ModelArgs;
use crate::output::{Output, Overwrite};
use crate::usage::{Given, usage};
use beit::{
    Contents, DataSettings, Device, DeviceSettings, DrawingModel, MaskSettings, MaskedModel, ModelSettings,
    ShownSettings, Tokenizer, Watch, tokenizer_of, write_masks,
};
use clap::{Args as ClapArgs, Subcommand};
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};

/// Pictures: masks on images, what a model makes of masked images, attention, features of patches, visual tokens, images that are alike
#[derive(Subcommand)]
pub(crate) enum Verb {
    Masks(MasksArgs),
    Reconstruction(ReconstructionArgs),
    Attention(attention::Args),
    Pca(pca::Args),
    Codebook(codebook::Args),
    Neighbours(neighbours::Args),
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
    common: Common,
}

/// Where a picture goes, what draws it, and how the verb answers.
#[derive(ClapArgs)]
struct Common {
    #[command(flatten)]
    overwrite: Overwrite,
    #[command(flatten)]
    device: DeviceSettings,
    #[command(flatten)]
    output: Output,
}

impl Common {
    /// Refuses a picture that must not be written, then opens the device.
    fn begin(&self, out: &Path) -> anyhow::Result<(Device, Watch)> {
        self.overwrite.check(out, Contents::Picture)?;
        let watch = self.output.watch();
        Ok((device::open(&self.device, &watch)?, watch))
    }

    /// What the picture shows, as JSON with its name, or in a sentence before its name.
    fn end(&self, out: &Path, shows: &impl Serialize, sentence: &str) -> anyhow::Result<()> {
        let answer = Answer { out, shows };
        self.output.answer(&answer, &format!("{sentence}: {}", out.display()))
    }
}

/// Refuses `--data` beside images that are named, where one of them would be read for nothing.
fn one_of(shown: &ShownSettings, given: &Given) -> anyhow::Result<()> {
    match shown.files.is_empty() {
        true => Ok(()),
        false => given.refuse(&["data"], "a picture of a data set, not of images that are named"),
    }
}

#[derive(Serialize)]
struct Answer<'a, S> {
    out: &'a Path,
    #[serde(flatten)]
    shows: &'a S,
}

pub(crate) fn run(verb: Verb, given: &Given) -> anyhow::Result<()> {
    match verb {
        Verb::Masks(args) => masks(&args),
        Verb::Reconstruction(args) => reconstruction(&args),
        Verb::Attention(args) => attention::run(&args, given),
        Verb::Pca(args) => pca::run(&args, given),
        Verb::Codebook(args) => codebook::run(&args),
        Verb::Neighbours(args) => neighbours::run(&args),
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
    let ReconstructionArgs { model, data, mask, images, seed, out, common, .. } = args;
    let (device, watch) = common.begin(out)?;
    if DrawingModel::is_one(&model.model, &model.open, &watch)? {
        return drawn(args, &device, &watch);
    }
    let masked = MaskedModel::open_with(&model.model, &model.open, &device, &watch)?;
    let name = Path::new(&model.model);
    let Some(tokenizer) = args.tokenizer.clone().or_else(|| tokenizer_of(name)) else {
        usage!("{} has no tokenizer of its own: pass --tokenizer", name.display());
    };
    let tokenizer = Tokenizer::open_with(tokenizer, &device, &watch)?;
    let (source, _) = masked.seen(&model.model, data)?.held_out()?;
    watch.notes_of(source.as_ref());
    masked.write_reconstructions(out, &source, &tokenizer, mask, *images, *seed, &watch)?;
    common.end(out, &json!({}), "reconstruction")
}

/// The same, of a model that draws pixels and has no tokens.
fn drawn(args: &ReconstructionArgs, device: &Device, watch: &Watch) -> anyhow::Result<()> {
    let ReconstructionArgs { model, tokenizer, data, mask, images, seed, out, common } = args;
    if let Some(tokenizer) = tokenizer {
        usage!("--tokenizer {}: {} draws pixels and names no tokens", tokenizer.display(), model.model);
    }
    let drawing = DrawingModel::open_with(&model.model, &model.open, device, watch)?;
    let (source, _) = drawing.seen(&model.model, data)?.held_out()?;
    watch.notes_of(source.as_ref());
    drawing.write_reconstructions(out, &source, mask, *images, *seed, watch)?;
    common.end(out, &json!({}), "reconstruction")
}
