//! Numbers of parameters and sizes of files, from the shapes.

use beit_heads::{Classifier, Mim, Pooling, Segmenter};
use beit_ops::{Shape, Tree};
use beit_tokenizer::{Decoder, Encoder};
use beit_vit::{RelativePositions, Vit};
use beit_weights::catalogue::Entry;
use beit_weights::{Model, catalogue};

#[test]
fn parameters_are_those_of_the_shapes() {
    for entry in catalogue() {
        assert_eq!(entry.parameters, parameters(entry), "{}", entry.name);
    }
}

fn parameters(entry: &Entry) -> usize {
    match entry.model() {
        Some(Model::Mim(config)) => elements(&Mim::<Shape>::shapes(&config)),
        Some(Model::Classifier(labelled)) => elements(&Classifier::<Shape>::shapes(&labelled.classifier)),
        Some(Model::Encoder(vit)) => elements(&Vit::<Shape>::shapes(&vit)) + norm_of_the_mean(entry),
        Some(Model::Tokenizer(config)) if entry.name.ends_with("encoder") => {
            elements(&Encoder::<Shape>::shapes(&config))
        }
        Some(Model::Tokenizer(config)) => elements(&Decoder::<Shape>::shapes(&config)),
        Some(Model::Segmenter(labelled)) => {
            let found = elements(&Segmenter::<Shape>::shapes(&labelled.segmenter));
            assert_eq!(found, segmenter(entry), "{}", entry.name);
            found
        }
        other => panic!("{other:?}"),
    }
}

fn elements(shapes: &impl Tree<Shape>) -> usize {
    shapes.leaves().into_iter().map(Shape::elements).sum()
}

/// timm keeps it where it drops the head: `create_model(.., num_classes=0)`.
fn norm_of_the_mean(entry: &Entry) -> usize {
    let architecture = entry.architecture.as_ref().expect("a transformer");
    if architecture.pooling == Some(Pooling::Mean) { 2 * architecture.backbone().width } else { 0 }
}

/// UPerNet on the transformer, as in the authors' configurations of mmsegmentation.
fn segmenter(entry: &Entry) -> usize {
    let architecture = entry.architecture.as_ref().expect("a transformer");
    let (backbone, classes) = (architecture.backbone(), architecture.classes.expect("classes"));
    let (c, auxiliary) = (backbone.width, 256);
    let transposed = c * c * 4 + c;
    let norm = |channels: usize| 2 * channels;
    let conv = |from: usize, to: usize, side: usize| from * to * side * side + norm(to);
    let logits = |from: usize| from * classes + classes;
    let pyramid = 3 * transposed + norm(c);
    let pooled = 4 * conv(c, c, 1) + conv(5 * c, c, 3);
    let lateral = 3 * conv(c, c, 1) + 3 * conv(c, c, 3);
    let decoder = pooled + lateral + conv(4 * c, c, 3) + logits(c);
    let auxiliary = conv(c, auxiliary, 3) + logits(auxiliary);
    elements(&Vit::<Shape>::shapes(&backbone)) + pyramid + decoder + auxiliary
}

#[test]
fn the_specified_numbers() {
    let specified = [
        ("beit_base_patch16_224_pt22k", 91_965_776),
        ("beit_large_patch16_224_pt22k", 311_534_016),
        ("beit_base_patch16_224_pt1k_800ep", 92_089_856),
        ("beit_base_patch16_224_pt22k_ft22kto1k", 86_530_984),
        ("beit_base_patch16_384_pt22k_ft22kto1k", 86_744_104),
        ("beit_large_patch16_224_pt22k_ft22kto1k", 304_430_568),
        ("beit_large_patch16_384_pt22k_ft22kto1k", 304_998_888),
        ("beit_large_patch16_512_pt22k_ft22kto1k", 305_674_728),
        ("beit_base_patch16_224_pt22k_ft22k", 102_557_713),
        ("beit_large_patch16_224_pt22k_ft22k", 325_792_593),
        ("beit_base_patch16_640_pt22k_ft22ktoade20k", 163_407_980),
        ("beit_large_patch16_640_pt22k_ft22ktoade20k", 441_271_084),
        ("dalle_encoder", 53_786_240),
        ("dalle_decoder", 43_829_766),
        // What timm 1.0.31 builds.
        ("eva_giant_patch14_224.clip_ft_in1k", 1_012_555_112),
        ("eva_giant_patch14_336.clip_ft_in1k", 1_013_005_672),
        ("eva_giant_patch14_560.m30m_ft_in22k_in1k", 1_014_447_464),
        ("beit3_base_patch16_224.in22k_ft_in1k", 86_659_816),
        ("beit3_base_patch16_224.pt", 85_890_816),
        ("beit3_large_patch16_224.indomain_in22k_ft_in1k", 304_572_392),
        ("beit3_large_patch16_224.indomain_pt", 303_547_392),
    ];
    for (name, expected) in specified {
        assert_eq!(Entry::find(name).map(|entry| entry.parameters), Some(expected), "{name}");
    }
}

/// Listings have three digits, of which the last is rounded or cut off.
const DIGITS: f64 = 0.006;

#[test]
fn files_on_the_hub_are_as_long_as_their_tensors() {
    let listed = |entry: &'static Entry| entry.hub.iter().map(move |hub| (entry, hub));
    for (entry, hub) in catalogue().iter().flat_map(listed) {
        let Some(listed) = hub.megabytes.map(f64::from) else { continue };
        let computed = entry.payload() as f64 / 1e6;
        assert!(
            (computed - listed).abs() <= DIGITS * listed,
            "{}: listed {listed} MB, computed {computed:.1} MB",
            hub.id
        );
    }
    // Known exactly, in bytes.
    let base = Entry::find("microsoft/beit-base-patch16-224").unwrap();
    assert_eq!(base.payload(), 346_123_936 + 3_725_664);
}

#[test]
fn every_entry_has_a_model() {
    for entry in catalogue() {
        assert!(entry.model().is_some(), "{}", entry.name);
        if let Some(Model::Classifier(labelled)) = entry.model() {
            assert_eq!(labelled.labels.len(), labelled.classifier.classes);
            assert_ne!(labelled.labels[0], "LABEL_0", "{}", entry.name);
        }
    }
}

#[test]
fn encoders_have_the_norm_of_their_pooling() {
    let encoder = |name: &str| match Entry::find(name).and_then(Entry::model) {
        Some(Model::Encoder(vit)) => vit,
        other => panic!("{name}: {other:?}"),
    };
    let data2vec = encoder("facebook/data2vec-vision-large");
    assert!(data2vec.final_norm && !data2vec.mask_token && !data2vec.inner_norms);
    assert_eq!(data2vec.relative_positions, RelativePositions::Shared);
    let beit3 = encoder("timm/beit3_base_patch16_224.pt");
    assert!(beit3.inner_norms && beit3.key_bias && beit3.absolute_positions && !beit3.final_norm);
    assert_eq!((beit3.layer_scale, beit3.layer_norm_eps), (None, 1e-5));
}

#[test]
fn the_largest_has_heads_of_88() {
    let entry = Entry::find("timm/eva_giant_patch14_560.m30m_ft_in22k_in1k").unwrap();
    let vit = entry.model().unwrap().vit().unwrap().clone();
    vit.validate().unwrap();
    assert_eq!((vit.width / vit.heads, vit.hidden, vit.grid()), (88, 6144, [40; 2]));
}

#[test]
fn kinds_of_document_are_in_the_order_of_their_labels() {
    for name in ["microsoft/dit-base-finetuned-rvlcdip", "microsoft/dit-large-finetuned-rvlcdip"] {
        let model = Entry::find(name).unwrap().model().unwrap();
        let labels = model.labels().unwrap();
        assert_eq!((labels.len(), labels[0].as_str(), labels[8].as_str()), (16, "letter", "file folder"));
        assert_eq!(labels[15], "memo");
    }
}
