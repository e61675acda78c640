//! Families of transformers that are BEiT's architecture under another name.

use crate::names::Kind;
use beit_vit::Config;

/// What transformers calls a family in `config.json`. Its names of tensors are a row of `INNER` in `names/table.rs`.
pub(super) struct Family {
    pub(super) model_type: &'static str,
    pub(super) class: &'static str,
}

/// Ours, for blocks that transformers' BEiT does not have: norms inside, or a bias of the keys, as BEiT-3's image tower. It must not take
/// such a model for one that it has.
const WITHIN: Family = Family { model_type: "beit3-vision", class: "Beit3Vision" };

/// BEiT, which [DiT](https://arxiv.org/abs/2203.02378) goes by as well, and [data2vec's vision model](https://arxiv.org/abs/2202.03555).
const FAMILIES: [Family; 3] = [
    Family { model_type: "beit", class: "Beit" },
    Family { model_type: "data2vec-vision", class: "Data2VecVision" },
    WITHIN,
];

/// How the name of a class goes on after the family's.
const HEADS: [(&str, Kind); 4] = [
    ("ForMaskedImageModeling", Kind::Mim),
    ("ForImageClassification", Kind::Classifier),
    ("ForSemanticSegmentation", Kind::Segmenter),
    ("Model", Kind::Encoder),
];

/// The type of model and the class that a transformer with this head is described by.
pub(super) fn described_by(vit: &Config, kind: Kind) -> (&'static str, String) {
    let family = if vit.inner_norms || vit.key_bias { &WITHIN } else { &FAMILIES[0] };
    let head = HEADS.iter().find(|(_, own)| *own == kind).map_or("Model", |(head, _)| head);
    (family.model_type, format!("{}{head}", family.class))
}

/// What a class of transformers holds, if it is one of these families'.
pub(super) fn kind_of_class(class: &str) -> Option<Kind> {
    let head = FAMILIES.iter().find_map(|family| class.strip_prefix(family.class))?;
    HEADS.iter().find(|(name, _)| *name == head).map(|(_, kind)| *kind)
}

/// Whether a `model_type` is one of these families'.
pub(super) fn is_model_type(model_type: &str) -> bool {
    FAMILIES.iter().any(|family| family.model_type == model_type)
}

/// All of them, for a message.
pub(super) fn model_types() -> String {
    FAMILIES.map(|family| family.model_type).join(", ")
}
