//! The mapping table: which name a parameter has in which layout. Data only; `pattern.rs` reads it, in both directions.
//!
//! `{}` stands for a number, `*` at the end for the rest of a name, `|` between three names for a matrix that a layout stores as three,
//! one below the other. In a column the first row that fits counts.

use super::kind::Kind;

/// The name of one parameter.
pub(super) struct Row {
    /// Ours: those of the released code (unilm), which timm shares.
    pub(super) ours: &'static str,
    /// On disk for all versions of transformers, and in memory up to version 4.
    pub(super) transformers: &'static str,
    /// In memory since version 5.
    pub(super) transformers5: &'static str,
    /// Where transformers' name depends on the model, which.
    pub(super) only: Option<fn(Kind) -> bool>,
}

const fn row(ours: &'static str, transformers: &'static str, transformers5: &'static str) -> Row {
    Row { ours, transformers, transformers5, only: None }
}

/// The same name in both versions.
const fn same(ours: &'static str, transformers: &'static str) -> Row {
    row(ours, transformers, transformers)
}

/// The final norm belongs to the head of masked image modelling there.
const fn norm(transformers: &'static str, only: fn(Kind) -> bool) -> Row {
    Row { only: Some(only), ..same("norm.*", transformers) }
}

/// Transformers, `modeling_beit.py` and `conversion_mapping.py`.
pub(super) const BEIT: &[Row] = &[
    same("cls_token", "beit.embeddings.cls_token"),
    same("mask_token", "beit.embeddings.mask_token"),
    same("pos_embed", "beit.embeddings.position_embeddings"),
    same("patch_embed.proj.*", "beit.embeddings.patch_embeddings.projection.*"),
    row("rel_pos_bias.*", "beit.encoder.relative_position_bias.*", "beit.shared_position_bias.*"),
    row("blocks.{}.norm1.*", "beit.encoder.layer.{}.layernorm_before.*", "beit.layers.{}.layernorm_before.*"),
    row(
        "blocks.{}.attn.qkv.weight",
        "beit.encoder.layer.{}.attention.attention.query.weight|\
         beit.encoder.layer.{}.attention.attention.key.weight|\
         beit.encoder.layer.{}.attention.attention.value.weight",
        "beit.layers.{}.attention.q_proj.weight|\
         beit.layers.{}.attention.k_proj.weight|\
         beit.layers.{}.attention.v_proj.weight",
    ),
    row(
        "blocks.{}.attn.q_bias",
        "beit.encoder.layer.{}.attention.attention.query.bias",
        "beit.layers.{}.attention.q_proj.bias",
    ),
    row(
        "blocks.{}.attn.k_bias",
        "beit.encoder.layer.{}.attention.attention.key.bias",
        "beit.layers.{}.attention.k_proj.bias",
    ),
    row(
        "blocks.{}.attn.v_bias",
        "beit.encoder.layer.{}.attention.attention.value.bias",
        "beit.layers.{}.attention.v_proj.bias",
    ),
    row(
        "blocks.{}.attn.relative_position_bias_table",
        "beit.encoder.layer.{}.attention.attention.relative_position_bias.relative_position_bias_table",
        "beit.layers.{}.relative_position_bias.relative_position_bias_table",
    ),
    row(
        "blocks.{}.attn.relative_position_index",
        "beit.encoder.layer.{}.attention.attention.relative_position_bias.relative_position_index",
        "beit.layers.{}.relative_position_bias.relative_position_index",
    ),
    row(
        "blocks.{}.attn.proj.*",
        "beit.encoder.layer.{}.attention.output.dense.*",
        "beit.layers.{}.attention.o_proj.*",
    ),
    // Ours: transformers has no norms there.
    row(
        "blocks.{}.attn.norm.*",
        "beit.encoder.layer.{}.attention.inner_norm.*",
        "beit.layers.{}.attention.inner_norm.*",
    ),
    row("blocks.{}.mlp.norm.*", "beit.encoder.layer.{}.inner_norm.*", "beit.layers.{}.mlp.inner_norm.*"),
    row("blocks.{}.gamma_1", "beit.encoder.layer.{}.lambda_1", "beit.layers.{}.lambda_1"),
    row("blocks.{}.gamma_2", "beit.encoder.layer.{}.lambda_2", "beit.layers.{}.lambda_2"),
    row("blocks.{}.norm2.*", "beit.encoder.layer.{}.layernorm_after.*", "beit.layers.{}.layernorm_after.*"),
    row("blocks.{}.mlp.fc1.*", "beit.encoder.layer.{}.intermediate.dense.*", "beit.layers.{}.mlp.fc1.*"),
    row("blocks.{}.mlp.fc2.*", "beit.encoder.layer.{}.output.dense.*", "beit.layers.{}.mlp.fc2.*"),
    norm("layernorm.*", |kind| matches!(kind, Kind::Mim)),
    norm("beit.layernorm.*", |kind| !matches!(kind, Kind::Mim)),
    same("lm_head.*", "lm_head.*"),
    // Ours: the ablation that draws pixels.
    same("pixel_head.*", "pixel_head.*"),
    same("fc_norm.*", "beit.pooler.layernorm.*"),
    same("head.*", "classifier.*"),
    // UPerNet: mmsegmentation's names, which transformers keeps on disk but for the last layer.
    row("fpn1.0.*", "fpn1.0.*", "fpn.fpn1.conv_transpose1.*"),
    row("fpn1.1.*", "fpn1.1.*", "fpn.fpn1.normalization.*"),
    row("fpn1.3.*", "fpn1.3.*", "fpn.fpn1.conv_transpose2.*"),
    row("fpn2.0.*", "fpn2.0.*", "fpn.fpn2.*"),
    same("decode_head.conv_seg.*", "decode_head.classifier.*"),
    same("auxiliary_head.conv_seg.*", "auxiliary_head.classifier.*"),
    // SETR-PUP has several; transformers has no such head.
    same("auxiliary_head.{}.conv_seg.*", "auxiliary_head.{}.classifier.*"),
    row(
        "decode_head.psp_modules.{}.1.conv.weight",
        "decode_head.psp_modules.{}.1.conv.weight",
        "decode_head.psp_modules.blocks.{}.conv.convolution.weight",
    ),
    row(
        "decode_head.psp_modules.{}.1.bn.*",
        "decode_head.psp_modules.{}.1.bn.*",
        "decode_head.psp_modules.blocks.{}.conv.normalization.*",
    ),
    row(
        "decode_head.bottleneck.conv.weight",
        "decode_head.bottleneck.conv.weight",
        "decode_head.psp_bottleneck.convolution.weight",
    ),
    row(
        "decode_head.bottleneck.bn.*",
        "decode_head.bottleneck.bn.*",
        "decode_head.psp_bottleneck.normalization.*",
    ),
    row(
        "decode_head.lateral_convs.{}.conv.weight",
        "decode_head.lateral_convs.{}.conv.weight",
        "decode_head.lateral_convs.{}.convolution.weight",
    ),
    row(
        "decode_head.lateral_convs.{}.bn.*",
        "decode_head.lateral_convs.{}.bn.*",
        "decode_head.lateral_convs.{}.normalization.*",
    ),
    row(
        "decode_head.fpn_convs.{}.conv.weight",
        "decode_head.fpn_convs.{}.conv.weight",
        "decode_head.fpn_convs.{}.convolution.weight",
    ),
    row(
        "decode_head.fpn_convs.{}.bn.*",
        "decode_head.fpn_convs.{}.bn.*",
        "decode_head.fpn_convs.{}.normalization.*",
    ),
    row(
        "decode_head.fpn_bottleneck.conv.weight",
        "decode_head.fpn_bottleneck.conv.weight",
        "decode_head.fpn_bottleneck.convolution.weight",
    ),
    row(
        "decode_head.fpn_bottleneck.bn.*",
        "decode_head.fpn_bottleneck.bn.*",
        "decode_head.fpn_bottleneck.normalization.*",
    ),
    row(
        "auxiliary_head.convs.{}.conv.weight",
        "auxiliary_head.convs.{}.conv.weight",
        "auxiliary_head.convs.{}.convolution.weight",
    ),
    row(
        "auxiliary_head.convs.{}.bn.*",
        "auxiliary_head.convs.{}.bn.*",
        "auxiliary_head.convs.{}.normalization.*",
    ),
];

/// Names of a tokenizer: ours, which are those of transformers' `FlavaImageCodebook`, and those of openai/DALL-E.
pub(super) const TOKENIZER: &[(&str, &str)] = &[
    ("blocks.input.weight", "blocks.input.w"),
    ("blocks.input.bias", "blocks.input.b"),
    (
        "blocks.group_{}.group.block_{}.res_path.path.conv_{}.weight",
        "blocks.group_{}.block_{}.res_path.conv_{}.w",
    ),
    (
        "blocks.group_{}.group.block_{}.res_path.path.conv_{}.bias",
        "blocks.group_{}.block_{}.res_path.conv_{}.b",
    ),
    ("blocks.group_{}.group.block_{}.id_path.weight", "blocks.group_{}.block_{}.id_path.w"),
    ("blocks.group_{}.group.block_{}.id_path.bias", "blocks.group_{}.block_{}.id_path.b"),
    ("blocks.output.conv.weight", "blocks.output.conv.w"),
    ("blocks.output.conv.bias", "blocks.output.conv.b"),
];

/// What tools put before every name when they save a model inside another object, in the order in which they are looked for where a file
/// has several models (`beit/run_class_finetuning.py` takes `model`, then `module`; `state_dict` is mmsegmentation's and timm's,
/// `backbone` mmsegmentation's name of a transformer, `image_codebook` the tokenizer inside FLAVA).
pub(super) const WRAPPERS: [&str; 5] = ["model.", "module.", "state_dict.", "backbone.", "image_codebook."];

/// What transformers calls the transformer inside a model with a head: of BEiT, whose name the table has, and of families that share all
/// of its other names.
pub(super) const INNER: [&str; 2] = ["beit.", "data2vec_vision."];

/// What stands beside `backbone.` and belongs to the model.
pub(super) const HEADS: [&str; 2] = ["decode_head.", "auxiliary_head."];

/// What mmsegmentation counts among the transformer's tensors, but belongs to UPerNet.
pub(super) const PYRAMID: [&str; 2] = ["fpn1.", "fpn2."];
