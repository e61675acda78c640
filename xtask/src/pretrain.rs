//! `pretrain`: masked image modelling.

use crate::data::{DataArgs, Loading, Views, pretrain_loader};
use crate::device::{Cpu, DeviceArgs};
use crate::model::{self, TokenizerModel};
use crate::output::{Terminal, answer, note};
use crate::run::{Existing, Run};
use crate::usage::usage;
use crate::{reconstruction, tokenizer};
use beit_data::Split;
use beit_heads::MimConfig;
use beit_mask::{BlockShape, Grid, Masker, Strategy};
use beit_ops::{Ops, Plan, Tree};
use beit_train::{
    Hyper, Listeners, Metrics, PretrainRecipe, Pretraining, Schedule, TokenAccuracy, evaluate_tokens,
};
use beit_vit::{Config, Preset, RelativePositions};
use clap::{Args as ClapArgs, ValueEnum};
use serde::Serialize;
use std::path::PathBuf;

/// Pre-train by masked image modelling, without labels. With no flags: embedded images, a tiny model, a few minutes
#[derive(ClapArgs, Clone, Debug, Serialize)]
#[command(after_help = "Examples:
  cargo xtask pretrain
  cargo xtask pretrain --data folder:photos --preset small --epochs 300 --out runs/photos
  cargo xtask pretrain --resume --out runs/photos")]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) data: DataArgs,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) mask: MaskArgs,
    #[command(flatten)]
    pub(crate) training: TrainingArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// Tokenizer: a folder with config.json and model.safetensors. Without it, one is trained on the same images first
    #[arg(long, alias = "discrete-vae-weight-path", value_name = "DIR")]
    pub(crate) tokenizer: Option<PathBuf>,
    /// Steps of training the tokenizer where none is given; 0 takes the recipe's
    #[arg(long, default_value_t = 0)]
    pub(crate) tokenizer_steps: u64,
    /// Colour jitter of the pre-training views
    #[arg(long, alias = "color-jitter", default_value_t = 0.4)]
    pub(crate) colour_jitter: f64,
}

/// Flags about the model.
#[derive(ClapArgs, Clone, Debug, Serialize)]
pub(crate) struct ModelArgs {
    /// Size of the model
    #[arg(long, alias = "model", value_enum, default_value_t = PresetArg::Tiny)]
    pub(crate) preset: PresetArg,
    /// Image side in pixels, or HEIGHTxWIDTH; the preset's where not given
    #[arg(long, alias = "input-size", value_parser = sides)]
    pub(crate) image_size: Option<Sides>,
    /// Patch side in pixels, or HEIGHTxWIDTH; the preset's where not given
    #[arg(long, value_parser = sides)]
    pub(crate) patch_size: Option<Sides>,
    /// The paper's model: absolute positions, no relative bias, no LayerScale
    #[arg(long, conflicts_with_all = ["layer_scale_init_value", "abs_pos_emb", "no_rel_pos_bias"])]
    pub(crate) paper: bool,
    /// Learned absolute positions
    #[arg(long)]
    pub(crate) abs_pos_emb: bool,
    /// No shared relative position bias
    #[arg(long, alias = "disable-rel-pos-bias")]
    pub(crate) no_rel_pos_bias: bool,
    /// Initial value of LayerScale; 0 for none. The preset's where not given
    #[arg(long)]
    pub(crate) layer_scale_init_value: Option<f32>,
    /// Stochastic depth rate of the last block
    #[arg(long, default_value_t = 0.1)]
    pub(crate) drop_path: f32,
    /// Normalise with the statistics of ImageNet instead of mean and deviation 0.5
    #[arg(long)]
    pub(crate) imagenet_default_mean_and_std: bool,
}

/// Height and width.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Sides(pub(crate) [usize; 2]);

pub(crate) fn sides(text: &str) -> Result<Sides, String> {
    let side = |text: &str| {
        text.parse::<usize>().map_err(|_| format!("expected pixels or HEIGHTxWIDTH, found {text}"))
    };
    match text.split_once('x') {
        Some((height, width)) => Ok(Sides([side(height)?, side(width)?])),
        None => side(text).map(|side| Sides([side; 2])),
    }
}

/// `--preset`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PresetArg {
    /// 28x28 images in patches of 4x4, width 96, 4 blocks
    Tiny,
    /// ViT-S: 224x224 in patches of 16x16, width 384, 12 blocks
    Small,
    /// BEiT-B: width 768, 12 blocks
    Base,
    /// BEiT-L: width 1024, 24 blocks
    Large,
}

impl ModelArgs {
    pub(crate) fn config(&self) -> anyhow::Result<Config> {
        let preset = match self.preset {
            PresetArg::Tiny => Preset::Tiny,
            PresetArg::Small => Preset::Small,
            PresetArg::Base => Preset::Base,
            PresetArg::Large => Preset::Large,
        };
        let mut config = if self.paper { Config::paper(preset) } else { Config::new(preset) };
        if let Some(Sides(image)) = self.image_size {
            config.image = image;
        }
        if let Some(Sides(patch)) = self.patch_size {
            config.patch = patch;
        }
        if !self.paper {
            config.absolute_positions = self.abs_pos_emb;
            if self.no_rel_pos_bias {
                config.relative_positions = RelativePositions::None;
            }
            if let Some(value) = self.layer_scale_init_value {
                config.layer_scale = (value != 0.0).then_some(value);
            }
        }
        config.drop_path = self.drop_path;
        config.validate()?;
        Ok(config)
    }

    pub(crate) fn views(&self, config: &Config) -> Views {
        Views::new(config.image, self.imagenet_default_mean_and_std)
    }
}

/// Flags about the masks.
#[derive(ClapArgs, Clone, Debug, Serialize)]
pub(crate) struct MaskArgs {
    /// How patches are chosen
    #[arg(long, value_enum, default_value_t = MaskArg::Block)]
    pub(crate) mask: MaskArg,
    /// Share of the patches to mask; the paper's 0.4 is 75 of 196
    #[arg(long, default_value_t = beit_mask::OFFICIAL_RATIO)]
    pub(crate) mask_ratio: f64,
    /// Number of patches to mask, instead of a share
    #[arg(long)]
    pub(crate) num_mask_patches: Option<usize>,
    /// Fewest patches of a block; scaled to the grid where not given (16 of 196)
    #[arg(long)]
    pub(crate) min_mask_patches_per_block: Option<usize>,
    /// Most patches of a block
    #[arg(long)]
    pub(crate) max_mask_patches_per_block: Option<usize>,
}

/// `--mask`
#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MaskArg {
    /// The released generator: blocks, at most the number asked for
    Block,
    /// BEiT v2: blocks, exactly the number asked for
    Exact,
    /// Algorithm 1 as printed in the paper: blocks, more than the number asked for
    Paper,
    /// Single patches, exactly the number asked for
    Random,
}

impl MaskArgs {
    pub(crate) fn masker(&self, [rows, cols]: [usize; 2]) -> anyhow::Result<Masker> {
        if !(self.mask_ratio > 0.0 && self.mask_ratio < 1.0) {
            usage!("--mask-ratio {}: expected a share between 0 and 1", self.mask_ratio);
        }
        let scaled = beit_mask::Config::scaled(Grid { rows, cols }, self.mask_ratio);
        let target = self.num_mask_patches.unwrap_or(scaled.target);
        let strategy = match self.mask {
            MaskArg::Block => Strategy::BlockWise,
            MaskArg::Exact => Strategy::BlockWiseExact,
            MaskArg::Paper => Strategy::PaperBlockWise,
            MaskArg::Random => Strategy::Random,
        };
        let min_cells = self.min_mask_patches_per_block.unwrap_or(scaled.block.min_cells.min(target.max(1)));
        let block = BlockShape { min_cells, max_cells: self.max_mask_patches_per_block, ..scaled.block };
        Ok(Masker::new(beit_mask::Config { target, strategy, block, ..scaled })?)
    }
}

/// Flags about the optimiser.
#[derive(ClapArgs, Clone, Debug, Serialize)]
pub(crate) struct TrainingArgs {
    /// Passes over the images
    #[arg(long, default_value_t = 4)]
    pub(crate) epochs: u64,
    /// Optimiser steps, instead of epochs
    #[arg(long)]
    pub(crate) steps: Option<u64>,
    /// Images of a micro-batch
    #[arg(long, default_value_t = 64)]
    pub(crate) batch_size: usize,
    /// Micro-batches of a step
    #[arg(long, default_value_t = 1)]
    pub(crate) update_freq: u64,
    /// Peak learning rate
    #[arg(long, default_value_t = 1.5e-3)]
    pub(crate) lr: f64,
    /// Learning rate at the end
    #[arg(long, default_value_t = 1e-5)]
    pub(crate) min_lr: f64,
    /// Epochs of warm-up; 5 % of the run where not given
    #[arg(long)]
    pub(crate) warmup_epochs: Option<f64>,
    /// Steps of warm-up, instead of epochs
    #[arg(long)]
    pub(crate) warmup_steps: Option<u64>,
    /// Limit of the global norm of the gradients; 0 for none
    #[arg(long, default_value_t = 3.0)]
    pub(crate) clip_grad: f32,
    /// Weight decay
    #[arg(long, default_value_t = 0.05)]
    pub(crate) weight_decay: f64,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

impl TrainingArgs {
    /// The optimiser for epochs of this many steps.
    pub(crate) fn hyper(&self, steps_per_epoch: u64) -> anyhow::Result<Hyper> {
        let total = self.steps.unwrap_or(self.epochs * steps_per_epoch);
        if total == 0 || self.update_freq == 0 || self.batch_size == 0 {
            usage!(
                "nothing to train: {total} steps of {} micro-batches of {} images; all must be at least 1",
                self.update_freq,
                self.batch_size
            );
        }
        let warmup = match (self.warmup_steps, self.warmup_epochs) {
            (Some(steps), _) => steps,
            (None, Some(epochs)) => (epochs * steps_per_epoch as f64).round() as u64,
            (None, None) => total / 20,
        };
        if warmup >= total {
            usage!("a warm-up of {warmup} steps in a run of {total}: expected fewer");
        }
        let schedule = Schedule { peak: self.lr, min: self.min_lr, warmup, total };
        let clip_grad = (self.clip_grad > 0.0).then_some(self.clip_grad);
        Ok(Hyper { weight_decay: self.weight_decay, clip_grad, ..Hyper::new(schedule) })
    }

    pub(crate) fn loading(&self, data: &DataArgs, device: &DeviceArgs) -> Loading {
        Loading {
            batch_size: self.batch_size,
            seed: self.seed,
            workers: device.workers(),
            max_bad_share: data.max_bad_share,
        }
    }
}

/// Flags about the folder of the run and what is printed.
#[derive(ClapArgs, Clone, Debug, Serialize)]
pub(crate) struct RunArgs {
    /// Folder of the run; runs/VERB-N where not given
    #[arg(long, alias = "output-dir", value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Continue the run in --out from its last checkpoint, to the same result as if it had not stopped
    #[arg(long, alias = "auto-resume", requires = "out")]
    pub(crate) resume: bool,
    /// Replace what an earlier run wrote to --out
    #[arg(long, conflicts_with = "resume")]
    pub(crate) overwrite: bool,
    /// Check everything, say how much work and memory the run takes, and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Steps between two reports
    #[arg(long, default_value_t = 50)]
    pub(crate) report_every: u64,
    /// Steps between two checkpoints; 0 for one at the end
    #[arg(long, default_value_t = 0)]
    pub(crate) save_every: u64,
    /// Checkpoints to keep
    #[arg(long, default_value_t = 2)]
    pub(crate) keep: usize,
    /// JSON lines on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

impl RunArgs {
    pub(crate) fn existing(&self) -> Existing {
        match (self.resume, self.overwrite) {
            (true, _) => Existing::Resume,
            (_, true) => Existing::Overwrite,
            _ => Existing::Refuse,
        }
    }

    /// Where to stop next, after `step` of `total` steps.
    pub(crate) fn next_stop(&self, step: u64, total: u64) -> u64 {
        if self.save_every == 0 { total } else { total.min((step / self.save_every + 1) * self.save_every) }
    }
}

/// What the verb answers.
#[derive(Serialize)]
struct Answer {
    run: PathBuf,
    checkpoint: PathBuf,
    #[serde(flatten)]
    tokens: TokenAccuracy,
}

pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let vit = args.model.config()?;
    let masker = args.mask.masker(vit.grid())?;
    let ops = args.device.open()?;
    let source = args.data.open(Split::Train)?;
    let loading = args.training.loading(&args.data, &args.device);
    let tokenizer_config = match &args.tokenizer {
        Some(dir) => model::load_tokenizer(&ops, dir)?.config,
        None => tokenizer::config_for(&vit)?,
    };
    let token_size = vit.grid().map(|side| side * tokenizer_config.downsampling());
    let config = MimConfig { vit: vit.clone(), vocab: tokenizer_config.vocab };
    let views = args.model.views(&vit);
    let transform = views.pretrain(token_size, args.colour_jitter);
    let loader = pretrain_loader(&source, loading.training(source.len()), transform, masker)?;
    let steps_per_epoch = (loader.batches_per_epoch() / args.training.update_freq.max(1)).max(1);
    let hyper = args.training.hyper(steps_per_epoch)?;
    describe(&args, &config, source.len(), hyper.schedule.total);
    if args.run.dry_run {
        return dry_run(&args, &config, hyper.schedule.total);
    }

    let run = Run::open(args.run.out.as_deref(), "pretrain", args.run.existing())?;
    note(&format!("run folder: {}", run.dir.display()));
    if !args.run.resume {
        run.write_config(&args)?;
    }
    let mut metrics = Metrics::append(&run.path("metrics.jsonl"))?;
    let mut terminal = Terminal::new(args.run.json);
    let tokenizer = tokenizer(&ops, &args, &run, &tokenizer_config, token_size, &mut terminal, &mut metrics)?;

    let recipe = PretrainRecipe {
        accumulate: args.training.update_freq,
        hyper,
        report_every: args.run.report_every,
        seed: args.training.seed,
    };
    let mut training = Pretraining::new(&ops, config, recipe, &tokenizer.params.encoder)?;
    if args.run.resume {
        model::resume_pretraining(&ops, &run.path("last"), &mut training)?;
    }
    let checkpoint = train(&args, &run, &views, &loader, &mut training, &mut terminal, &mut metrics)?;
    finish(&args, &run, &training, &tokenizer, &views, token_size, checkpoint, &mut metrics)
}

/// The tokenizer that was given, or the one in the run folder, or a new one.
fn tokenizer(
    ops: &Cpu,
    args: &Args,
    run: &Run,
    config: &beit_tokenizer::Config,
    token_size: [usize; 2],
    terminal: &mut Terminal,
    metrics: &mut Metrics,
) -> anyhow::Result<TokenizerModel> {
    let own = run.path("tokenizer");
    let dir = args.tokenizer.clone().unwrap_or_else(|| own.clone());
    if args.tokenizer.is_none() && !own.join("config.json").is_file() {
        note("no --tokenizer: training one on these images first");
        let source = args.data.open(Split::Train)?;
        let settings = tokenizer::Settings {
            config: *config,
            recipe: tokenizer::recipe(config, args.tokenizer_steps, None, None),
            image: token_size,
            seed: args.training.seed,
            report_every: args.run.report_every,
        };
        let loading = args.training.loading(&args.data, &args.device);
        let views = args.model.views(&args.model.config()?);
        tokenizer::train(ops, &settings, &source, &loading, &views, terminal, metrics, &own)?;
    }
    let tokenizer = model::load_tokenizer(ops, &dir)?;
    let (held_out, split) = args.data.held_out()?;
    let loading = args.training.loading(&args.data, &args.device);
    let quality = tokenizer::quality(ops, &tokenizer, token_size, &held_out, &loading)?;
    note(&format!("tokenizer on {} {split} images: {}", quality.images, tokenizer::sentence(&quality)));
    Ok(tokenizer)
}

/// Trains to the end, saving on the way; returns the last checkpoint.
fn train(
    args: &Args,
    run: &Run,
    views: &Views,
    loader: &beit_data::Loader<beit_data::PretrainSample>,
    training: &mut Pretraining<'_, Cpu>,
    terminal: &mut Terminal,
    metrics: &mut Metrics,
) -> anyhow::Result<PathBuf> {
    let total = training.recipe.hyper.schedule.total;
    loop {
        let step = training.optimiser.steps();
        let until = args.run.next_stop(step, total);
        let mut on_report = |report: &beit_train::StepReport| metrics.line(report);
        training.run(loader, until, &mut Listeners { progress: terminal, on_report: &mut on_report })?;
        let checkpoint = run.checkpoint(training.optimiser.steps())?;
        model::save_pretraining(training, views, &checkpoint)?;
        run.set_last(&checkpoint, args.run.keep)?;
        if until >= total {
            return Ok(checkpoint);
        }
    }
}

/// Measures on images that were held out, draws pictures, and answers.
#[allow(clippy::too_many_arguments)]
fn finish(
    args: &Args,
    run: &Run,
    training: &Pretraining<'_, Cpu>,
    tokenizer: &TokenizerModel,
    views: &Views,
    token_size: [usize; 2],
    checkpoint: PathBuf,
    metrics: &mut Metrics,
) -> anyhow::Result<()> {
    let (held_out, split) = args.data.held_out()?;
    let masker = args.mask.masker(training.config.vit.grid())?;
    let loading = args.training.loading(&args.data, &args.device);
    // Held-out images are seen as they are, but for a crop that is the same in every evaluation.
    let mut transform = views.pretrain(token_size, 0.0);
    transform.flip = 0.0;
    let loader = pretrain_loader(&held_out, loading.evaluation(), transform, masker)?;
    let tokens = evaluate_tokens(
        training.ops,
        &training.config,
        &training.params,
        &tokenizer.params.encoder,
        &loader,
    )?;
    metrics.line(
        &serde_json::json!({ "phase": "evaluate_tokens", "split": split.to_string(), "tokens": tokens }),
    )?;

    let pictures = run.pictures()?;
    crate::show::write_masks(
        &pictures.join("masks.png"),
        &held_out,
        views,
        &args.mask,
        training.config.vit.grid(),
    )?;
    let mim =
        model::MimModel { config: training.config.clone(), params: training.params.clone(), views: *views };
    let request =
        reconstruction::Request { source: &held_out, images: 8, seed: args.training.seed, mask: &args.mask };
    reconstruction::write(training.ops, &mim, tokenizer, &request, &pictures.join("reconstruction.png"))?;

    let sentence = format!(
        "masked-token accuracy on {} patches of {split} images: {:.3}, always naming the commonest token: {:.3}\n\
         on the {} that are not background: {:.3}, commonest token: {:.3}\n\
         checkpoint: {}\npictures: {}\nnext: cargo xtask finetune --init {}",
        tokens.patches,
        tokens.accuracy,
        tokens.majority,
        tokens.content_patches,
        tokens.content_accuracy,
        tokens.content_majority,
        checkpoint.display(),
        pictures.display(),
        run.dir.display(),
    );
    answer(args.run.json, &Answer { run: run.dir.clone(), checkpoint, tokens }, &sentence)
}

fn describe(args: &Args, config: &MimConfig, images: usize, steps: u64) {
    let vit = &config.vit;
    let parameters: usize = beit_heads::Mim::of(config).leaves().iter().map(|shape| shape.elements()).sum();
    let [rows, cols] = vit.grid();
    note(&format!(
        "{images} images from {}; {:?}: {:.2} M parameters, {}x{} px in {rows}x{cols} patches; {steps} steps of {} images",
        args.data.data,
        args.model.preset,
        parameters as f64 / 1e6,
        vit.image[0],
        vit.image[1],
        args.training.batch_size as u64 * args.training.update_freq,
    ));
}

/// One step on the device without numbers.
fn dry_run(args: &Args, config: &MimConfig, steps: u64) -> anyhow::Result<()> {
    let ops = Plan::default();
    let vit = &config.vit;
    let batch = args.training.batch_size;
    let params = beit_heads::Mim::of(config).map(&mut |shape| ops.zeros(*shape));
    // Gradients and two moments.
    let mut kept: Vec<_> = (0..3).map(|_| params.clone()).collect();
    let masked = args.mask.masker(vit.grid())?.config().target * batch;
    let images = ops.zeros([batch, 3, vit.image[0], vit.image[1]]);
    let mask = ops.zeros([batch, vit.patches()]);
    let rows = ops.upload_ids(&vec![1; masked]);
    let input = beit_vit::Input { images: &images, mask: Some(&mask), drop_path: None };
    let (logits, saved) = params.forward(&ops, config, &input, &rows);
    params.backward(&ops, config, &input, &rows, &logits, saved, &mut kept[0]);
    let flops = ops.flops() * args.training.update_freq;
    let value =
        serde_json::json!({ "steps": steps, "flops_per_step": flops, "peak_bytes": ops.peak_bytes() });
    let sentence = format!(
        "a step: {:.1} GFLOP, {:.0} MiB; the run: {steps} steps, {:.1} TFLOP (tokenizer not counted)",
        flops as f64 / 1e9,
        ops.peak_bytes() as f64 / (1 << 20) as f64,
        flops as f64 * steps as f64 / 1e12,
    );
    answer(args.run.json, &value, &sentence)
}
