//! `tokenizer`: train the discrete VAE, encode, decode, inspect.

mod training;

pub(crate) use training::{Settings, config_for, quality, recipe, sentence, train};

use crate::data::{DataArgs, Loading, decodable};
use crate::device::{Device, DeviceArgs, Work};
use crate::flags::{Sides, seeds, sides};
use crate::model::{self, TokenizerModel};
use crate::output::{Terminal, answer, note};
use crate::picture;
use crate::run::{Existing, Run};
use anyhow::Context;
use beit_data::{Source, Split};
use beit_ops::Ops;
use beit_tokenizer::{Config, Recipe, pixels};
use beit_train::{Metrics, Record, Sink};
use clap::{Args as ClapArgs, Subcommand};
use serde::Serialize;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use training::transform;

/// The discrete VAE: train it, pictures to visual tokens, visual tokens to pictures
#[derive(Subcommand)]
pub(crate) enum Verb {
    Train(TrainArgs),
    Encode(EncodeArgs),
    Decode(DecodeArgs),
    Inspect(InspectArgs),
}

/// Train a tokenizer on images
#[derive(ClapArgs, Clone, Debug, Serialize)]
#[command(after_help = "Example:
  cargo xtask tokenizer train --data folder:photos --image-size 112 --vocab 1024 --steps 20000 --out runs/tokenizer")]
pub(crate) struct TrainArgs {
    #[command(flatten)]
    data: DataArgs,
    /// Image side in pixels, or HEIGHTxWIDTH
    #[arg(long, value_parser = sides, default_value = "28")]
    image_size: Sides,
    /// Visual tokens
    #[arg(long, default_value_t = Config::small().vocab)]
    vocab: usize,
    /// Width at full resolution
    #[arg(long, default_value_t = Config::small().hidden)]
    hidden: usize,
    /// Groups of blocks; the sides are halved between two of them
    #[arg(long, default_value_t = Config::small().groups)]
    groups: usize,
    /// Blocks of a group
    #[arg(long, default_value_t = Config::small().blocks_per_group)]
    blocks_per_group: usize,
    /// DALL-E's architecture and recipe: 8192 tokens of 8x8 pixels, width 256. Not for a CPU
    #[arg(long, conflicts_with_all = ["vocab", "hidden", "groups", "blocks_per_group"])]
    dalle: bool,
    /// Optimiser steps; 0 takes the recipe's
    #[arg(long, default_value_t = 0)]
    steps: u64,
    /// Images of a step; 0 takes the recipe's
    #[arg(long, default_value_t = 0)]
    batch_size: usize,
    /// Peak learning rate; the recipe's where not given
    #[arg(long)]
    lr: Option<f64>,
    /// Weight of the divergence of the mean posterior from uniform; the recipe's where not given
    #[arg(long)]
    usage_weight: Option<f64>,
    /// Seed of everything random
    #[arg(long, default_value_t = 0, value_parser = seeds())]
    seed: u64,
    /// Folder of the run; runs/tokenizer-N where not given
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Replace what an earlier run wrote to --out
    #[arg(long)]
    overwrite: bool,
    /// Steps between two reports
    #[arg(long, default_value_t = 50)]
    report_every: u64,
    #[command(flatten)]
    device: DeviceArgs,
    /// JSON lines on stdout
    #[arg(long)]
    json: bool,
}

/// Pictures to visual tokens
#[derive(ClapArgs)]
#[command(after_help = "Example:
  cargo xtask tokenizer encode --tokenizer runs/tokenizer-001 --data folder:photos --image-size 112 --out codes.safetensors")]
pub(crate) struct EncodeArgs {
    /// Folder of the tokenizer, or of a run that has one
    #[arg(long, value_name = "DIR")]
    tokenizer: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Image side in pixels, or HEIGHTxWIDTH
    #[arg(long, value_parser = sides, default_value = "28")]
    image_size: Sides,
    /// At most this many images
    #[arg(long, default_value_t = 64)]
    images: usize,
    /// Where to write `codes [B, h, w]` (int64)
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
    /// JSON on stdout
    #[arg(long)]
    json: bool,
}

/// Visual tokens to pictures
#[derive(ClapArgs)]
#[command(after_help = "Example:
  cargo xtask tokenizer decode --tokenizer runs/tokenizer-001 --codes codes.safetensors --out pictures.png")]
pub(crate) struct DecodeArgs {
    /// Folder of the tokenizer, or of a run that has one
    #[arg(long, value_name = "DIR")]
    tokenizer: PathBuf,
    /// File with `codes [B, h, w]`
    #[arg(long, value_name = "FILE")]
    codes: PathBuf,
    /// Where to write the pictures, one PNG
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
    /// JSON on stdout
    #[arg(long)]
    json: bool,
}

/// Codebook usage and reconstruction error on images
#[derive(ClapArgs)]
#[command(after_help = "Example:
  cargo xtask tokenizer inspect --tokenizer runs/tokenizer-001")]
pub(crate) struct InspectArgs {
    /// Folder of the tokenizer, or of a run that has one
    #[arg(long, value_name = "DIR")]
    tokenizer: PathBuf,
    #[command(flatten)]
    data: DataArgs,
    /// Image side in pixels, or HEIGHTxWIDTH
    #[arg(long, value_parser = sides, default_value = "28")]
    image_size: Sides,
    /// Also write originals over reconstructions to this PNG
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
    /// JSON on stdout
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::Train(args) => train_verb(&args),
        Verb::Encode(args) => args.device.run(&args),
        Verb::Decode(args) => args.device.run(&args),
        Verb::Inspect(args) => args.device.run(&args),
    }
}

fn loading(data: &DataArgs, device: &DeviceArgs, seed: u64) -> Loading {
    Loading { batch_size: 64, seed, workers: device.workers(), max_bad_share: data.max_bad_share }
}

fn train_verb(args: &TrainArgs) -> anyhow::Result<()> {
    let config = if args.dalle {
        Config::dalle()
    } else {
        let TrainArgs { vocab, hidden, groups, blocks_per_group, .. } = *args;
        Config { vocab, hidden, groups, blocks_per_group, ..Config::small() }
    };
    config.validate()?;
    let Sides(image) = args.image_size;
    config.grid(image)?;
    let mut recipe = recipe(&config, args.steps, args.lr, args.usage_weight);
    if args.batch_size > 0 {
        recipe.batch = args.batch_size;
    }
    args.device.run(Train { args, config, recipe })
}

/// A run whose settings are checked.
struct Train<'a> {
    args: &'a TrainArgs,
    config: Config,
    recipe: Recipe,
}

impl Work for Train<'_> {
    type Output = ();

    fn run<O: Ops>(self, ops: &O, device: &Device) -> anyhow::Result<()> {
        let Self { args, config, recipe } = self;
        let Sides(image) = args.image_size;
        let source = args.data.open(Split::Train)?;
        let existing = if args.overwrite { Existing::Overwrite } else { Existing::Refuse };
        let run = Run::open(args.out.as_deref(), "tokenizer", existing)?;
        run.write_config(args)?;
        note(&format!("{} images from {}; run folder: {}", source.len(), args.data.data, run.dir.display()));

        let mut metrics = Metrics::append(&run.path("metrics.jsonl"))?;
        let settings = Settings {
            config,
            recipe,
            image,
            seed: args.seed,
            report_every: args.report_every,
            read_every: device.read_every(args.report_every),
        };
        let loading = loading(&args.data, &args.device, args.seed);
        let out = run.path("tokenizer");
        let mut terminal = Terminal::new(args.json);
        train(ops, &settings, &source, &loading, (&mut terminal, &mut metrics), &out)?;

        let (held_out, split) = args.data.held_out()?;
        let tokenizer = model::load_tokenizer(ops, &out)?;
        let quality = quality(ops, &tokenizer, image, &held_out, &loading)?;
        write_reconstructions(ops, &tokenizer, image, &held_out, &run.pictures()?.join("tokenizer.png"))?;
        metrics.record(&Record::Tokenizer { split: &split.to_string(), quality: &quality })?;
        let text = format!(
            "on {} {split} images: {}\ntokenizer: {}",
            quality.images,
            sentence(&quality),
            out.display()
        );
        answer(args.json, &json!({ "tokenizer": out, "quality": quality }), &text)
    }
}

/// The first `images` images of a source, mapped, `[B, 3, h, w]`.
fn first_images(source: &Arc<dyn Source>, image: [usize; 2], images: usize) -> anyhow::Result<Vec<f32>> {
    let views = transform(image);
    let mut all = Vec::new();
    for index in 0..images.min(source.len()) {
        all.extend(views.whole(&source.image(index)?));
    }
    Ok(all)
}

impl Work for &EncodeArgs {
    type Output = ();

    fn run<O: Ops>(self, ops: &O, _: &Device) -> anyhow::Result<()> {
        let tokenizer = model::load_tokenizer(ops, &self.tokenizer)?;
        let Sides(image) = self.image_size;
        let [h, w] = tokenizer.params.config().grid(image)?;
        let (source, _) = self.data.held_out()?;
        let all = first_images(&source, image, self.images)?;
        let batch = all.len() / (3 * image[0] * image[1]);
        let mut codes = Vec::new();
        for part in all.chunks(64 * 3 * image[0] * image[1]) {
            let b = part.len() / (3 * image[0] * image[1]);
            let pixels = ops.upload([b, 3, image[0], image[1]], part);
            codes.extend(ops.read_ids(&tokenizer.params.encoder.encode(ops, &pixels))?);
        }
        model::write_codes(&self.out, &codes, [batch, h, w])?;
        let sentence = format!("{batch} images as {h}x{w} visual tokens: {}", self.out.display());
        answer(self.json, &json!({ "out": self.out, "codes": [batch, h, w] }), &sentence)
    }
}

impl Work for &DecodeArgs {
    type Output = ();

    fn run<O: Ops>(self, ops: &O, _: &Device) -> anyhow::Result<()> {
        let tokenizer = model::load_tokenizer(ops, &self.tokenizer)?;
        let (codes, [batch, h, w]) = model::read_codes(&self.codes)?;
        if codes.is_empty() {
            anyhow::bail!("{}: codes [{batch}, {h}, {w}] has no visual tokens", self.codes.display());
        }
        if let Some(code) = codes.iter().find(|&&code| code as usize >= tokenizer.params.config().vocab) {
            anyhow::bail!(
                "{}: visual token {code}, expected less than {}: these codes are of another tokenizer",
                self.codes.display(),
                tokenizer.params.config().vocab
            );
        }
        let size = [h, w].map(|side| side * tokenizer.params.config().downsampling());
        let mut pictures = Vec::new();
        for codes in codes.chunks((32 * h * w).max(1)) {
            let decoded = tokenizer.params.decoder.decode(ops, codes, [h, w])?;
            let images = decoded.chunks_exact(3 * size[0] * size[1]);
            pictures.extend(images.map(|planes| picture::from_planes(planes, size, |_, v| 255.0 * v)));
        }
        let rows: Vec<_> = pictures.chunks(8).map(<[_]>::to_vec).collect();
        picture::write_grid(&self.out, &rows)?;
        answer(
            self.json,
            &json!({ "out": self.out, "images": batch }),
            &format!("{batch} pictures: {}", self.out.display()),
        )
    }
}

impl Work for &InspectArgs {
    type Output = ();

    fn run<O: Ops>(self, ops: &O, _: &Device) -> anyhow::Result<()> {
        let tokenizer = model::load_tokenizer(ops, &self.tokenizer)?;
        let Sides(image) = self.image_size;
        tokenizer.params.config().grid(image)?;
        let (source, split) = self.data.held_out()?;
        let quality = quality(ops, &tokenizer, image, &source, &loading(&self.data, &self.device, 0))?;
        if let Some(path) = &self.picture {
            write_reconstructions(ops, &tokenizer, image, &source, path)?;
        }
        let Config { groups, blocks_per_group, hidden, vocab, .. } = *tokenizer.params.config();
        let text = format!(
            "{groups} groups of {blocks_per_group} blocks, width {hidden}, {vocab} visual tokens of {0}x{0} pixels\n\
             on {1} {split} images: {2}",
            tokenizer.params.config().downsampling(),
            quality.images,
            sentence(&quality),
        );
        answer(self.json, &quality, &text)
    }
}

/// Eight images over their reconstructions from hard tokens.
fn write_reconstructions<O: Ops>(
    ops: &O,
    tokenizer: &TokenizerModel<O::Tensor>,
    image: [usize; 2],
    source: &Arc<dyn Source>,
    path: &Path,
) -> anyhow::Result<()> {
    let views = transform(image);
    let found = decodable(source, 0..source.len()).take(8);
    let all: Vec<f32> = found.flat_map(|(_, image)| views.whole(&image)).collect();
    let grid = tokenizer.params.config().grid(image)?;
    let pixels = ops.upload([all.len() / (3 * image[0] * image[1]), 3, image[0], image[1]], &all);
    let codes = ops.read_ids(&tokenizer.params.encoder.encode(ops, &pixels))?;
    let decoded = tokenizer.params.decoder.decode(ops, &codes, grid)?;
    let row = |planes: &[f32], byte: &dyn Fn(f32) -> f32| -> Vec<_> {
        let images = planes.chunks_exact(3 * image[0] * image[1]);
        images.map(|planes| picture::from_planes(planes, image, |_, v| byte(v))).collect()
    };
    let rows = [row(&all, &|v| 255.0 * pixels::unmap(v)), row(&decoded, &|v| 255.0 * v)];
    picture::write_grid(path, &rows).context("drawing reconstructions")
}
