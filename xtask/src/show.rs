//! `show`: pictures of masks and of reconstructions.

use crate::data::{DataArgs, decodable};
use crate::device::{Device, DeviceArgs, Work};
use crate::flags::{MaskArgs, ModelArgs};
use crate::model;
use crate::model_source::ModelSource;
use crate::output::answer;
use crate::picture::{greyed, write_grid};
use crate::reconstruction::{self, Request};
use crate::run::Run;
use crate::usage::usage;
use beit_data::{Preprocessing, Purpose, Source, sample_rng};
use beit_ops::Ops;
use clap::{Args as ClapArgs, Subcommand};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    data: DataArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    mask: MaskArgs,
    /// Where to write the PNG
    #[arg(long, default_value = "masks.png", value_name = "FILE")]
    out: PathBuf,
    /// JSON on stdout
    #[arg(long)]
    json: bool,
}

/// Original, masked, reconstruction from true tokens, reconstruction from predicted tokens
#[derive(ClapArgs)]
#[command(after_help = "Example:
  cargo xtask show reconstruction --model runs/pretrain-001 --out reconstruction.png")]
pub(crate) struct ReconstructionArgs {
    #[command(flatten)]
    model: ModelSource,
    /// Tokenizer: folder, encoder's file, official name or name on the hub; the run's own where not given
    #[arg(long, value_name = "MODEL")]
    tokenizer: Option<PathBuf>,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    mask: MaskArgs,
    /// Images
    #[arg(long, default_value_t = 8)]
    images: usize,
    /// Which images and masks
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Where to write the PNG
    #[arg(long, default_value = "reconstruction.png", value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
    /// JSON on stdout
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Masks(args) => {
            let config = args.model.config()?;
            let (source, _) = args.data.held_out()?;
            write_masks(&args.out, &source, &args.model.views(&config), &args.mask, config.grid())?;
            answer(args.json, &json!({ "out": args.out }), &format!("masks: {}", args.out.display()))
        }
        Verb::Reconstruction(args) => {
            args.device.run(&args)?;
            answer(args.json, &json!({ "out": args.out }), &format!("reconstruction: {}", args.out.display()))
        }
    }
}

impl Work for &ReconstructionArgs {
    type Output = ();

    fn run<O: Ops>(self, ops: &O, _: &Device) -> anyhow::Result<()> {
        let mim = self.model.mim(ops)?;
        let name = Path::new(&self.model.model);
        let Some(tokenizer) = self.tokenizer.clone().or_else(|| tokenizer_of(name)) else {
            usage!("{} has no tokenizer of its own: pass --tokenizer", name.display());
        };
        let tokenizer = model::load_tokenizer(ops, &tokenizer)?;
        let (source, _) = self.data.held_out()?;
        let request = Request { source: &source, images: self.images, seed: self.seed, mask: &self.mask };
        reconstruction::write(ops, &mim, &tokenizer, &request, &self.out)
    }
}

/// The tokenizer in the folder of a run, or the one it was given.
fn tokenizer_of(run: &Path) -> Option<PathBuf> {
    let own = run.join("tokenizer");
    if own.exists() { Some(own) } else { Run::given_tokenizer(run) }
}

/// Four rows of eight images under one mask each.
pub(crate) fn write_masks(
    path: &Path,
    source: &Arc<dyn Source>,
    views: &Preprocessing,
    mask: &MaskArgs,
    grid: [usize; 2],
) -> anyhow::Result<()> {
    let masker = mask.masker(grid)?;
    let mut images = Vec::new();
    for (index, image) in decodable(source, 0..source.len()).take(32) {
        let mut mask = vec![false; masker.cells()];
        masker.fill(&mut sample_rng(0, 0, index as u64, Purpose::Sample), &mut mask);
        images.push(greyed(&views.view(&image), &mask, grid));
    }
    write_grid(path, &images.chunks(8).map(<[_]>::to_vec).collect::<Vec<_>>())
}
