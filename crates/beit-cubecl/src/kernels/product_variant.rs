//! What the kernel of a matrix product is compiled for: layouts of the operands, what becomes of a sum, the tile.
//!
//! ```text
//! tile of an operand in memory order       along k                       across k
//!
//!   slow  0  |<-- contiguous -->|pad|      slow is m or n                slow is k
//!         1  |                  |   |      contiguous is k               contiguous is m or n
//!         :  |<------ stride ------>|
//! ```

use super::sums::{SharedLayout, TileShape};
use super::tile::Tile;
use crate::launch::THREADS;

/// How an operand lies in device memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Layout {
    /// Whether the summed axis is the contiguous one.
    pub(crate) k_contiguous: bool,
    /// 0 for a matrix. Otherwise the operand is a feature map `[B, h, w, C]` under a filter of this side: a matrix of pixels by
    /// (line, column, channel), the channel contiguous.
    pub(crate) filter: usize,
}

/// What becomes of a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Epilogue {
    /// `y = sum`
    Store,
    /// `aux = sum`, `y = gelu(sum)`
    Gelu,
    /// `y = gelu(sum)`
    GeluOnly,
    /// `y = max(sum, 0)`; NaN stays NaN.
    Relu,
    /// `y = aux + scale · sum`
    AddScaled,
    /// `y = sum · gelu'(aux)`
    GeluBackward,
    /// `y += sum`
    Accumulate,
    /// `y[z] = sum`, for split z of the summed axis.
    Partial,
}

/// Everything about a product that its kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Variant {
    pub(crate) a: Layout,
    pub(crate) b: Layout,
    pub(crate) epilogue: Epilogue,
    pub(crate) bias: bool,
    /// Whether the grid has more than one row of tiles along x. Blocks divide to find their tile only then: registers are scarce.
    pub(crate) rows_along_x: bool,
    pub(crate) tile: Tile,
}

/// The tile of one operand: its extents in memory order, and the stride of its rows in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OperandTile {
    pub(crate) slow: usize,
    pub(crate) contiguous: usize,
    pub(crate) stride: usize,
    pub(crate) layout: Layout,
}

impl OperandTile {
    /// Vectors of `wide` elements in a row.
    pub(crate) fn per_row(&self, wide: usize) -> usize {
        self.contiguous / wide
    }

    /// Vectors of `wide` elements that each thread moves.
    pub(crate) fn per_thread(&self, wide: usize) -> usize {
        self.slow * self.per_row(wide) / THREADS as usize
    }

    /// Elements of a buffer in shared memory.
    pub(crate) fn buffer(&self) -> usize {
        self.slow * self.stride
    }
}

impl Variant {
    fn operand(&self, layout: Layout, outer: usize) -> OperandTile {
        let k = self.tile.k;
        let [slow, contiguous] = if layout.k_contiguous { [outer, k] } else { [k, outer] };
        // Against bank conflicts: see product.rs.
        let padding = if self.tile.tensor_cores { 8 } else { 1 };
        OperandTile { slow, contiguous, stride: contiguous + padding, layout }
    }

    pub(crate) fn operand_a(&self) -> OperandTile {
        self.operand(self.a, self.tile.m)
    }

    pub(crate) fn operand_b(&self) -> OperandTile {
        self.operand(self.b, self.tile.n)
    }

    /// The product of two tiles in shared memory.
    pub(crate) fn shape(&self) -> TileShape {
        let Tile { m, n, k, warps, tensor_cores, .. } = self.tile;
        let shared =
            |tile: OperandTile| SharedLayout { k_contiguous: tile.layout.k_contiguous, stride: tile.stride };
        TileShape { m, n, k, a: shared(self.operand_a()), b: shared(self.operand_b()), warps, tensor_cores }
    }
}
