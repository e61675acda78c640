//! What is ablated, and how it is judged.

use super::{AblationJudge, AblationRow};
use crate::error::{Result, setting};
use crate::settings::{
    Batches, CropSettings, DataSettings, ModelSettings, OptimisationSettings, TokenizerKind,
};
use crate::train::{HeadSettings, PretrainSettings};
use serde::Serialize;
use std::path::PathBuf;

/// An ablation: what all rows share, which rows there are, and who judges them.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct AblationSettings {
    /// The images: with classes or masks, and test images that judge.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub data: DataSettings,
    /// The model.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub model: ModelSettings,
    /// Passes over the images of pre-training; what is usual for the preset where not given
    #[cfg_attr(feature = "clap", arg(long))]
    pub epochs: Option<u64>,
    /// Optimiser steps of pre-training, instead of epochs
    #[cfg_attr(feature = "clap", arg(long))]
    pub steps: Option<u64>,
    /// Images of a step of pre-training.
    #[cfg_attr(feature = "clap", command(flatten))]
    #[serde(flatten)]
    pub batches: Batches,
    /// Peak learning rate of pre-training; what is usual for the preset where not given
    #[cfg_attr(feature = "clap", arg(long))]
    pub lr: Option<f64>,
    /// The first seed; the others follow it
    #[cfg_attr(feature = "clap", arg(long, default_value_t = 0, value_parser = crate::settings::seeds()))]
    pub seed: u64,
    /// The views of pre-training.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub crop: CropSettings,
    /// The kind of tokenizer of the rows that do not say another; one is trained in every run
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t = Self::default().tokenizer_kind))]
    pub tokenizer_kind: TokenizerKind,
    /// The rows; all where not given
    #[cfg_attr(feature = "clap", arg(long, value_enum, value_delimiter = ',', value_name = "ROW,…"))]
    #[serde(skip)]
    pub rows: Vec<AblationRow>,
    /// Who judges them; all that can where not given: `segment` alone of images with masks
    #[cfg_attr(feature = "clap", arg(long, value_enum, value_delimiter = ',', value_name = "JUDGE,…"))]
    #[serde(skip)]
    pub judges: Vec<AblationJudge>,
    /// Seeds of each row. An ablation that is done goes on where more are asked for
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().seeds, value_name = "N"))]
    #[serde(skip)]
    pub seeds: u64,
    /// How many times as long the row `longer` is pre-trained; the paper's is 800 epochs instead of 300
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().longer, value_name = "TIMES"))]
    pub longer: f64,
    /// Labels that fine-tuning and the probes learn from, equally many of each class, drawn by the seed; 500 where not given. Of images with
    /// masks so many masks, and all where not given
    #[cfg_attr(feature = "clap", arg(long, value_name = "N"))]
    pub labels: Option<usize>,
    /// Steps of fine-tuning
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().finetune_steps, value_name = "STEPS"))]
    pub finetune_steps: u64,
    /// Peak learning rate of fine-tuning; what is usual where not given
    #[cfg_attr(feature = "clap", arg(long, value_name = "LR"))]
    pub finetune_lr: Option<f64>,
    /// Steps of fine-tuning for segmentation
    #[cfg_attr(feature = "clap", arg(long, default_value_t = Self::default().segment_steps, value_name = "STEPS"))]
    pub segment_steps: u64,
    /// Peak learning rate of fine-tuning for segmentation; what is usual where not given
    #[cfg_attr(feature = "clap", arg(long, value_name = "LR"))]
    pub segment_lr: Option<f64>,
    /// The head of fine-tuning for segmentation.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub head: HeadSettings,
    /// The folder of the ablation
    #[cfg_attr(feature = "clap", arg(long, default_value = "runs/ablation", value_name = "DIR"))]
    #[serde(skip)]
    pub out: PathBuf,
}

/// What the data can judge by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judging {
    /// Classes of images.
    Images,
    /// Masks of images.
    Pixels,
}

impl Default for AblationSettings {
    fn default() -> Self {
        Self {
            data: DataSettings::default(),
            model: ModelSettings::default(),
            epochs: None,
            steps: None,
            batches: Batches::default(),
            lr: None,
            seed: 0,
            crop: CropSettings::default(),
            tokenizer_kind: PretrainSettings::default().tokenizer_kind,
            rows: Vec::new(),
            judges: Vec::new(),
            seeds: 3,
            // BEiT §3.3: "pretrain longer".
            longer: 800.0 / 300.0,
            labels: None,
            finetune_steps: 600,
            finetune_lr: None,
            segment_steps: 400,
            segment_lr: None,
            head: HeadSettings::default(),
            out: PathBuf::from("runs/ablation"),
        }
    }
}

/// The most seeds, and the most times as long: a slip of the finger beyond them would be a year.
const MOST_SEEDS: u64 = 1000;
const MOST_TIMES: f64 = 1000.0;
/// Labels of images where nothing is said.
const LABELS: usize = 500;

impl AblationSettings {
    /// Puts in the place of what is not given what is usual, and refuses numbers that no ablation can have.
    pub(super) fn settle(&mut self, judging: Judging) -> Result<()> {
        let mut training = self.training(self.seed);
        let usual = self.model.preset.usual_pretraining();
        training.divide(1)?;
        training.settle(usual.batch_size, usual.epochs);
        // Written down, so that a row may be some times as long.
        (self.epochs, self.steps, self.batches) = (training.epochs, training.steps, training.batches);
        if self.rows.is_empty() {
            let base = self.tokenizer_kind;
            self.rows = AblationRow::ALL.into_iter().filter(|row| !row.is_the_base(base)).collect();
        }
        match judging {
            Judging::Images => self.labels = Some(self.labels.unwrap_or(LABELS)),
            Judging::Pixels => {
                if let Some(judge) = self.judges.iter().find(|judge| judge.is_of_images()) {
                    setting!("--judges {}: images with masks are judged by segment alone", judge.name());
                }
            }
        }
        if self.judges.is_empty() {
            let all = AblationJudge::ALL.into_iter();
            self.judges = all.filter(|judge| judging == Judging::Images || !judge.is_of_images()).collect();
        }
        self.rows.sort_unstable();
        self.rows.dedup();
        self.judges.sort_unstable();
        self.judges.dedup();
        if !(1..=MOST_SEEDS).contains(&self.seeds) {
            setting!("--seeds {}: expected 1 to {MOST_SEEDS}", self.seeds);
        }
        if !(self.longer > 1.0 && self.longer <= MOST_TIMES) {
            setting!("--longer {}: expected more than 1, and at most {MOST_TIMES}", self.longer);
        }
        for (flag, value) in [
            ("--labels", self.labels.map(|labels| labels as u64)),
            ("--finetune-steps", Some(self.finetune_steps)),
            ("--segment-steps", Some(self.segment_steps)),
        ] {
            if value == Some(0) {
                setting!("{flag} 0: expected at least 1");
            }
        }
        Ok(())
    }

    /// How a row is pre-trained that does not say another.
    pub(super) fn training(&self, seed: u64) -> OptimisationSettings {
        let Self { epochs, steps, batches, lr, .. } = *self;
        OptimisationSettings { epochs, steps, batches, lr, seed, ..OptimisationSettings::default() }
    }
}
