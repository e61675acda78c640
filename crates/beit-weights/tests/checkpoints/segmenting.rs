//! Starting a segmenter from a checkpoint.

use crate::models::{Device, Tensor, classifier, mim};
use crate::segmenters::{config, saved, segmenter, upernet};
use beit_heads::segmenter::{Head, HeadRunning};
use beit_heads::{HeadConfig, Pooling, Segmenter, SegmenterConfig};
use beit_ops::Tree;
use beit_vit::{Config, RelativePositions};
use beit_weights::{
    Checkpoint, Error, LoadOptions, Loaded, WholeSegmenter, no_more_files, save_mim, save_tokenizer,
};
use std::path::Path;
use tempfile::tempdir;

const TAPS: [usize; 4] = [1, 2, 3, 5];

fn start(folder: &Path, config: &SegmenterConfig) -> Result<Loaded<WholeSegmenter<Tensor>>, Error> {
    Checkpoint::open(folder)?.segmented(&Device::new(), config, LoadOptions::default(), 5)
}

/// Four blocks of masked image modelling.
fn saved_mim(folder: &Path) -> beit_heads::Mim<Tensor> {
    let ops = Device::new();
    let config = beit_heads::MimConfig { vit: Config { depth: 4, ..crate::models::vit() }, vocab: 6 };
    let mim = crate::models::distinct(&ops, &beit_heads::Mim::init(&ops, &config, 0));
    save_mim(&ops, folder, &mim, no_more_files).unwrap();
    mim
}

#[test]
fn from_masked_image_modelling() {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    let folder = tmp.path().join("mim");
    let source = saved_mim(&folder);
    let model = Checkpoint::open(&folder).unwrap().model().clone();
    for head in [upernet(), HeadConfig::setr_pup(8)] {
        let mut config = model.segmented(3, head, SegmenterConfig::usual_taps(4)).unwrap();
        assert_eq!(config.vit.relative_positions, RelativePositions::PerLayer);
        assert!(!config.vit.mask_token && !config.vit.final_norm);
        let Loaded { params: WholeSegmenter { model, running }, report } = start(&folder, &config).unwrap();
        for (block, from) in model.vit.blocks.iter().zip(&source.vit.blocks) {
            assert_eq!(block.attn.relative_position_bias_table, source.vit.rel_pos_bias);
            assert_eq!(block.mlp, from.mlp);
        }
        // The head is the one that a segmenter begins with.
        assert_eq!(model.head, Segmenter::on(&ops, &config, model.vit.clone(), 5).head);
        assert_eq!(running, Segmenter::init_running(&ops, &config));
        assert_eq!((report.copied.len(), report.taken.len() + 4), (4, model.vit.named().len()));
        let heads = model.head.named().len() + running.named().len();
        assert_eq!(report.new.len(), heads);
        assert_eq!(
            report.dropped,
            ["lm_head.bias", "lm_head.weight", "mask_token", "norm.bias", "norm.weight"]
        );
        config.vit.image = [16; 2];
        assert_eq!(start(&folder, &config).unwrap().report.resized.len(), 4);
    }
}

#[test]
fn a_head_goes_on_where_it_is_the_same() {
    let same = config(upernet(), TAPS);
    let ((_tmp, folder), source) = (saved(&same), segmenter(&same));
    let Loaded { params, report } = start(&folder, &same).unwrap();
    assert_eq!(params, source);
    assert!(report.new.is_empty() && report.dropped.is_empty(), "{report}");
    // Other blocks may be read by it.
    let Loaded { params, .. } = start(&folder, &config(upernet(), [0, 1, 2, 4])).unwrap();
    assert_eq!((params.model.head, params.running), (source.model.head.clone(), source.running.clone()));

    let more_classes = SegmenterConfig { classes: 4, ..same };
    let Loaded { params, report } = start(&folder, &more_classes).unwrap();
    let scores = ["auxiliary_head", "decode_head"]
        .map(|head| [".bias", ".weight"].map(|end| format!("{head}.conv_seg{end}")));
    assert_eq!(report.dropped, scores.concat());
    assert_eq!(report.new.len(), 4, "{report}");
    assert_eq!(params.running, source.running);
    let (Head::Upernet(head), Head::Upernet(from)) = (&params.model.head, &source.model.head) else {
        panic!()
    };
    assert_eq!((&head.pyramid, &head.main.fpn_bottleneck), (&from.pyramid, &from.main.fpn_bottleneck));
}

#[test]
fn another_head_is_dropped() {
    let ops = Device::new();
    let ((_tmp, folder), source) = (saved(&config(upernet(), TAPS)), segmenter(&config(upernet(), TAPS)));
    let narrow = HeadConfig::Upernet { channels: 4, scales: vec![1, 2], auxiliary: None };
    for head in [narrow, HeadConfig::SetrPup { channels: 8, auxiliary: true }] {
        let other = config(head, TAPS);
        let Loaded { params: WholeSegmenter { model, running }, report } = start(&folder, &other).unwrap();
        assert_eq!(model.vit, source.model.vit);
        assert_eq!(model.head, Segmenter::on(&ops, &other, model.vit.clone(), 5).head);
        assert_eq!(running, Segmenter::init_running(&ops, &other));
        let all = source.model.head.named().len() + source.running.named().len();
        assert_eq!(report.dropped.len(), all, "{report}");
        assert!(report.to_string().contains("dropped: auxiliary_head.conv_seg.bias"), "{report}");
    }
}

/// An auxiliary head may come or go.
#[test]
fn an_auxiliary_head_is_compared_for_itself() {
    let ((_tmp, folder), source) = (saved(&config(upernet(), TAPS)), segmenter(&config(upernet(), TAPS)));
    let without = HeadConfig::Upernet { channels: 8, scales: vec![1, 2], auxiliary: None };
    let Loaded { params, report } = start(&folder, &config(without, TAPS)).unwrap();
    let (HeadRunning::Upernet(running), HeadRunning::Upernet(from)) = (&params.running, &source.running)
    else {
        panic!("UPerNet")
    };
    assert_eq!((&running.main, &running.pyramid), (&from.main, &from.pyramid));
    assert!(report.new.is_empty(), "{report}");
    assert!(report.dropped.iter().all(|name| name.starts_with("auxiliary_head.")), "{report}");
}

#[test]
fn a_classifier_starts_from_a_segmenter_as_well() {
    let (_tmp, folder) = saved(&config(upernet(), TAPS));
    let checkpoint = Checkpoint::open(&folder).unwrap();
    let config = checkpoint.model().finetuned(3, Pooling::Mean).unwrap();
    let loaded = checkpoint.finetuned(&Device::new(), &config, LoadOptions::default(), 0).unwrap();
    assert_eq!(loaded.params.vit, segmenter(&self::config(upernet(), TAPS)).model.vit);
    assert_eq!(loaded.report.new, ["fc_norm.weight", "fc_norm.bias", "head.weight", "head.bias"]);
}

#[test]
fn what_cannot_start_is_said() {
    let (ops, tmp) = (Device::new(), tempdir().unwrap());
    let folder = tmp.path().join("c");
    let labels = ["a", "b", "c"].map(str::to_owned);
    beit_weights::save_classifier(&ops, &folder, &classifier(&ops, Pooling::Mean), &labels, no_more_files)
        .unwrap();
    let text =
        |folder: &Path, config: &SegmenterConfig| start(folder, config).map(drop).unwrap_err().to_string();
    let found = text(&folder, &config(upernet(), TAPS));
    assert!(found.contains("depth is 2, expected 6"), "{found}");
    let found = text(&folder, &config(upernet(), [1, 2, 3, 6]));
    assert!(
        found.contains("four ascending numbers of blocks from 0, below 6, found [1, 2, 3, 6]"),
        "{found}"
    );
    let tokenizer = tmp.path().join("t");
    let tokens = beit_tokenizer::init(&ops, &beit_tokenizer::Config::tiny(), 0);
    save_tokenizer(&ops, &tokenizer, &tokens, no_more_files).unwrap();
    let found = text(&tokenizer, &config(upernet(), TAPS));
    assert!(found.ends_with("this is a tokenizer, expected a model to fine-tune"), "{found}");
    assert_eq!(mim(&ops).vit.config().depth, 2);
}
