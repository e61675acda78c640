//! What a matrix product is made of: two operands, each a matrix or the patches of a feature map.
//!
//! ```text
//! C [m, n] = sum over k of A (m, k) · B (n, k)
//!
//! along k       memory is contiguous along k: rows of a matrix that is summed over its columns
//! across k      memory is contiguous along m (or n): each row of memory has one k
//! patches       a feature map [B, h, w, C], seen as the matrix (pixel, (line, column, channel)) of the filter's taps around each pixel
//! ```

use super::product_variant::Layout;
use crate::tensor::Tensor;

/// An operand of a product.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub(crate) tensor: &'a Tensor,
    pub(crate) layout: Layout,
}

impl<'a> Operand<'a> {
    /// A matrix that is contiguous along the summed axis.
    pub(crate) fn along(tensor: &'a Tensor) -> Self {
        Self { tensor, layout: Layout { k_contiguous: true, filter: 0 } }
    }

    /// A matrix in which the summed axis is the slow one.
    pub(crate) fn across(tensor: &'a Tensor) -> Self {
        Self { tensor, layout: Layout { k_contiguous: false, filter: 0 } }
    }

    /// The patches that a filter of `side` x `side` sees of a feature map, [`along`](Operand::along) or
    /// [`across`](Operand::across) the taps.
    pub(crate) fn patches(mut self, side: usize) -> Self {
        // The patches of one pixel are the feature map itself, as a matrix.
        self.layout.filter = if side == 1 { 0 } else { side };
        self
    }
}

/// A product `[M, N]`, summed over K.
pub(crate) struct Product<'a> {
    pub(crate) a: Operand<'a>,
    pub(crate) b: Operand<'a>,
    /// M, N, K
    pub(crate) extents: [usize; 3],
    /// `[N]`, f32, added to each row of the result.
    pub(crate) bias: Option<&'a Tensor>,
}

/// Where a result goes.
#[derive(Clone, Copy)]
pub(crate) struct Output<'a> {
    /// What the epilogue reads or writes besides.
    pub(crate) aux: Option<&'a Tensor>,
    pub(crate) y: &'a Tensor,
    /// Of the result, where it is added to `aux`.
    pub(crate) scale: f32,
    /// `[1, tiles along M, N]`: the sums of the result over the rows of each tile. On Hopper alone.
    pub(crate) sums: Option<&'a Tensor>,
}

impl<'a> Output<'a> {
    pub(crate) fn new(y: &'a Tensor) -> Self {
        Self { aux: None, y, scale: 1.0, sums: None }
    }

    pub(crate) fn with(self, aux: &'a Tensor) -> Self {
        Self { aux: Some(aux), ..self }
    }
}

impl Product<'_> {
    /// The extents `[h, w, C]` of the feature map that an operand is; ones where both are matrices.
    pub(crate) fn map(&self) -> [usize; 3] {
        let map = [self.a, self.b].into_iter().find(|operand| operand.layout.filter > 0);
        map.map_or([1; 3], |operand| {
            let [_, h, w, c] = operand.tensor.map();
            [h, w, c]
        })
    }

    /// For A and B: how many elements lie side by side in memory, so that vectors of a divisor of it can be loaded.
    pub(crate) fn contiguous(&self) -> [usize; 2] {
        let [m, n, k] = self.extents;
        let [_, _, channels] = self.map();
        [(self.a, m), (self.b, n)].map(|(operand, outer)| match operand.layout {
            Layout { filter: 0, k_contiguous: true } => k,
            Layout { filter: 0, k_contiguous: false } => outer,
            Layout { .. } => channels,
        })
    }
}
