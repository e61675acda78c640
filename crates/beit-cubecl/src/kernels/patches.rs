//! The patches of a feature map as a matrix in memory, for a convolution of few channels on tensor cores.
//!
//! ```text
//! x [B, h, w, I]                        row of a pixel, for a filter of 3 x 3
//!
//!   . . . . .                           | a a a | b b b | c c c | ... | i i i | 0 .. 0 |
//!   . a b c .                             tap a: its channels                   up to whole copies
//!   . d e f .     e: the pixel
//!   . g h i .
//! ```
//!
//! The product gathers patches while it loads them, a vector of one tap's channels at a time. Three channels leave it single elements to
//! load, each with a tap of its own to find. So they are gathered once, and what follows is a product of matrices. The tokenizer's
//! first convolution is the one that needs it: 3 channels under a filter of 7 x 7 are rows of 147 elements, 152 with zeros.

use super::hopper::COPIED;
use super::multiply::Operand;
use super::product::{Map, MapLaunch, load_vector};
use crate::gpu::Gpu;
use crate::launch::{THREADS, grid, launch};
use crate::tensor::Tensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// The patches that a convolution sees, as an operand of a product.
pub(super) struct Patches {
    /// The matrix where it was written out, else the feature map.
    tensor: Tensor,
    /// Of the filter; 0 where the patches are written out.
    side: usize,
    /// Elements of a patch, with the zeros after it.
    pub(super) row: usize,
}

impl Patches {
    /// Of the feature map `x [B, h, w, I]`, in the type that products read, under a filter of `side` x `side`.
    pub(super) fn new<R: Runtime>(gpu: &Gpu<R>, x: Tensor, side: usize) -> Self {
        let [.., channels] = x.map();
        let row = side * side * channels;
        if !gpu.tensor_cores() || side == 1 || channels >= COPIED {
            return Self { tensor: x, side, row };
        }
        let row = row.next_multiple_of(COPIED);
        Self { tensor: unfold(gpu, &x, side, row), side: 0, row }
    }

    pub(super) fn operand(&self) -> Operand<'_> {
        let operand = Operand::along(&self.tensor);
        if self.side == 0 { operand } else { operand.patches(self.side) }
    }
}

/// `[B·h·w, row]`
fn unfold<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, side: usize, row: usize) -> Tensor {
    let [b, h, w, c] = x.map();
    let patches = gpu.empty([b * h * w, row], x.dtype);
    let count = grid(patches.len() / COPIED, THREADS as usize);
    let (dim, map, elem) = (CubeDim::new_1d(THREADS), MapLaunch::new(h, w, c), x.elem());
    launch!(write_patches(gpu, count, dim, 1, COPIED, x.arg(), patches.arg(), map, row, side, elem));
    patches
}

/// Each thread writes whole vectors of a row, gathered as the product gathers its own.
#[cube(launch_unchecked)]
fn write_patches<X: Float, One: Size, N: Size>(
    x: &Array<Vector<X, One>>,
    patches: &mut Array<Vector<X, N>>,
    map: &Map,
    row: usize,
    #[comptime] side: usize,
    #[define(X)] _elem: ElemType,
) {
    let end = (patches.len() * N::value() / row, comptime!(side * side) * map.c);
    let mut vector = ABSOLUTE_POS;
    while vector < patches.len() {
        let pixel = vector * N::value() / row;
        let first = vector * N::value() % row;
        let mut values = Vector::<X, N>::empty();
        #[unroll]
        for i in 0..N::value() {
            let element = load_vector::<X, X, One>(x, (pixel, first + i), end, row, map, side);
            values[i] = element[0];
        }
        patches[vector] = values;
        vector += CUBE_COUNT * CUBE_DIM as usize;
    }
}
