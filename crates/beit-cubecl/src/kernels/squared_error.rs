//! The mean squared error.
//!
//! ```text
//! y, target [M, C]       thread = one element at a time, grid-stride
//!
//! forward    a block adds up its terms: registers, shuffles, shared memory (rows.rs) -> partials [512]; one block adds those
//! backward   each thread writes its gradient
//! ```

use super::rows::{row_sum, totals};
use crate::gpu::Gpu;
use crate::launch::{THREADS, grid, launch};
use crate::tensor::{Dtype, Tensor};
use beit_ops::SquaredErrorOps;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// The most blocks of the first step of the sum. The number is part of the result's definition, since it fixes the order of
/// the additions.
const PARTIALS: usize = 512;

/// `(y - target)²` summed over the elements of each block.
#[cube(launch_unchecked)]
fn add_squares<Y: Float, X: Float>(
    y: &Array<Y>,
    target: &Array<X>,
    partials: &mut Array<f32>,
    #[define(Y, X)] _types: [ElemType; 2],
) {
    let mut sum = 0.0f32;
    let mut i = ABSOLUTE_POS;
    while i < y.len() {
        let error = f32::cast_from(y[i]) - f32::cast_from(target[i]);
        sum += error * error;
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
    let sum = row_sum(sum, true);
    if UNIT_POS == 0 {
        partials[CUBE_POS] = sum;
    }
}

/// `dy = factor (y - target)`
#[cube(launch_unchecked)]
fn add_squares_backward<Y: Float, X: Float, D: Float>(
    y: &Array<Y>,
    target: &Array<X>,
    dy: &mut Array<D>,
    factor: f32,
    #[define(Y, X, D)] _types: [ElemType; 3],
) {
    let mut i = ABSOLUTE_POS;
    while i < y.len() {
        dy[i] = D::cast_from((f32::cast_from(y[i]) - f32::cast_from(target[i])) * factor);
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

impl<R: Runtime> SquaredErrorOps for Gpu<R> {
    fn squared_error(&self, y: &Tensor, target: &Tensor) -> Tensor {
        let blocks = y.len().div_ceil(THREADS as usize).clamp(1, PARTIALS);
        let partials = self.empty([1, blocks], Dtype::F32);
        let (count, dim) = (grid(blocks, 1), CubeDim::new_1d(THREADS));
        let types = [y.elem(), target.elem()];
        launch!(add_squares(self, count, dim, y.arg(), target.arg(), partials.arg(), types));
        totals(self, &partials, [1.0 / y.len() as f64, 0.0])
    }
    fn squared_error_backward(&self, y: &Tensor, target: &Tensor, scale: f32) -> Tensor {
        let dy = self.empty(y.shape, self.activation());
        let (count, dim) = (grid(y.len(), THREADS as usize), CubeDim::new_1d(THREADS));
        let factor = (2.0 * f64::from(scale) / y.len() as f64) as f32;
        let types = [y.elem(), target.elem(), dy.elem()];
        launch!(add_squares_backward(self, count, dim, y.arg(), target.arg(), dy.arg(), factor, types));
        dy
    }
}
