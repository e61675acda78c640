//! Flags that several verbs share.

use crate::data::{DataArgs, Loading};
use crate::device::DeviceArgs;
use crate::output::note;
use crate::run::{Existing, Run};
use crate::usage::usage;
use anyhow::Context;
use beit_data::{Normalise, Preprocessing};
use beit_mask::{BlockShape, Grid, Masker, Strategy};
use beit_train::{Hyper, Schedule};
use beit_vit::{Config, Keep, Preset, RelativePositions};
use clap::builder::RangedU64ValueParser;
use clap::{Args as ClapArgs, ValueEnum, value_parser};
use serde::Serialize;
use std::path::PathBuf;

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
    /// Stochastic depth rate of the last block; where not given, the checkpoint's, 0 for a new tiny model, 0.1 for others
    #[arg(long)]
    pub(crate) drop_path: Option<f32>,
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

impl From<PresetArg> for Preset {
    fn from(preset: PresetArg) -> Self {
        match preset {
            PresetArg::Tiny => Self::Tiny,
            PresetArg::Small => Self::Small,
            PresetArg::Base => Self::Base,
            PresetArg::Large => Self::Large,
        }
    }
}

impl ModelArgs {
    pub(crate) fn config(&self) -> anyhow::Result<Config> {
        let preset = self.preset.into();
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
        config.drop_path = self.drop_path();
        config.validate()?;
        Ok(config)
    }

    pub(crate) fn drop_path(&self) -> f32 {
        self.drop_path.unwrap_or(if self.preset == PresetArg::Tiny { 0.0 } else { 0.1 })
    }

    pub(crate) fn views(&self, config: &Config) -> Preprocessing {
        let normalise =
            if self.imagenet_default_mean_and_std { Normalise::IMAGENET } else { Normalise::HALF };
        Preprocessing { normalise, ..Preprocessing::unilm(config.image) }
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
        Masker::new(beit_mask::Config { target, strategy, block, ..scaled }).with_context(|| {
            format!(
                "masks of {rows}x{cols} patches by --mask-ratio, --num-mask-patches and the limits of a block"
            )
        })
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
    /// Keep the inputs of the blocks only and compute the rest again for the gradients: the same numbers, less memory, more time
    #[arg(long)]
    pub(crate) recompute: bool,
    /// Peak learning rate; where not given, 4e-3 for fine-tuning and for the tiny preset, 1.5e-3 for pre-training others
    #[arg(long)]
    pub(crate) lr: Option<f64>,
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
    #[arg(long, default_value_t = 0, value_parser = seeds())]
    pub(crate) seed: u64,
}

/// `run.toml` holds signed numbers.
pub(crate) fn seeds() -> RangedU64ValueParser {
    value_parser!(u64).range(..=i64::MAX as u64)
}

impl TrainingArgs {
    /// Refuses numbers that no run can have.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let rates = [
            ("--lr", self.lr.unwrap_or(0.0)),
            ("--min-lr", self.min_lr),
            ("--weight-decay", self.weight_decay),
            ("--clip-grad", self.clip_grad.into()),
        ];
        for (flag, value) in rates {
            if !(value >= 0.0 && value.is_finite()) {
                usage!("{flag} {value}: expected a number of at least 0");
            }
        }
        if self.update_freq == 0 || self.batch_size == 0 {
            usage!(
                "nothing to train: steps of {} micro-batches of {} images; --update-freq and --batch-size must be at least 1",
                self.update_freq,
                self.batch_size
            );
        }
        Ok(())
    }

    /// The optimiser for epochs of this many steps, with a learning rate for who gave none.
    pub(crate) fn hyper(&self, steps_per_epoch: u64, lr: f64) -> anyhow::Result<Hyper> {
        let total = self.steps.unwrap_or(self.epochs.saturating_mul(steps_per_epoch));
        let batches = total.checked_mul(self.update_freq);
        let images = batches.and_then(|batches| batches.checked_mul(self.batch_size as u64));
        if total == 0 || images.is_none() {
            usage!(
                "--steps or --epochs: expected at least 1 and no more than can be counted, found {total} steps"
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
        let schedule = Schedule { peak: self.lr.unwrap_or(lr), min: self.min_lr, warmup, total };
        let clip_grad = (self.clip_grad > 0.0).then_some(self.clip_grad);
        Ok(Hyper { weight_decay: self.weight_decay, clip_grad, ..Hyper::new(schedule) })
    }

    /// How much a forward keeps for its backward.
    pub(crate) fn keep(&self) -> Keep {
        if self.recompute { Keep::Inputs } else { Keep::All }
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
    /// Opens the folder of the run and writes down how the verb was called.
    pub(crate) fn begin(&self, verb: &str, options: &impl Serialize) -> anyhow::Result<Run> {
        let run = Run::open(self.out.as_deref(), verb, self.existing())?;
        note(&format!("run folder: {}", run.dir.display()));
        if !self.resume {
            run.write_config(options)?;
        }
        Ok(run)
    }

    pub(crate) fn existing(&self) -> Existing {
        match (self.resume, self.overwrite) {
            (true, _) => Existing::Resume,
            (_, true) => Existing::Overwrite,
            _ => Existing::Refuse,
        }
    }

    /// Where to stop next, after `step` of `total` steps.
    pub(crate) fn next_stop(&self, step: u64, total: u64) -> u64 {
        step.checked_div(self.save_every).map_or(total, |saved| total.min((saved + 1) * self.save_every))
    }
}
