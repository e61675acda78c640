//! The extents of one call of the attention.

use super::variant::Variant;
use crate::gpu::Gpu;
use crate::launch::vector_width;
use crate::tensor::Tensor;
use beit_ops::{AttentionShape, QkvBias};
use cubecl::prelude::*;

/// The extents of one call, and what its kernels are compiled for.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(crate) batch: usize,
    pub(crate) heads: usize,
    pub(crate) tokens: usize,
    pub(crate) variant: Variant,
    /// Elements that a thread loads at once.
    pub(crate) vector: usize,
}

impl Call {
    pub(super) fn new<R: Runtime>(
        gpu: &Gpu<R>,
        qkv: &Tensor,
        bias: &QkvBias<'_, Tensor>,
        shape: AttentionShape,
    ) -> Self {
        let AttentionShape { heads, tokens, window } = shape;
        let d = qkv.last() / 3 / heads;
        let tables = [bias.table.is_some(), bias.shared.is_some()];
        let window = if tables[0] || tables[1] { window } else { [1, 1] };
        let variant = Variant::new(d, window, tables, gpu.tensor_cores(), gpu.shared_memory());
        let vector = if variant.tensor_cores { vector_width(8, &[d]) } else { 1 };
        Self { batch: qkv.rows() / tokens, heads, tokens, variant, vector }
    }

    /// `D^-1/2`
    pub(super) fn scale(&self) -> f32 {
        1.0 / (self.variant.d as f32).sqrt()
    }

    /// One block for each tile of tokens, head and image.
    pub(super) fn grid(&self) -> CubeCount {
        let tiles = self.tokens.div_ceil(self.variant.tile);
        CubeCount::Static(tiles as u32, self.heads as u32, self.batch as u32)
    }
}
