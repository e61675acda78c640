//! What timm's architectures are, where their files do not say it.

/// Of an architecture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Usual {
    /// How the names of its sizes for pictures begin.
    prefix: &'static str,
    /// C
    pub(super) width: usize,
    /// H
    pub(super) heads: usize,
    /// Of all layer norms.
    pub(super) eps: f64,
}

const fn row(prefix: &'static str, width: usize, heads: usize, eps: f64) -> Usual {
    Usual { prefix, width, heads, eps }
}

/// timm/models/beit.py, eva.py and vision_transformer.py.
const USUAL: [Usual; 7] = [
    row("beit_base_patch16_", 768, 12, 1e-6),
    row("beit_large_patch16_", 1024, 16, 1e-6),
    row("beitv2_base_patch16_", 768, 12, 1e-6),
    row("beitv2_large_patch16_", 1024, 16, 1e-6),
    row("eva_giant_patch14_", 1408, 16, 1e-6),
    row("beit3_base_patch16_", 768, 12, 1e-5),
    row("beit3_large_patch16_", 1024, 16, 1e-5),
];

/// The architecture of this name, with or without the tag of its weights.
pub(super) fn usual(architecture: &str) -> Option<Usual> {
    USUAL.into_iter().find(|usual| architecture.starts_with(usual.prefix))
}
