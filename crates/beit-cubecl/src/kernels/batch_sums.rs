//! What batch norm sums over all rows `[M, C]` of a batch: its statistics, and the gradients of weight and bias.
//!
//! ```text
//! x [M, C]  ->  partial sums [segments, C]  ->  means [C]                                  blocks as in columns.rs
//! x, means  ->  partial sums of (x - mean)²  ->  reciprocal standard deviations [C]
//!
//! backward      partial sums of g and g h [2, segments, C]  ->  both sums [2, C], and onto the gradients
//! ```
//!
//! - The second pass of the statistics knows the mean: a difference of moments would cancel.
//! - A kernel that adds the segments also moves the running statistics or adds to the gradients, so a sum is read once.

use super::columns::{LANES, ROWS_AT_ONCE, Rows, block_column_sum, own_column, sum_of_segments};
use super::nan::unless_negative;
use crate::gpu::Gpu;
use crate::launch::launch;
use crate::tensor::{Dtype, Tensor};
use beit_ops::{BATCH_NORM_MOMENTUM, Norm, Running};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// A statistic of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Moment {
    /// `Σ x / M`
    Mean,
    /// `Σ (x - mean)² / M`
    Variance,
}

/// Partial sums `[segments, C]` of `x` or of `(x - stats[0])²`.
#[cube(launch_unchecked)]
fn sum_moment<X: Float, N: Size>(
    x: &Array<Vector<X, N>>,
    stats: &Array<Vector<f32, N>>,
    partials: &mut Array<Vector<f32, N>>,
    m: usize,
    columns: usize,
    segment: usize,
    #[comptime] moment: Moment,
    #[define(X)] _elem: ElemType,
) {
    let column = own_column();
    let first = CUBE_POS_Y as usize * segment;
    let end = min(first + segment, m);
    let mut sum = Vector::<f32, N>::new(0.0f32);
    if column < columns {
        let mut mean = Vector::<f32, N>::new(0.0f32);
        if comptime!(moment == Moment::Variance) {
            mean = stats[column];
        }
        let mut row = first + UNIT_POS_Y as usize;
        while row < end {
            let deviation = Vector::<f32, N>::cast_from(x[row * columns + column]) - mean;
            sum += match moment {
                Moment::Mean => deviation,
                Moment::Variance => deviation * deviation,
            };
            row += ROWS_AT_ONCE as usize;
        }
    }
    let mut shared = SharedMemory::<Vector<f32, N>>::new(comptime!((LANES * ROWS_AT_ONCE) as usize));
    let total = block_column_sum::<N>(&mut shared, sum);
    if UNIT_POS_Y == 0 && column < columns {
        partials[CUBE_POS_Y as usize * columns + column] = total;
    }
}

/// Writes the means or the reciprocal standard deviations to `stats [2, C]`, and moves the running statistic by `take` of the sum.
#[cube(launch_unchecked)]
fn finish_moment<N: Size>(
    partials: &Array<Vector<f32, N>>,
    stats: &mut Array<Vector<f32, N>>,
    running: &mut Array<Vector<f32, N>>,
    segments: usize,
    share: f32,
    take: f32,
    eps: f32,
    #[comptime] moment: Moment,
) {
    let columns = running.len();
    let column = own_column();
    let statistic = sum_of_segments::<N>(partials, 0, segments, columns) * Vector::new(share);
    if UNIT_POS_Y == 0 && column < columns {
        let keep = comptime!((1.0 - BATCH_NORM_MOMENTUM) as f32);
        running[column] = running[column] * Vector::new(keep) + statistic * Vector::new(take);
        match moment {
            Moment::Mean => stats[column] = statistic,
            Moment::Variance => {
                stats[columns + column] = Vector::new(1.0f32) / Vector::sqrt(statistic + Vector::new(eps));
            }
        }
    }
}

/// The gradient that reaches the norm: `dy`, or with a ReLU after it zero where its result `y` is.
#[cube]
pub(crate) fn passed<D: Float, Y: Float, N: Size>(
    dy: &Array<Vector<D, N>>,
    y: &Array<Vector<Y, N>>,
    i: usize,
    #[comptime] relu: bool,
) -> Vector<f32, N> {
    let mut g = Vector::<f32, N>::cast_from(dy[i]);
    if relu {
        g = unless_negative(Vector::<f32, N>::cast_from(y[i]), g);
    }
    g
}

/// Partial sums `[2, segments, C]` of `g`, the gradient that reaches the norm, and of `g h` with `h = (x - mean) rstd`.
#[cube(launch_unchecked)]
fn sum_gradients<D: Float, X: Float, Y: Float, N: Size>(
    dy: &Array<Vector<D, N>>,
    x: &Array<Vector<X, N>>,
    y: &Array<Vector<Y, N>>,
    stats: &Array<Vector<f32, N>>,
    partials: &mut Array<Vector<f32, N>>,
    m: usize,
    columns: usize,
    segment: usize,
    #[comptime] relu: bool,
    #[define(D, X, Y)] _types: [ElemType; 3],
) {
    let column = own_column();
    let first = CUBE_POS_Y as usize * segment;
    let end = min(first + segment, m);
    let mut sum_g = Vector::<f32, N>::new(0.0f32);
    let mut sum_gh = Vector::<f32, N>::new(0.0f32);
    if column < columns {
        let (mean, rstd) = (stats[column], stats[columns + column]);
        let mut row = first + UNIT_POS_Y as usize;
        while row < end {
            let i = row * columns + column;
            let g = passed::<D, Y, N>(dy, y, i, relu);
            sum_g += g;
            sum_gh += g * (Vector::<f32, N>::cast_from(x[i]) - mean) * rstd;
            row += ROWS_AT_ONCE as usize;
        }
    }
    let mut shared = SharedMemory::<Vector<f32, N>>::new(comptime!((LANES * ROWS_AT_ONCE) as usize));
    let total_g = block_column_sum::<N>(&mut shared, sum_g);
    let total_gh = block_column_sum::<N>(&mut shared, sum_gh);
    if UNIT_POS_Y == 0 && column < columns {
        let at = CUBE_POS_Y as usize * columns + column;
        partials[at] = total_g;
        partials[CUBE_COUNT_Y as usize * columns + at] = total_gh;
    }
}

/// `sums [2, C]`, the first of which is added to `d_bias` and the second to `d_weight`.
#[cube(launch_unchecked)]
fn finish_gradients<N: Size>(
    partials: &Array<Vector<f32, N>>,
    sums: &mut Array<Vector<f32, N>>,
    d_weight: &mut Array<Vector<f32, N>>,
    d_bias: &mut Array<Vector<f32, N>>,
    segments: usize,
) {
    let columns = d_bias.len();
    let column = own_column();
    let sum_g = sum_of_segments::<N>(partials, 0, segments, columns);
    let sum_gh = sum_of_segments::<N>(partials, segments, segments, columns);
    if UNIT_POS_Y == 0 && column < columns {
        sums[column] = sum_g;
        sums[columns + column] = sum_gh;
        d_bias[column] += sum_g;
        d_weight[column] += sum_gh;
    }
}

/// A block has 32 columns and 8 rows at a time.
fn block() -> CubeDim {
    CubeDim::new_2d(LANES, ROWS_AT_ONCE)
}

/// Blocks for so many columns, and for so many segments of rows.
fn blocks(columns: usize, segments: usize) -> CubeCount {
    CubeCount::Static(columns.div_ceil(LANES as usize) as u32, segments as u32, 1)
}

/// Means and reciprocal standard deviations `[2, C]` of the columns of `x [M, C]`. Moves the running statistics towards them.
pub(crate) fn statistics<R: Runtime>(
    gpu: &Gpu<R>,
    x: &Tensor,
    running: &mut Running<Tensor>,
    eps: f64,
) -> Tensor {
    let (m, c) = (x.rows(), x.last());
    let stats = gpu.empty([2, c], Dtype::F32);
    let Running { mean, variance } = running;
    // One row has no variance: the running one stays, and what is written goes nowhere.
    let mut unmoved = variance.clone();
    let variance = if m > 1 { variance } else { &mut unmoved };
    let unbiased = if m > 1 { m as f64 / (m as f64 - 1.0) } else { 0.0 };
    for (moment, running, scale) in [(Moment::Mean, mean, 1.0), (Moment::Variance, variance, unbiased)] {
        let running = gpu.own(running);
        let rows = Rows::all(gpu, m, c);
        let partials = gpu.empty([rows.segments(), c], Dtype::F32);
        let n = gpu.vector(&[c]);
        let (count, segment) = (blocks(c / n, rows.segments()), rows.segment);
        let (from, to, elem) = (x.arg(), partials.arg(), x.elem());
        launch!(sum_moment(gpu, count, block(), n, from, stats.arg(), to, m, c / n, segment, moment, elem));
        let (count, segments) = (blocks(c, 1), rows.segments());
        let (sums, share, take) = (partials.arg(), 1.0 / m as f32, (BATCH_NORM_MOMENTUM * scale) as f32);
        let (stats, running, eps) = (stats.arg(), running.arg(), eps as f32);
        launch!(finish_moment(
            gpu,
            count,
            block(),
            1,
            sums,
            stats,
            running,
            segments,
            share,
            take,
            eps,
            moment
        ));
    }
    stats
}

/// `[Σ g, Σ g h]`, `[2, C]`; the first is added to the gradient of the bias, the second to that of the weight. `through` is the result
/// of the ReLU after the norm, where there is one.
pub(crate) fn gradients<R: Runtime>(
    gpu: &Gpu<R>,
    dy: &Tensor,
    (x, through): (&Tensor, Option<&Tensor>),
    stats: &Tensor,
    dp: &mut Norm<Tensor>,
) -> Tensor {
    let (m, c) = (x.rows(), x.last());
    let rows = Rows::all(gpu, m, c);
    let y = through.unwrap_or(dy);
    let partials = gpu.empty([2, rows.segments(), c], Dtype::F32);
    let n = gpu.vector(&[c]);
    let types = [dy.elem(), x.elem(), y.elem()];
    launch!(sum_gradients(
        gpu,
        blocks(c / n, rows.segments()),
        block(),
        n,
        dy.arg(),
        x.arg(),
        y.arg(),
        stats.arg(),
        partials.arg(),
        m,
        c / n,
        rows.segment,
        through.is_some(),
        types
    ));
    let sums = gpu.empty([2, c], Dtype::F32);
    let (weight, bias) = (gpu.own(&mut dp.weight).arg(), gpu.own(&mut dp.bias).arg());
    let (from, segments) = (partials.arg(), rows.segments());
    launch!(finish_gradients(gpu, blocks(c, 1), block(), 1, from, sums.arg(), weight, bias, segments));
    sums
}
