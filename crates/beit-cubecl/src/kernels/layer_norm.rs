//! `(x - mean) / sqrt(var + eps) · weight + bias` over each row.
//!
//! ```text
//! row [C]   | v0 | v1 | ... | v31 | v32 | ...      a warp (or a block, see rows.rs) per row; lane l takes vectors l, l + 32, ...
//!
//! forward   three passes over the row: its mean, its variance, its result; the second and third read from the cache
//! backward  two passes: the means of g and g h, then dx; the gradients of weight and bias are column sums (columns.rs)
//! ```

use super::columns::{self, Term};
use super::rows::{RowLaunch, first_row, lane, lanes, row_step, row_sum, vector_sum};
use crate::gpu::Gpu;
use crate::launch::launch;
use crate::tensor::{Dtype, Tensor};
use beit_ops::Norm;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// The norm of one row, and its statistics, where the mean is known. The variance is the mean of squared deviations from the
/// mean, not a difference of moments, which would cancel.
#[cube]
#[allow(clippy::too_many_arguments)]
pub(crate) fn normalise_row<X: Float, Y: Float, N: Size>(
    x: &Array<Vector<X, N>>,
    weight: &Array<Vector<f32, N>>,
    bias: &Array<Vector<f32, N>>,
    y: &mut Array<Vector<Y, N>>,
    stats: &mut Array<f32>,
    row: usize,
    m: usize,
    mean: f32,
    eps: f32,
    #[comptime] block_per_row: bool,
) {
    let columns = weight.len();
    let elements = f32::cast_from(columns * N::value());
    let base = row * columns;
    let mut squares = Vector::<f32, N>::new(0.0f32);
    let mut c = lane(block_per_row);
    while c < columns {
        let deviation = Vector::<f32, N>::cast_from(x[base + c]) - Vector::new(mean);
        squares += deviation * deviation;
        c += lanes(block_per_row);
    }
    let variance = row_sum(vector_sum(squares), block_per_row) / elements;
    let rstd = 1.0 / (variance + eps).sqrt();
    let mut c = lane(block_per_row);
    while c < columns {
        let h = (Vector::<f32, N>::cast_from(x[base + c]) - Vector::new(mean)) * Vector::new(rstd);
        y[base + c] = Vector::cast_from(h * weight[c] + bias[c]);
        c += lanes(block_per_row);
    }
    if lane(block_per_row) == 0 {
        stats[row] = mean;
        stats[m + row] = rstd;
    }
}

/// `x [M, C] -> y [M, C]`, `stats [2, M]`
#[cube(launch_unchecked)]
fn normalise<X: Float, Y: Float, N: Size>(
    x: &Array<Vector<X, N>>,
    weight: &Array<Vector<f32, N>>,
    bias: &Array<Vector<f32, N>>,
    y: &mut Array<Vector<Y, N>>,
    stats: &mut Array<f32>,
    m: usize,
    eps: f32,
    #[comptime] block_per_row: bool,
    #[define(X, Y)] _types: [ElemType; 2],
) {
    let columns = weight.len();
    let elements = f32::cast_from(columns * N::value());
    let mut row = first_row(block_per_row);
    while row < m {
        let base = row * columns;
        let mut sum = Vector::<f32, N>::new(0.0f32);
        let mut c = lane(block_per_row);
        while c < columns {
            sum += Vector::cast_from(x[base + c]);
            c += lanes(block_per_row);
        }
        let mean = row_sum(vector_sum(sum), block_per_row) / elements;
        normalise_row::<X, Y, N>(x, weight, bias, y, stats, row, m, mean, eps, block_per_row);
        row += row_step(block_per_row);
    }
}

/// With `h = (x - mean) rstd` and `g = dy · weight`: the means of `g` and of `g h` over the row that begins at `base`.
#[cube]
pub(crate) fn gradient_means<D: Float, X: Float, N: Size>(
    dy: &Array<Vector<D, N>>,
    x: &Array<Vector<X, N>>,
    weight: &Array<Vector<f32, N>>,
    base: usize,
    mean: Vector<f32, N>,
    rstd: Vector<f32, N>,
    #[comptime] block_per_row: bool,
) -> (Vector<f32, N>, Vector<f32, N>) {
    let columns = weight.len();
    let elements = f32::cast_from(columns * N::value());
    let mut sum_g = Vector::<f32, N>::new(0.0f32);
    let mut sum_gh = Vector::<f32, N>::new(0.0f32);
    let mut c = lane(block_per_row);
    while c < columns {
        let g = Vector::<f32, N>::cast_from(dy[base + c]) * weight[c];
        let h = (Vector::<f32, N>::cast_from(x[base + c]) - mean) * rstd;
        sum_g += g;
        sum_gh += g * h;
        c += lanes(block_per_row);
    }
    let mean_g = Vector::<f32, N>::new(row_sum(vector_sum(sum_g), block_per_row) / elements);
    let mean_gh = Vector::<f32, N>::new(row_sum(vector_sum(sum_gh), block_per_row) / elements);
    (mean_g, mean_gh)
}

/// With `h = (x - mean) rstd` and `g = dy · weight`: `dx = (residual) + rstd (g - mean(g) - h mean(g h))`. `residual`
/// is the gradient that passes the norm by; it is added if `has_residual`.
#[cube(launch_unchecked)]
fn normalise_backward<D: Float, X: Float, P: Float, N: Size>(
    dy: &Array<Vector<D, N>>,
    x: &Array<Vector<X, N>>,
    weight: &Array<Vector<f32, N>>,
    stats: &Array<f32>,
    residual: &Array<Vector<P, N>>,
    dx: &mut Array<Vector<X, N>>,
    m: usize,
    #[comptime] has_residual: bool,
    #[comptime] block_per_row: bool,
    #[define(D, X, P)] _types: [ElemType; 3],
) {
    let columns = weight.len();
    let mut row = first_row(block_per_row);
    while row < m {
        let base = row * columns;
        let mean = Vector::<f32, N>::new(stats[row]);
        let rstd = Vector::<f32, N>::new(stats[m + row]);
        let (mean_g, mean_gh) = gradient_means::<D, X, N>(dy, x, weight, base, mean, rstd, block_per_row);
        let mut c = lane(block_per_row);
        while c < columns {
            let g = Vector::<f32, N>::cast_from(dy[base + c]) * weight[c];
            let h = (Vector::<f32, N>::cast_from(x[base + c]) - mean) * rstd;
            let mut d = rstd * (g - mean_g - h * mean_gh);
            if has_residual {
                d += Vector::cast_from(residual[base + c]);
            }
            dx[base + c] = Vector::cast_from(d);
            c += lanes(block_per_row);
        }
        row += row_step(block_per_row);
    }
}

/// Returns `y [M, C]` and the statistics `[2, M]`: means, then reciprocal deviations.
pub(crate) fn forward<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, p: &Norm<Tensor>, eps: f64) -> (Tensor, Tensor) {
    let (m, c) = (x.rows(), x.last());
    let y = gpu.empty(x.shape, gpu.activation());
    let stats = gpu.empty([2, m], Dtype::F32);
    let RowLaunch { n, count, dim, block_per_row } = RowLaunch::new(gpu, m, c);
    let (weight, bias, types) = (p.weight.arg(), p.bias.arg(), [x.elem(), y.elem()]);
    launch!(normalise(
        gpu,
        count,
        dim,
        n,
        x.arg(),
        weight,
        bias,
        y.arg(),
        stats.arg(),
        m,
        eps as f32,
        block_per_row,
        types
    ));
    (y, stats)
}

/// Returns `dx [M, C]` in the type of `x`, plus `residual` where there is one. Adds `Σ dy h` to the gradient of the weight and
/// `Σ dy` to that of the bias.
pub(crate) fn backward<R: Runtime>(
    gpu: &Gpu<R>,
    dy: &Tensor,
    x: &Tensor,
    p: &Norm<Tensor>,
    stats: &Tensor,
    dp: &mut Norm<Tensor>,
    residual: Option<&Tensor>,
) -> Tensor {
    let (m, c) = (x.rows(), x.last());
    let dx = gpu.empty(x.shape, x.dtype);
    let RowLaunch { n, count, dim, block_per_row } = RowLaunch::new(gpu, m, c);
    let added = residual.unwrap_or(dy);
    let types = [dy.elem(), x.elem(), added.elem()];
    let (weight, saved) = (p.weight.arg(), stats.arg());
    launch!(normalise_backward(
        gpu,
        count,
        dim,
        n,
        dy.arg(),
        x.arg(),
        weight,
        saved,
        added.arg(),
        dx.arg(),
        m,
        residual.is_some(),
        block_per_row,
        types
    ));
    let sums =
        columns::partial_sums(gpu, Term::Normed, [dy, x], stats, columns::Rows::all(gpu, m, c), c, 1.0);
    columns::add_partials(gpu, &sums, 0, &mut dp.weight);
    columns::add_partials(gpu, &sums, 1, &mut dp.bias);
    dx
}
