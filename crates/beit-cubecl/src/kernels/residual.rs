//! The sum of a trunk and a branch: `y = x + keep_b · gamma ⊙ branch`, with layer scale `gamma [C]` and drop path `keep [B]`.
//!
//! ```text
//! elements [M, C]    thread i takes vectors i, i + G, ... (see elementwise.rs); its column gives gamma, its image gives keep
//! ```
//!
//! The gradient of `gamma` is a column sum (columns.rs).

use super::columns::{self, Term};
use crate::gpu::Gpu;
use crate::launch::{THREADS, grid, launch};
use crate::tensor::Tensor;
use beit_ops::{BranchGrads, Residual};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// `y = (x) + keep · gamma ⊙ z`, where `x` is added only if `trunk`.
#[cube(launch_unchecked)]
fn scale_rows<X: Float, Z: Float, Y: Float, N: Size>(
    x: &Array<Vector<X, N>>,
    z: &Array<Vector<Z, N>>,
    gamma: &Array<Vector<f32, N>>,
    keep: &Array<f32>,
    y: &mut Array<Vector<Y, N>>,
    columns: usize,
    rows_per_image: usize,
    #[comptime] trunk: bool,
    #[comptime] scaled: bool,
    #[comptime] dropped: bool,
    #[define(X, Z, Y)] _types: [ElemType; 3],
) {
    let mut i = ABSOLUTE_POS;
    while i < y.len() {
        let mut v = Vector::<f32, N>::cast_from(z[i]);
        if scaled {
            v *= gamma[i % columns];
        }
        if dropped {
            v *= Vector::new(keep[i / columns / rows_per_image]);
        }
        if trunk {
            v += Vector::cast_from(x[i]);
        }
        y[i] = Vector::cast_from(v);
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// Writes `y`; `x` is the trunk, if there is one.
fn scale<R: Runtime>(gpu: &Gpu<R>, x: Option<&Tensor>, z: &Tensor, scale: &Residual<'_, Tensor>, y: &Tensor) {
    let n = gpu.vector(&[z.last()]);
    let count = grid(z.len() / n, THREADS as usize);
    let (trunk, gamma, keep) = (x.unwrap_or(z), scale.gamma.unwrap_or(z), scale.keep.unwrap_or(z));
    let (columns, rows) = (z.last() / n, rows_per_image(z, scale));
    let used = [x.is_some(), scale.gamma.is_some(), scale.keep.is_some()];
    let types = [trunk.elem(), z.elem(), y.elem()];
    let (trunk, gamma, keep) = (trunk.arg(), gamma.arg(), keep.arg());
    launch!(scale_rows(
        gpu,
        count,
        CubeDim::new_1d(THREADS),
        n,
        trunk,
        z.arg(),
        gamma,
        keep,
        y.arg(),
        columns,
        rows,
        used[0],
        used[1],
        used[2],
        types,
    ));
}

/// Rows of an image; 1 where no image is dropped.
fn rows_per_image(z: &Tensor, scale: &Residual<'_, Tensor>) -> usize {
    scale.keep.map_or(1, |keep| z.rows() / keep.len())
}

/// `x + keep · gamma ⊙ branch` in the type of `x`.
pub(crate) fn forward<R: Runtime>(
    gpu: &Gpu<R>,
    x: &Tensor,
    branch: &Tensor,
    factors: &Residual<'_, Tensor>,
) -> Tensor {
    let y = gpu.empty(x.shape, x.dtype);
    scale(gpu, Some(x), branch, factors, &y);
    y
}

/// `d_branch = keep · gamma ⊙ dy` in the type of the branch, `d_gamma += Σ keep · dy ⊙ branch`, `d_bias += Σ d_branch`.
pub(crate) fn backward<R: Runtime>(
    gpu: &Gpu<R>,
    dy: &Tensor,
    branch: &Tensor,
    factors: &Residual<'_, Tensor>,
    into: BranchGrads<'_, Tensor>,
) -> Tensor {
    let d_branch = gpu.empty(branch.shape, branch.dtype);
    scale(gpu, None, dy, factors, &d_branch);
    if let Some(d_bias) = into.bias {
        columns::add_column_sums(gpu, &d_branch, d_bias);
    }
    if let Some(d_gamma) = into.gamma {
        let (term, keep) = factors.keep.map_or((Term::Product, branch), |keep| (Term::ScaledProduct, keep));
        let c = dy.last();
        let rows =
            columns::Rows { group: rows_per_image(dy, factors), ..columns::Rows::all(gpu, dy.rows(), c) };
        let sums = columns::partial_sums(gpu, term, [dy, branch], keep, rows, c, 1.0);
        columns::add_partials(gpu, &sums, 0, d_gamma);
    }
    d_branch
}
