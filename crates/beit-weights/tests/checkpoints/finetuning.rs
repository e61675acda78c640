//! Starting a classifier from a checkpoint.

use crate::models::{Device, Tensor, classifier, classifier_config, mim, mim_config};
use beit_heads::{Classifier, ClassifierConfig, Pooling};
use beit_vit::{Config, RelativePositions};
use beit_weights::{
    Error, Labelled, LoadOptions, Loaded, Model, load_for_finetuning, no_more_files, save_classifier,
    save_mim, save_tokenizer,
};
use std::path::PathBuf;
use tempfile::{TempDir, tempdir};

fn saved_mim() -> (TempDir, PathBuf) {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    let folder = tmp.path().join("mim");
    save_mim(&ops, &folder, &mim(&ops), no_more_files).unwrap();
    (tmp, folder)
}

fn saved_classifier() -> (TempDir, PathBuf) {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    let folder = tmp.path().join("classifier");
    let config = Labelled::unnamed(classifier_config(Pooling::Mean));
    save_classifier(&ops, &folder, &classifier(&ops, Pooling::Mean), &config.labels, no_more_files).unwrap();
    (tmp, folder)
}

fn start(folder: &PathBuf, config: &ClassifierConfig) -> Result<Loaded<Classifier<Tensor>>, Error> {
    load_for_finetuning(&Device::new(), folder, config, LoadOptions::default(), 5)
}

#[test]
fn from_masked_image_modelling() {
    let (_tmp, folder) = saved_mim();
    let config = Model::read(&folder).unwrap().finetuned(3, Pooling::Mean).unwrap();
    assert_eq!(config.vit.relative_positions, RelativePositions::PerLayer);
    let Loaded { params, report } = start(&folder, &config).unwrap();
    let source = mim(&Device::new());
    for (block, from) in params.vit.blocks.iter().zip(&source.vit.blocks) {
        assert_eq!(block.attn.relative_position_bias_table, source.vit.rel_pos_bias);
        assert_eq!((&block.mlp, &block.gamma_2), (&from.mlp, &from.gamma_2));
    }
    assert_eq!(params.vit.patch_embed, source.vit.patch_embed);
    let tables = [0, 1].map(|i| format!("blocks.{i}.attn.relative_position_bias_table"));
    assert_eq!(report.copied, tables);
    assert_eq!(report.dropped, ["lm_head.bias", "lm_head.weight", "mask_token", "norm.bias", "norm.weight"]);
    assert_eq!(report.new, ["fc_norm.weight", "fc_norm.bias", "head.weight", "head.bias"]);
    let text = report.to_string();
    assert!(text.contains("copied to 2 layers; dropped: lm_head.bias"), "{text}");
}

#[test]
fn the_final_norm_stays_for_the_class_token() {
    let (_tmp, folder) = saved_mim();
    let config = Model::read(&folder).unwrap().finetuned(3, Pooling::Cls).unwrap();
    let Loaded { params, report } = start(&folder, &config).unwrap();
    assert_eq!(params.vit.norm, mim(&Device::new()).vit.norm);
    assert_eq!(report.dropped, ["lm_head.bias", "lm_head.weight", "mask_token"]);
    assert_eq!(report.new, ["head.weight", "head.bias"]);
}

#[test]
fn a_shared_table_may_stay_shared() {
    let (_tmp, folder) = saved_mim();
    let config = ClassifierConfig::on(mim_config().vit, 3, Pooling::Mean);
    let Loaded { params, report } = start(&folder, &config).unwrap();
    assert_eq!(params.vit.rel_pos_bias, mim(&Device::new()).vit.rel_pos_bias);
    assert!(report.copied.is_empty());
}

#[test]
fn from_a_classifier() {
    let (_tmp, folder) = saved_classifier();
    let source = classifier(&Device::new(), Pooling::Mean);
    let same = Model::read(&folder).unwrap().finetuned(3, Pooling::Mean).unwrap();
    let Loaded { params, report } = start(&folder, &same).unwrap();
    assert_eq!(params, source);
    assert!(report.new.is_empty() && report.dropped.is_empty());

    let more_classes = ClassifierConfig { classes: 4, ..same };
    let Loaded { params, report } = start(&folder, &more_classes).unwrap();
    assert_eq!((&params.vit, &params.fc_norm), (&source.vit, &source.fc_norm));
    assert_eq!(report.dropped, ["head.bias", "head.weight"]);
    assert_eq!(report.new, ["head.weight", "head.bias"]);
}

#[test]
fn other_sizes_are_named() {
    let (_tmp, folder) = saved_mim();
    let config = classifier_config(Pooling::Mean);
    let vit = Config { depth: 3, layer_scale: None, ..config.vit };
    let text = start(&folder, &ClassifierConfig { vit, ..config }).map(|_| ()).unwrap_err().to_string();
    for part in [folder.to_str().unwrap(), "depth is 2, expected 3", "LayerScale is true, expected false"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn a_tokenizer_cannot_be_fine_tuned() {
    let tmp = tempdir().unwrap();
    let (ops, config) = (Device::new(), beit_tokenizer::Config::tiny());
    let folder = tmp.path().join("tokenizer");
    save_tokenizer(&ops, &folder, &beit_tokenizer::init(&ops, &config, 0), no_more_files).unwrap();
    let text = start(&folder, &classifier_config(Pooling::Mean)).map(|_| ()).unwrap_err().to_string();
    assert!(text.ends_with("this is a tokenizer, expected a model to fine-tune"), "{text}");
}
