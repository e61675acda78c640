//! The sum of a trunk and a branch, and the norm that follows it, in one kernel.
//!
//! ```text
//! row [C]   | v0 | v1 | ... | v31 | v32 | ...      a warp (or a block, see rows.rs) per row; lane l takes vectors l, l + 32, ...
//!
//! pass 1    reads x and branch, writes y, adds up the mean
//! pass 2, 3 read y again from the cache, for variance and result
//! ```
//!
//! Apart, the norm would read y from device memory once more.

use super::layer_norm::{self, normalise_row};
use super::residual;
use super::rows::{RowLaunch, first_row, lane, lanes, row_step, row_sum, vector_sum};
use super::sum_norm;
use crate::gpu::Gpu;
use crate::launch::launch;
use crate::tensor::{Dtype, Tensor};
use beit_ops::{BranchGrads, Norm, Residual, ResidualOps, ResidualTraining, SumNorm, SumNormGrads};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// `y = x + keep · gamma ⊙ branch`, `normed = (y - mean) rstd · weight + bias`, `stats [2, M]`. A thread reads only what it
/// wrote itself, so no barrier is needed.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn add_and_normalise<X: Float, Z: Float, Y: Float, N: Size>(
    x: &Array<Vector<X, N>>,
    branch: &Array<Vector<Z, N>>,
    gamma: &Array<Vector<f32, N>>,
    keep: &Array<f32>,
    weight: &Array<Vector<f32, N>>,
    bias: &Array<Vector<f32, N>>,
    y: &mut Array<Vector<X, N>>,
    normed: &mut Array<Vector<Y, N>>,
    stats: &mut Array<f32>,
    m: usize,
    rows_per_image: usize,
    eps: f32,
    #[comptime] scaled: bool,
    #[comptime] dropped: bool,
    #[comptime] block_per_row: bool,
    #[define(X, Z, Y)] _types: [ElemType; 3],
) {
    let columns = weight.len();
    let elements = f32::cast_from(columns * N::value());
    let mut row = first_row(block_per_row);
    while row < m {
        let base = row * columns;
        let mut sum = Vector::<f32, N>::new(0.0f32);
        let mut c = lane(block_per_row);
        while c < columns {
            let mut v = Vector::<f32, N>::cast_from(branch[base + c]);
            if scaled {
                v *= gamma[c];
            }
            if dropped {
                v *= Vector::new(keep[row / rows_per_image]);
            }
            v += Vector::cast_from(x[base + c]);
            // Of what is stored, so that the norm of y alone has the same bits.
            let stored = Vector::<X, N>::cast_from(v);
            y[base + c] = stored;
            sum += Vector::cast_from(stored);
            c += lanes(block_per_row);
        }
        let mean = row_sum(vector_sum(sum), block_per_row) / elements;
        normalise_row::<X, Y, N>(y, weight, bias, normed, stats, row, m, mean, eps, block_per_row);
        row += row_step(block_per_row);
    }
}

/// Returns `y [M, C]` in the type of `x`, its norm, and the statistics `[2, M]`.
pub(crate) fn forward<R: Runtime>(
    gpu: &Gpu<R>,
    x: &Tensor,
    branch: &Tensor,
    scale: &Residual<'_, Tensor>,
    p: &Norm<Tensor>,
    eps: f64,
) -> (Tensor, Tensor, Tensor) {
    let (m, c) = (x.rows(), x.last());
    let y = gpu.empty(x.shape, x.dtype);
    let normed = gpu.empty(x.shape, gpu.activation());
    let stats = gpu.empty([2, m], Dtype::F32);
    let RowLaunch { n, count, dim, block_per_row } = RowLaunch::new(gpu, m, c);
    let rows = scale.keep.map_or(1, |keep| m / keep.len());
    let (gamma, keep) = (scale.gamma.unwrap_or(&p.weight), scale.keep.unwrap_or(&p.weight));
    launch!(add_and_normalise(
        gpu,
        count,
        dim,
        n,
        x.arg(),
        branch.arg(),
        gamma.arg(),
        keep.arg(),
        p.weight.arg(),
        p.bias.arg(),
        y.arg(),
        normed.arg(),
        stats.arg(),
        m,
        rows,
        eps as f32,
        scale.gamma.is_some(),
        scale.keep.is_some(),
        block_per_row,
        [x.elem(), branch.elem(), normed.elem()],
    ));
    (y, normed, stats)
}

impl<R: Runtime> ResidualOps for Gpu<R> {
    fn layer_norm(&self, x: &Tensor, p: &Norm<Tensor>, eps: f64) -> Tensor {
        layer_norm::forward(self, x, p, eps).0
    }
    fn scale_residual(&self, x: &Tensor, branch: &Tensor, scale: &Residual<'_, Tensor>) -> Tensor {
        residual::forward(self, x, branch, scale)
    }
    fn scale_residual_norm(
        &self,
        x: &Tensor,
        branch: &Tensor,
        scale: &Residual<'_, Tensor>,
        p: &Norm<Tensor>,
        eps: f64,
    ) -> (Tensor, Tensor) {
        let (y, normed, _) = forward(self, x, branch, scale, p, eps);
        (y, normed)
    }
}

impl<R: Runtime> ResidualTraining for Gpu<R> {
    /// `[2, M]`: means, then reciprocal deviations; f32.
    type Stats = Tensor;

    fn layer_norm_forward(&self, x: &Tensor, p: &Norm<Tensor>, eps: f64) -> (Tensor, Tensor) {
        layer_norm::forward(self, x, p, eps)
    }
    fn layer_norm_backward(
        &self,
        dy: &Tensor,
        x: &Tensor,
        p: &Norm<Tensor>,
        stats: &Tensor,
        dp: &mut Norm<Tensor>,
    ) -> Tensor {
        layer_norm::backward(self, dy, x, p, stats, dp, None)
    }
    fn scale_residual_backward(
        &self,
        dy: &Tensor,
        branch: &Tensor,
        scale: &Residual<'_, Tensor>,
        into: BranchGrads<'_, Tensor>,
    ) -> Tensor {
        residual::backward(self, dy, branch, scale, into)
    }
    fn scale_residual_norm_forward(
        &self,
        x: &Tensor,
        branch: &Tensor,
        scale: &Residual<'_, Tensor>,
        p: &Norm<Tensor>,
        eps: f64,
    ) -> (Tensor, Tensor, Tensor) {
        forward(self, x, branch, scale, p, eps)
    }
    fn layer_norm_backward_residual(
        &self,
        d_normed: &Tensor,
        x: &Tensor,
        p: &Norm<Tensor>,
        stats: &Tensor,
        dp: &mut Norm<Tensor>,
        dy: &Tensor,
    ) -> Tensor {
        layer_norm::backward(self, d_normed, x, p, stats, dp, Some(dy))
    }
    fn scale_residual_norm_backward(
        &self,
        grads: SumNormGrads<'_, Tensor>,
        given: &SumNorm<'_, Tensor, Tensor>,
        dp: &mut Norm<Tensor>,
        into: BranchGrads<'_, Tensor>,
    ) -> (Tensor, Tensor) {
        sum_norm::backward(self, &grads, given, dp, into)
    }
}
