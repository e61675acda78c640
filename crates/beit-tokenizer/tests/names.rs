//! Names and counts of the published models.

use beit_ops::{Shape, Tree};
use beit_tokenizer::{Config, Decoder, Encoder, Tokenizer};

fn elements<P: Tree<Shape>>(shapes: &P) -> usize {
    shapes.leaves().iter().map(|shape| shape.elements()).sum()
}

/// openai/DALL-E's `encoder.pkl` and `decoder.pkl` hold four bytes for each of these.
#[test]
fn published_parameter_counts() {
    assert_eq!(elements(&Encoder::shapes(&Config::dalle())), 53_786_240);
    assert_eq!(elements(&Decoder::shapes(&Config::dalle())), 43_829_766);
}

#[test]
fn documented_parameter_counts() {
    assert_eq!(elements(&Encoder::shapes(&Config::small())), 103_496);
    assert_eq!(elements(&Decoder::shapes(&Config::small())), 99_534);
}

/// The 37 convolutions of `facebook/flava-image-codebook`.
const ENCODER: [(&str, [usize; 4]); 37] = [
    ("blocks.input", [256, 3, 7, 7]),
    ("blocks.group_1.group.block_1.res_path.path.conv_1", [64, 256, 3, 3]),
    ("blocks.group_1.group.block_1.res_path.path.conv_2", [64, 64, 3, 3]),
    ("blocks.group_1.group.block_1.res_path.path.conv_3", [64, 64, 3, 3]),
    ("blocks.group_1.group.block_1.res_path.path.conv_4", [256, 64, 1, 1]),
    ("blocks.group_1.group.block_2.res_path.path.conv_1", [64, 256, 3, 3]),
    ("blocks.group_1.group.block_2.res_path.path.conv_2", [64, 64, 3, 3]),
    ("blocks.group_1.group.block_2.res_path.path.conv_3", [64, 64, 3, 3]),
    ("blocks.group_1.group.block_2.res_path.path.conv_4", [256, 64, 1, 1]),
    ("blocks.group_2.group.block_1.id_path", [512, 256, 1, 1]),
    ("blocks.group_2.group.block_1.res_path.path.conv_1", [128, 256, 3, 3]),
    ("blocks.group_2.group.block_1.res_path.path.conv_2", [128, 128, 3, 3]),
    ("blocks.group_2.group.block_1.res_path.path.conv_3", [128, 128, 3, 3]),
    ("blocks.group_2.group.block_1.res_path.path.conv_4", [512, 128, 1, 1]),
    ("blocks.group_2.group.block_2.res_path.path.conv_1", [128, 512, 3, 3]),
    ("blocks.group_2.group.block_2.res_path.path.conv_2", [128, 128, 3, 3]),
    ("blocks.group_2.group.block_2.res_path.path.conv_3", [128, 128, 3, 3]),
    ("blocks.group_2.group.block_2.res_path.path.conv_4", [512, 128, 1, 1]),
    ("blocks.group_3.group.block_1.id_path", [1024, 512, 1, 1]),
    ("blocks.group_3.group.block_1.res_path.path.conv_1", [256, 512, 3, 3]),
    ("blocks.group_3.group.block_1.res_path.path.conv_2", [256, 256, 3, 3]),
    ("blocks.group_3.group.block_1.res_path.path.conv_3", [256, 256, 3, 3]),
    ("blocks.group_3.group.block_1.res_path.path.conv_4", [1024, 256, 1, 1]),
    ("blocks.group_3.group.block_2.res_path.path.conv_1", [256, 1024, 3, 3]),
    ("blocks.group_3.group.block_2.res_path.path.conv_2", [256, 256, 3, 3]),
    ("blocks.group_3.group.block_2.res_path.path.conv_3", [256, 256, 3, 3]),
    ("blocks.group_3.group.block_2.res_path.path.conv_4", [1024, 256, 1, 1]),
    ("blocks.group_4.group.block_1.id_path", [2048, 1024, 1, 1]),
    ("blocks.group_4.group.block_1.res_path.path.conv_1", [512, 1024, 3, 3]),
    ("blocks.group_4.group.block_1.res_path.path.conv_2", [512, 512, 3, 3]),
    ("blocks.group_4.group.block_1.res_path.path.conv_3", [512, 512, 3, 3]),
    ("blocks.group_4.group.block_1.res_path.path.conv_4", [2048, 512, 1, 1]),
    ("blocks.group_4.group.block_2.res_path.path.conv_1", [512, 2048, 3, 3]),
    ("blocks.group_4.group.block_2.res_path.path.conv_2", [512, 512, 3, 3]),
    ("blocks.group_4.group.block_2.res_path.path.conv_3", [512, 512, 3, 3]),
    ("blocks.group_4.group.block_2.res_path.path.conv_4", [2048, 512, 1, 1]),
    ("blocks.output.conv", [8192, 2048, 1, 1]),
];

#[test]
fn published_encoder_names_and_shapes() {
    let shapes = Encoder::shapes(&Config::dalle());
    let named = shapes.named();
    assert_eq!(named.len(), 74);
    for (pair, (name, weight)) in named.chunks(2).zip(ENCODER) {
        assert_eq!(pair[0], (format!("{name}.weight"), &Shape::from(weight)));
        assert_eq!(pair[1], (format!("{name}.bias"), &Shape::from([weight[0]])));
    }
}

/// The decoder's id paths are in the first block of every group, and its kernels in the opposite order.
#[test]
fn decoder_mirrors_the_encoder() {
    let shapes = Decoder::shapes(&Config::dalle());
    let named = shapes.named();
    let of = |name: &str| **named.iter().find(|(n, _)| n == name).map(|(_, shape)| shape).expect(name);
    assert_eq!(of("blocks.input.weight"), [128, 8192, 1, 1].into());
    assert_eq!(of("blocks.group_1.group.block_1.id_path.weight"), [2048, 128, 1, 1].into());
    assert_eq!(of("blocks.group_1.group.block_1.res_path.path.conv_1.weight"), [512, 128, 1, 1].into());
    assert_eq!(of("blocks.group_1.group.block_1.res_path.path.conv_4.weight"), [2048, 512, 3, 3].into());
    assert_eq!(of("blocks.group_4.group.block_1.id_path.weight"), [256, 512, 1, 1].into());
    assert_eq!(of("blocks.output.conv.weight"), [6, 256, 1, 1].into());
    assert_eq!(named.iter().filter(|(name, _)| name.contains("id_path.weight")).count(), 4);
    assert_eq!(named.len(), 2 * (1 + 8 * 4 + 4 + 1));
}

#[test]
fn tokenizer_prefixes_its_halves() {
    let shapes = Tokenizer::shapes(&Config::tiny());
    let named = shapes.named();
    assert_eq!(named[0].0, "encoder.blocks.input.weight");
    assert_eq!(named.last().map(|(name, _)| name.as_str()), Some("decoder.blocks.output.conv.bias"));
}
