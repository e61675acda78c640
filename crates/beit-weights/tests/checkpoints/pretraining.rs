//! Masked image modelling that goes on from a checkpoint.

use crate::models::{Device, Tensor, classifier, classifier_config, mim, mim_config};
use beit_heads::{Mim, MimConfig, PixelMim, Pooling};
use beit_vit::{Config, RelativePositions};
use beit_weights::{
    Checkpoint, Labelled, LoadOptions, Loaded, Model, load_mim, load_pixel_mim, no_more_files,
    save_classifier, save_mim, save_pixel_mim,
};
use std::path::{Path, PathBuf};
use tempfile::{TempDir, tempdir};

fn saved_mim() -> (TempDir, PathBuf) {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    let folder = tmp.path().join("mim");
    save_mim(&ops, &folder, &mim(&ops), no_more_files).unwrap();
    (tmp, folder)
}

fn start(folder: &Path, config: &MimConfig, same_tokens: bool) -> Loaded<Mim<Tensor>> {
    let options = LoadOptions { image: Some(config.vit.image), ..LoadOptions::default() };
    Checkpoint::open(folder).unwrap().pretrained(&Device::new(), config, options, same_tokens, 5).unwrap()
}

#[test]
fn the_same_tokens_need_nothing_new() {
    let (_tmp, folder) = saved_mim();
    let config = Model::read(&folder).unwrap().pretrained(mim_config().vocab).unwrap();
    assert_eq!(config, mim_config());
    let Loaded { params, report } = start(&folder, &config, true);
    assert_eq!(params, mim(&Device::new()));
    assert!(report.new.is_empty() && report.dropped.is_empty(), "{report}");
}

#[test]
fn other_tokens_have_a_new_head() {
    let (_tmp, folder) = saved_mim();
    // Of as many tokens, so that the shapes alone would let it pass.
    let Loaded { params, report } = start(&folder, &mim_config(), false);
    let before = mim(&Device::new());
    assert_eq!(params.vit, before.vit);
    assert_ne!(params.lm_head.weight, before.lm_head.weight);
    assert!(params.lm_head.weight.iter().any(|&v| v != 0.0), "it is drawn");
    assert_eq!(report.new, ["lm_head.weight", "lm_head.bias"]);
    assert_eq!(report.dropped, ["lm_head.bias", "lm_head.weight"]);

    let more = MimConfig { vocab: mim_config().vocab + 3, ..mim_config() };
    let Loaded { params, report } = start(&folder, &more, true);
    assert_eq!((params.config(), report.new.len()), (more, 2));
}

#[test]
fn a_classifier_lacks_the_mask_token_the_norm_and_the_head() {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    let folder = tmp.path().join("classifier");
    let (source, labels) =
        (classifier(&ops, Pooling::Mean), Labelled::unnamed(classifier_config(Pooling::Mean)).labels);
    save_classifier(&ops, &folder, &source, &labels, no_more_files).unwrap();
    let config = Model::read(&folder).unwrap().pretrained(11).unwrap();
    assert!(config.vit.mask_token && config.vit.final_norm);
    assert_eq!(config.vit.relative_positions, RelativePositions::PerLayer);
    let Loaded { params, report } = start(&folder, &config, false);
    assert_eq!(params.vit.blocks, source.vit.blocks);
    assert_eq!(report.new, ["mask_token", "norm.weight", "norm.bias", "lm_head.weight", "lm_head.bias"]);
    assert_eq!(report.dropped, ["fc_norm.bias", "fc_norm.weight", "head.bias", "head.weight"]);
    let drawn = params.vit.embeddings.mask_token.as_ref().unwrap();
    assert!(drawn.iter().any(|&v| v != 0.0), "a mask token of zero is the mean of all patches");
    assert!(params.vit.norm.as_ref().unwrap().weight.iter().all(|&v| v == 1.0));

    // It is a model like any other.
    let again = tmp.path().join("again");
    save_mim(&ops, &again, &params, no_more_files).unwrap();
    assert_eq!(load_mim(&ops, &again).unwrap().params, params);
}

#[test]
fn larger_images_resize_the_positions() {
    let (_tmp, folder) = saved_mim();
    let MimConfig { vit, vocab } = mim_config();
    let image = vit.image.map(|side| 2 * side);
    let larger = MimConfig { vit: Config { image, ..vit }, vocab };
    let Loaded { params, report } = start(&folder, &larger, true);
    assert_eq!(params.config(), larger);
    assert!(!report.resized.is_empty() && report.new.is_empty(), "{report}");
}

#[test]
fn what_draws_pixels_comes_back_and_is_a_transformer_to_others() {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    let (folder, vit) = (tmp.path().join("pixels"), mim_config().vit);
    let before = PixelMim::init(&ops, &vit, 3);
    save_pixel_mim(&ops, &folder, &before, no_more_files).unwrap();
    let Loaded { params, report } = load_pixel_mim(&ops, &folder).unwrap();
    assert_eq!(params, before);
    assert!(report.new.is_empty() && report.dropped.is_empty(), "{report}");

    let checkpoint = Checkpoint::open(&folder).unwrap();
    assert_eq!(checkpoint.model(), &Model::Encoder(vit.clone()));
    let as_encoder = checkpoint.transformer(&ops, LoadOptions::default()).unwrap();
    assert_eq!(as_encoder.params, before.vit);
    // Going on, towards pixels or towards tokens.
    let pixels = checkpoint.pretrained_pixels(&ops, &vit, LoadOptions::default(), 5).unwrap();
    assert_eq!(pixels.params, before);
    let tokens = start(&folder, &mim_config(), false);
    assert_eq!(tokens.params.vit, before.vit);
    assert_eq!(tokens.report.dropped, ["pixel_head.bias", "pixel_head.weight"]);
}

#[test]
fn a_model_that_names_tokens_does_not_draw_pixels() {
    let (_tmp, folder) = saved_mim();
    let error = load_pixel_mim(&Device::new(), &folder).expect_err("it has no such layer").to_string();
    assert!(error.contains("expected a model that was pre-trained to draw pixels"), "{error}");
    let checkpoint = Checkpoint::open(&folder).unwrap();
    let options = LoadOptions::default();
    let started = checkpoint.pretrained_pixels(&Device::new(), &mim_config().vit, options, 5).unwrap();
    assert_eq!(started.report.new, ["pixel_head.weight", "pixel_head.bias"]);
    assert_eq!(started.report.dropped, ["lm_head.bias", "lm_head.weight"]);
}
