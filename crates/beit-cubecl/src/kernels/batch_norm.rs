//! `(x - mean) / sqrt(variance + eps) · weight + bias` for each channel of `[M, C]`, and the ReLU that follows most of them.
//!
//! ```text
//! forward       the statistics of the batch (batch_sums.rs), then thread = one vector of y (see elementwise.rs)
//! inference     the same kernel reads running statistics
//! backward      the sums of g and g h (batch_sums.rs), then thread = one vector of dx
//! ```
//!
//! A ReLU costs nothing: it is taken where the result is written, and its gradient where `dy` is read.

use super::batch_sums::{self, passed};
use super::nan::unless_negative;
use crate::gpu::Gpu;
use crate::launch::{THREADS, grid, launch, vector_width};
use crate::tensor::Tensor;
use beit_ops::{BatchNormOps, BatchNormTraining, Norm, Running};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// Elements that a thread loads at once.
const MAX_VECTOR: usize = 4;

/// Which statistics a norm goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Statistics {
    /// Means and reciprocal standard deviations, both in `stats [2, C]`.
    Batch,
    /// Means and variances.
    Running,
}

/// `y = (x - mean) rstd weight + bias`, or its ReLU. Of a batch `means` and `spreads` are both `stats [2, C]`.
#[cube(launch_unchecked)]
fn normalise_channels<X: Float, N: Size>(
    x: &Array<Vector<X, N>>,
    means: &Array<Vector<f32, N>>,
    spreads: &Array<Vector<f32, N>>,
    weight: &Array<Vector<f32, N>>,
    bias: &Array<Vector<f32, N>>,
    y: &mut Array<Vector<X, N>>,
    eps: f32,
    #[comptime] by: Statistics,
    #[comptime] relu: bool,
    #[define(X)] _elem: ElemType,
) {
    let columns = weight.len();
    let mut i = ABSOLUTE_POS;
    while i < y.len() {
        let c = i % columns;
        let rstd = match by {
            Statistics::Batch => spreads[columns + c],
            Statistics::Running => Vector::new(1.0f32) / Vector::sqrt(spreads[c] + Vector::new(eps)),
        };
        let deviation = Vector::<f32, N>::cast_from(x[i]) - means[c];
        let mut v = deviation * (weight[c] * rstd) + bias[c];
        if relu {
            v = unless_negative(v, v);
        }
        y[i] = Vector::cast_from(v);
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// `dx = weight rstd (g - mean(g) - h mean(g h))`, where `share` is one by the number of rows.
#[cube(launch_unchecked)]
fn normalise_channels_backward<D: Float, X: Float, Y: Float, N: Size>(
    dy: &Array<Vector<D, N>>,
    x: &Array<Vector<X, N>>,
    y: &Array<Vector<Y, N>>,
    stats: &Array<Vector<f32, N>>,
    sums: &Array<Vector<f32, N>>,
    weight: &Array<Vector<f32, N>>,
    dx: &mut Array<Vector<D, N>>,
    share: f32,
    #[comptime] relu: bool,
    #[define(D, X, Y)] _types: [ElemType; 3],
) {
    let columns = weight.len();
    let mut i = ABSOLUTE_POS;
    while i < dx.len() {
        let c = i % columns;
        let rstd = stats[columns + c];
        let g = passed::<D, Y, N>(dy, y, i, relu);
        let h = (Vector::<f32, N>::cast_from(x[i]) - stats[c]) * rstd;
        let means = (sums[c] + h * sums[columns + c]) * Vector::new(share);
        dx[i] = Vector::cast_from(weight[c] * rstd * (g - means));
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// Normalises in the type of `x`, by means and by what `by` says of their spread.
fn apply<R: Runtime>(
    gpu: &Gpu<R>,
    x: &Tensor,
    p: &Norm<Tensor>,
    ([means, spreads], by): ([&Tensor; 2], Statistics),
    eps: f64,
    relu: bool,
) -> Tensor {
    let y = gpu.empty(x.shape, x.dtype);
    let n = vector_width(MAX_VECTOR, &[x.last()]);
    let (count, dim) = (grid(x.len() / n, THREADS as usize), CubeDim::new_1d(THREADS));
    let (means, spreads) = (means.arg(), spreads.arg());
    let (weight, bias, elem) = (p.weight.arg(), p.bias.arg(), x.elem());
    let (x, to, eps) = (x.arg(), y.arg(), eps as f32);
    launch!(normalise_channels(gpu, count, dim, n, x, means, spreads, weight, bias, to, eps, by, relu, elem));
    y
}

/// By running statistics.
fn infer<R: Runtime>(
    gpu: &Gpu<R>,
    x: &Tensor,
    p: &Norm<Tensor>,
    running: &Running<Tensor>,
    eps: f64,
    relu: bool,
) -> Tensor {
    let statistics = ([&running.mean, &running.variance], Statistics::Running);
    apply(gpu, x, p, statistics, eps, relu)
}

/// By the batch. Returns `y` and `[2, C]`: means and reciprocal standard deviations.
fn forward<R: Runtime>(
    gpu: &Gpu<R>,
    x: &Tensor,
    p: &Norm<Tensor>,
    running: &mut Running<Tensor>,
    eps: f64,
    relu: bool,
) -> (Tensor, Tensor) {
    let stats = batch_sums::statistics(gpu, x, running, eps);
    let y = apply(gpu, x, p, ([&stats, &stats], Statistics::Batch), eps, relu);
    (y, stats)
}

/// Returns `dx` in the type of `dy`. `through` is the result of the ReLU after the norm, where there is one.
fn backward<R: Runtime>(
    gpu: &Gpu<R>,
    dy: &Tensor,
    (x, through): (&Tensor, Option<&Tensor>),
    stats: &Tensor,
    p: &Norm<Tensor>,
    dp: &mut Norm<Tensor>,
) -> Tensor {
    let sums = batch_sums::gradients(gpu, dy, (x, through), stats, dp);
    let dx = gpu.empty(x.shape, dy.dtype);
    let y = through.unwrap_or(dy);
    let n = vector_width(MAX_VECTOR, &[x.last()]);
    launch!(normalise_channels_backward(
        gpu,
        grid(x.len() / n, THREADS as usize),
        CubeDim::new_1d(THREADS),
        n,
        dy.arg(),
        x.arg(),
        y.arg(),
        stats.arg(),
        sums.arg(),
        p.weight.arg(),
        dx.arg(),
        1.0 / x.rows() as f32,
        through.is_some(),
        [dy.elem(), x.elem(), y.elem()]
    ));
    dx
}

impl<R: Runtime> BatchNormOps for Gpu<R> {
    fn batch_norm(&self, x: &Tensor, p: &Norm<Tensor>, running: &Running<Tensor>, eps: f64) -> Tensor {
        infer(self, x, p, running, eps, false)
    }
    fn batch_norm_relu(&self, x: &Tensor, p: &Norm<Tensor>, running: &Running<Tensor>, eps: f64) -> Tensor {
        infer(self, x, p, running, eps, true)
    }
}

impl<R: Runtime> BatchNormTraining for Gpu<R> {
    fn batch_norm_forward(
        &self,
        x: &Tensor,
        p: &Norm<Tensor>,
        running: &mut Running<Tensor>,
        eps: f64,
    ) -> (Tensor, Tensor) {
        forward(self, x, p, running, eps, false)
    }
    fn batch_norm_backward(
        &self,
        dy: &Tensor,
        x: &Tensor,
        stats: &Tensor,
        p: &Norm<Tensor>,
        dp: &mut Norm<Tensor>,
    ) -> Tensor {
        backward(self, dy, (x, None), stats, p, dp)
    }
    fn batch_norm_relu_forward(
        &self,
        x: &Tensor,
        p: &Norm<Tensor>,
        running: &mut Running<Tensor>,
        eps: f64,
    ) -> (Tensor, Tensor) {
        forward(self, x, p, running, eps, true)
    }
    fn batch_norm_relu_backward(
        &self,
        dy: &Tensor,
        [x, y]: [&Tensor; 2],
        stats: &Tensor,
        p: &Norm<Tensor>,
        dp: &mut Norm<Tensor>,
    ) -> Tensor {
        backward(self, dy, (x, Some(y)), stats, p, dp)
    }
}
