//! `(x - mean) / sqrt(var + eps) · weight + bias` over each row.

use super::columns::{self, Term};
use super::rows::{RowLaunch, first_row, lane, lanes, row_step, row_sum, sum_of};
use crate::gpu::Gpu;
use crate::launch::launch;
use crate::tensor::{Dtype, Tensor};
use beit_ops::Norm;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// `x [M, C] -> y [M, C]`, `stats [2, M]`. The variance is that of the deviations from the mean, not a difference of
/// moments: the row is read three times, twice from the cache.
#[cube(launch_unchecked)]
fn normalise<X: Float, Y: Float, N: Size>(
    x: &Array<Vector<X, N>>,
    weight: &Array<Vector<f32, N>>,
    bias: &Array<Vector<f32, N>>,
    y: &mut Array<Vector<Y, N>>,
    stats: &mut Array<f32>,
    m: usize,
    eps: f32,
    #[comptime] whole: bool,
    #[define(X, Y)] _types: [ElemType; 2],
) {
    let columns = weight.len();
    let elements = f32::cast_from(columns * N::value());
    let mut row = first_row(whole);
    while row < m {
        let base = row * columns;
        let mut sum = Vector::<f32, N>::new(0.0f32);
        let mut c = lane(whole);
        while c < columns {
            sum += Vector::cast_from(x[base + c]);
            c += lanes(whole);
        }
        let mean = row_sum(sum_of(sum), whole) / elements;
        let mut squares = Vector::<f32, N>::new(0.0f32);
        let mut c = lane(whole);
        while c < columns {
            let deviation = Vector::<f32, N>::cast_from(x[base + c]) - Vector::new(mean);
            squares += deviation * deviation;
            c += lanes(whole);
        }
        let variance = row_sum(sum_of(squares), whole) / elements;
        let rstd = 1.0 / (variance + eps).sqrt();
        let mut c = lane(whole);
        while c < columns {
            let h = (Vector::<f32, N>::cast_from(x[base + c]) - Vector::new(mean)) * Vector::new(rstd);
            y[base + c] = Vector::cast_from(h * weight[c] + bias[c]);
            c += lanes(whole);
        }
        if lane(whole) == 0 {
            stats[row] = mean;
            stats[m + row] = rstd;
        }
        row += row_step(whole);
    }
}

/// With `h = (x - mean) rstd` and `g = dy · weight`: `dx = (past) + rstd (g - mean(g) - h mean(g h))`, where `past` is added
/// only if there is one.
#[cube(launch_unchecked)]
fn normalise_backward<D: Float, X: Float, P: Float, N: Size>(
    dy: &Array<Vector<D, N>>,
    x: &Array<Vector<X, N>>,
    weight: &Array<Vector<f32, N>>,
    stats: &Array<f32>,
    past: &Array<Vector<P, N>>,
    dx: &mut Array<Vector<X, N>>,
    m: usize,
    #[comptime] passed: bool,
    #[comptime] whole: bool,
    #[define(D, X, P)] _types: [ElemType; 3],
) {
    let columns = weight.len();
    let elements = f32::cast_from(columns * N::value());
    let mut row = first_row(whole);
    while row < m {
        let base = row * columns;
        let mean = Vector::<f32, N>::new(stats[row]);
        let rstd = Vector::<f32, N>::new(stats[m + row]);
        let mut sum_g = Vector::<f32, N>::new(0.0f32);
        let mut sum_gh = Vector::<f32, N>::new(0.0f32);
        let mut c = lane(whole);
        while c < columns {
            let g = Vector::<f32, N>::cast_from(dy[base + c]) * weight[c];
            let h = (Vector::<f32, N>::cast_from(x[base + c]) - mean) * rstd;
            sum_g += g;
            sum_gh += g * h;
            c += lanes(whole);
        }
        let mean_g = Vector::<f32, N>::new(row_sum(sum_of(sum_g), whole) / elements);
        let mean_gh = Vector::<f32, N>::new(row_sum(sum_of(sum_gh), whole) / elements);
        let mut c = lane(whole);
        while c < columns {
            let g = Vector::<f32, N>::cast_from(dy[base + c]) * weight[c];
            let h = (Vector::<f32, N>::cast_from(x[base + c]) - mean) * rstd;
            let mut d = rstd * (g - mean_g - h * mean_gh);
            if passed {
                d += Vector::cast_from(past[base + c]);
            }
            dx[base + c] = Vector::cast_from(d);
            c += lanes(whole);
        }
        row += row_step(whole);
    }
}

/// Returns `y [M, C]` and the statistics `[2, M]`: means, then reciprocal deviations.
pub(crate) fn forward<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, p: &Norm<Tensor>, eps: f64) -> (Tensor, Tensor) {
    let (m, c) = (x.rows(), x.last());
    let y = gpu.empty(x.shape, gpu.activation());
    let stats = gpu.empty([2, m], Dtype::F32);
    let RowLaunch { n, count, dim, whole } = RowLaunch::new(gpu, m, c);
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
        whole,
        types
    ));
    (y, stats)
}

/// Returns `dx [M, C]` in the type of `x`, plus `past` where there is one; adds `Σ dy h` to the gradient of the weight, `Σ dy`
/// to that of the bias.
pub(crate) fn backward<R: Runtime>(
    gpu: &Gpu<R>,
    dy: &Tensor,
    x: &Tensor,
    p: &Norm<Tensor>,
    stats: &Tensor,
    dp: &mut Norm<Tensor>,
    past: Option<&Tensor>,
) -> Tensor {
    let (m, c) = (x.rows(), x.last());
    let dx = gpu.empty(x.shape, x.dtype);
    let RowLaunch { n, count, dim, whole } = RowLaunch::new(gpu, m, c);
    let added = past.unwrap_or(dy);
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
        past.is_some(),
        whole,
        types
    ));
    let sums = columns::blocks(gpu, Term::Normed, [dy, x], stats, columns::Rows::of(m, c), c, 1.0);
    columns::finish(gpu, &sums, 0, &mut dp.weight);
    columns::finish(gpu, &sums, 1, &mut dp.bias);
    dx
}
