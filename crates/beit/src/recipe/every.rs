//! Every setting that can be left out, given: files do not show what is left out.

use crate::settings::{
    AugmentSettings, AverageSettings, BestMetric, BestSettings, CropSettings, DataSettings, FolderSettings,
    GuardSettings, HeldOutSettings, LoadSettings, MaskSettings, MixingSettings, ModelSettings,
    OptimisationSettings, ParametersRule, ReadSettings, RunSettings,
};
use crate::train::{FinetuneSettings, HeadSettings, PretrainSettings};

pub(super) fn pretrain() -> PretrainSettings {
    PretrainSettings {
        data: data(),
        init: Some("runs/pretrain-001".into()),
        loading: loading(),
        model: model(),
        mask: MaskSettings {
            num_mask_patches: Some(75),
            min_mask_patches_per_block: Some(16),
            max_mask_patches_per_block: Some(75),
            ..Default::default()
        },
        training: training(),
        run: run(),
        tokenizer: Some("dalle".into()),
        tokenizer_steps: Some(1000),
        crop: CropSettings { min_crop_scale: Some(0.08) },
        colour_jitter: Some(0.4),
        average: average(),
        guard: guard(),
        best: BestSettings { keep_best: Some(BestMetric::TokenAccuracy) },
        probe_every: Some(1000),
        ..Default::default()
    }
}

pub(super) fn finetune() -> FinetuneSettings {
    FinetuneSettings {
        data: data(),
        init: Some("runs/pretrain-001".into()),
        segmentation: HeadSettings { head_channels: Some(256), ..Default::default() },
        labels: Some(500),
        held_out: HeldOutSettings { validation: Some(0.2) },
        model: model(),
        loading: loading(),
        training: training(),
        crop: CropSettings { min_crop_scale: Some(0.08) },
        augment: AugmentSettings {
            auto_augment: "rand-m9-mstd0.5-inc1".parse().ok(),
            reprob: Some(0.25),
            repeated_aug: Some(3),
        },
        mixing: MixingSettings {
            mixup_prob: Some(1.0),
            mixup_switch_prob: Some(0.5),
            ..MixingSettings::released()
        },
        average: average(),
        guard: guard(),
        best: BestSettings { keep_best: Some(BestMetric::Accuracy) },
        run: run(),
        ..Default::default()
    }
}

fn data() -> DataSettings {
    DataSettings { channels: Some(5), ..Default::default() }
}

fn loading() -> LoadSettings {
    let reading = ReadSettings { heads: Some(12), weights: Some(ParametersRule::Ema), ..Default::default() };
    LoadSettings { reading, ..Default::default() }
}

fn average() -> AverageSettings {
    AverageSettings { model_ema_decay: Some(0.9999), ..Default::default() }
}

fn guard() -> GuardSettings {
    GuardSettings { skip_spikes: Some(10.0), max_spikes: Some(10) }
}

fn model() -> ModelSettings {
    ModelSettings {
        image_size: Some(224.into()),
        patch_size: Some(16.into()),
        layer_scale_init_value: Some(0.1),
        drop_path: Some(0.1),
        ..Default::default()
    }
}

fn training() -> OptimisationSettings {
    OptimisationSettings {
        epochs: Some(100),
        steps: Some(100_000),
        batches: 64.into(),
        update_freq: Some(1),
        global_batch: Some(1024),
        lr: Some(1e-3),
        min_lr: Some(1e-6),
        warmup_epochs: Some(5.0),
        warmup_steps: Some(1500),
        ..Default::default()
    }
}

fn run() -> RunSettings {
    let folder = FolderSettings { out: Some("runs/a".into()), report_every: Some(50), ..Default::default() };
    RunSettings { folder, save_every: Some(1000), ..Default::default() }
}
