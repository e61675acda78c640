//! Models for pictures of another size than the checkpoint's.

use crate::models::{Device, classifier, classifier_config, mim, mim_config, vit};
use beit_heads::{MimConfig, Pooling};
use beit_ops::prelude::*;
use beit_vit::{Config, RelativePositions};
use beit_weights::{
    Checkpoint, Labelled, LoadOptions, Resizing, TableResize, no_more_files, resize_positions,
    resize_relative_table, save_classifier, save_mim,
};
use std::path::PathBuf;
use tempfile::{TempDir, tempdir};

fn saved_mim(config: &MimConfig) -> (TempDir, PathBuf) {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    let folder = tmp.path().join("mim");
    let params = crate::models::distinct(&ops, &beit_heads::Mim::init(&ops, config, 0));
    save_mim(&ops, &folder, &params, no_more_files).unwrap();
    (tmp, folder)
}

fn options(image: [usize; 2], resizing: Resizing) -> LoadOptions {
    LoadOptions { image: Some(image), resizing, ..LoadOptions::default() }
}

#[test]
fn a_shared_table_is_resized_and_copied() {
    let ((_tmp, folder), ops) = (saved_mim(&mim_config()), Device::new());
    let checkpoint = Checkpoint::open(&folder).unwrap();
    // 2x2 patches before, 4x3 after.
    let image = [16, 12];
    for (resizing, method) in [
        (Resizing::Unilm, TableResize::Geometric),
        (Resizing::Timm, TableResize::Timm),
        (Resizing::Transformers, TableResize::Transformers),
    ] {
        let mut config = checkpoint.model().finetuned(3, Pooling::Mean).unwrap();
        config.vit.image = image;
        let start = checkpoint.finetuned(&ops, &config, options(image, resizing), 5).unwrap();
        let source = mim(&ops).vit.rel_pos_bias.unwrap();
        let expected = resize_relative_table(&source[..], 2, [2, 2], [4, 3], method);
        for block in &start.params.vit.blocks {
            let table = block.attn.relative_position_bias_table.as_ref().unwrap();
            assert_eq!(table.shape(), [7 * 5 + 3, 2]);
            assert_eq!(&table[..], expected);
        }
        let text = start.report.to_string();
        let said = format!(
            "resized from 2x2 to 4x3 patches ({}'s way): blocks.{{0-1}}.attn.relative_position_bias_table",
            resizing.name()
        );
        assert!(text.contains(&said), "{text}");
        assert!(text.contains("copied to 2 layers"), "{text}");
    }
}

#[test]
fn a_classifier_for_larger_pictures() {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    let folder = tmp.path().join("c");
    let config = Labelled::unnamed(classifier_config(Pooling::Mean));
    save_classifier(&ops, &folder, &classifier(&ops, Pooling::Mean), &config.labels, no_more_files).unwrap();
    let checkpoint = Checkpoint::open(&folder).unwrap();
    let loaded = checkpoint.classifier(&ops, options([16; 2], Resizing::Unilm)).unwrap();
    assert_eq!(loaded.params.vit.config().image, [16; 2]);
    assert_eq!((loaded.report.resized.len(), loaded.report.copied.len()), (2, 0));
    assert_eq!(loaded.params.head, classifier(&ops, Pooling::Mean).head);
    let images = ops.zeros([1, 3, 16, 16]);
    assert_eq!(loaded.params.infer(&ops, &images).shape(), [1, 3]);
    // The same size changes nothing.
    let same = checkpoint.classifier(&ops, options([8; 2], Resizing::Unilm)).unwrap();
    assert_eq!(same.params, classifier(&ops, Pooling::Mean));
    let error = checkpoint.classifier(&ops, options([15; 2], Resizing::Unilm)).map(drop).unwrap_err();
    assert!(error.to_string().contains("the image size 15x15 is not divisible"), "{error}");
}

#[test]
fn absolute_positions() {
    let vit = Config {
        absolute_positions: true,
        relative_positions: RelativePositions::None,
        layer_scale: None,
        ..vit()
    };
    let config = MimConfig { vit, vocab: 6 };
    let ((_tmp, folder), ops) = (saved_mim(&config), Device::new());
    let checkpoint = Checkpoint::open(&folder).unwrap();
    let before =
        checkpoint.mim(&ops, LoadOptions::default()).unwrap().params.vit.embeddings.pos_embed.unwrap();
    let loaded = checkpoint.mim(&ops, options([12; 2], Resizing::Unilm)).unwrap();
    let after = loaded.params.vit.embeddings.pos_embed.unwrap();
    let expected = resize_positions(&before[..], 8, [2; 2], [3; 2], beit_weights::PositionResize::Bicubic);
    assert_eq!((after.shape(), &after[..]), (&[1, 10, 8][..], &expected[..]));
    assert_eq!(loaded.report.resized.len(), 1);
}
