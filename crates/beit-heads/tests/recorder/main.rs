//! Inference asks a device for the families of inference and nothing more: transformer, heads and tokenizer run on one that has
//! no gradients, no losses and no optimiser.

mod device;

use beit_heads::{Classifier, ClassifierConfig, Mim, MimConfig, Pooling};
use beit_ops::Shape;
use beit_tokenizer::Tokenizer;
use beit_vit::{Config, Input, Preset, Vit};
use device::Recorder;

/// Two blocks of width 8 over 2x2 patches.
fn vit() -> Config {
    let small = Config {
        image: [8; 2],
        patch: [4; 2],
        width: 8,
        depth: 2,
        heads: 2,
        hidden: 32,
        ..Config::new(Preset::Tiny)
    };
    small.validate().expect("sizes that fit");
    small
}

const IMAGES: usize = 3;

fn images() -> Shape {
    Shape::from([IMAGES, 3, 8, 8])
}

/// What a block does with all 15 tokens.
const BLOCK: [&str; 9] = [
    "layer_norm [15, 8] -> [15, 8]",
    "linear [15, 8] [24, 8] -> [15, 24]",
    "attention [15, 24] -> [15, 8]",
    "linear [15, 8] [8, 8] -> [15, 8]",
    "scale_residual [15, 8] [15, 8] -> [15, 8]",
    "layer_norm [15, 8] -> [15, 8]",
    "linear [15, 8] [32, 8] -> [15, 32]",
    "gelu [15, 32] -> [15, 32]",
    "linear [15, 32] [8, 32] -> [15, 8]",
];
const SUM: &str = "scale_residual [15, 8] [15, 8] -> [15, 8]";
const STEM: [&str; 3] = [
    "patchify [3, 3, 8, 8] -> [12, 48]",
    "linear [12, 48] [8, 3, 4, 4] -> [12, 8]",
    "embed [12, 8] -> [15, 8]",
];

#[test]
fn the_transformer() {
    let recorder = Recorder::default();
    let input = Input { images: &images(), mask: None, drop_path: None };
    let mut outputs = Vec::new();
    let tokens = Vit::<Shape>::shapes(&vit()).infer(&recorder, &input, &mut |i, x| outputs.push((i, *x)));
    assert_eq!(tokens, [15, 8].into());
    assert_eq!(outputs, [(0, tokens), (1, tokens)]);
    let wanted = [&STEM[..], &BLOCK, &[SUM], &BLOCK, &[SUM]].concat();
    assert_eq!(recorder.take(), wanted);
}

/// Blocks with norms inside have two steps more, and a bias of the keys none.
#[test]
fn inner_norms() {
    let recorder = Recorder::default();
    let config = Config { inner_norms: true, key_bias: true, ..vit() };
    let input = Input { images: &images(), mask: None, drop_path: None };
    Vit::<Shape>::shapes(&config).infer(&recorder, &input, &mut |_, _| {});
    let (attention, gelu) = (3, 8);
    let block = [
        &BLOCK[..attention],
        &["layer_norm [15, 8] -> [15, 8]"],
        &BLOCK[attention..gelu],
        &["layer_norm [15, 32] -> [15, 32]"],
        &BLOCK[gelu..],
        &[SUM],
    ]
    .concat();
    assert_eq!(recorder.take(), [&STEM[..], &block, &block].concat());
}

#[test]
fn the_classifier() {
    for (pooling, pooled) in
        [(Pooling::Mean, "mean_pool [15, 8] -> [3, 8]"), (Pooling::Cls, "gather_rows [15, 8] -> [3, 8]")]
    {
        let recorder = Recorder::default();
        let classifier = Classifier::shapes(&ClassifierConfig::on(vit(), 10, pooling));
        assert_eq!(classifier.infer(&recorder, &images()), [IMAGES, 10].into());
        let head = [pooled, "layer_norm [3, 8] -> [3, 8]", "linear [3, 8] [10, 8] -> [3, 10]"];
        assert_eq!(recorder.take(), [&STEM[..], &BLOCK, &[SUM], &BLOCK, &[SUM], &head].concat());
    }
}

/// The last block's MLP sees the rows that are read, and no others.
#[test]
fn masked_image_modelling() {
    let recorder = Recorder::default();
    let mim = Mim::shapes(&MimConfig { vit: vit(), vocab: 16 });
    let input = Input { images: &images(), mask: Some(&[IMAGES, 4].into()), drop_path: None };
    assert_eq!(mim.infer(&recorder, &input, &5), [5, 16].into());
    let last = [
        "gather_rows [15, 8] -> [5, 8]",
        "linear [5, 8] [32, 8] -> [5, 32]",
        "gelu [5, 32] -> [5, 32]",
        "linear [5, 32] [8, 32] -> [5, 8]",
        "scatter_rows [5, 8] -> [15, 8]",
        SUM,
        "gather_rows [15, 8] -> [5, 8]",
        "layer_norm [5, 8] -> [5, 8]",
        "linear [5, 8] [16, 8] -> [5, 16]",
    ];
    assert_eq!(recorder.take(), [&STEM[..], &BLOCK, &[SUM], &BLOCK[..6], &last].concat());
}

#[test]
fn the_tokenizer() {
    let recorder = Recorder::default();
    let config = beit_tokenizer::Config { groups: 2, blocks_per_group: 1, ..beit_tokenizer::Config::tiny() };
    let tokenizer = Tokenizer::shapes(&config);
    assert_eq!(tokenizer.encoder.encode(&recorder, &images()), IMAGES * 16);
    let lines = recorder.take();
    assert_eq!(
        lines[..2],
        ["channels_last [3, 3, 8, 8] -> [3, 8, 8, 3]", "conv2d [3, 8, 8, 3] [4, 3, 7, 7] -> [3, 8, 8, 4]"]
    );
    assert!(lines.iter().any(|line| line == "max_pool2 [3, 8, 8, 4] -> [3, 4, 4, 4]"), "{lines:#?}");
    assert_eq!(
        lines[lines.len() - 2..],
        ["conv2d [3, 4, 4, 8] [16, 8, 1, 1] -> [3, 4, 4, 16]", "argmax_rows [48, 16] -> [48]"]
    );
    assert_eq!(tokenizer.encoder.encode_positions(&recorder, &images(), &5), 5);
    recorder.take();

    let pixels = tokenizer.decoder.decode(&recorder, &[0; 32], [4, 4]).expect("nothing fails");
    assert_eq!(pixels.len(), 2 * 3 * 8 * 8);
    let lines = recorder.take();
    assert_eq!(
        lines[..3],
        [
            "channels_last [1, 4, 16, 1] -> [1, 16, 1, 4]",
            "gather_rows [16, 4] -> [32, 4]",
            "add_bias [32, 4] [4] -> [32, 4]",
        ]
    );
    assert!(lines.iter().any(|line| line == "upsample2 [2, 4, 4, 8] -> [2, 8, 8, 8]"), "{lines:#?}");
}
