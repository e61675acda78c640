//! Layer norm of rows: `(x - mean) / sqrt(var + eps) · weight + bias`.

use super::array::{Array, data, data_mut, last, shape, unwritten};
use super::par;
use super::real::Real;
use super::reduce::{add, add_partials, sum};
use crate::params::Norm;

/// Mean and reciprocal standard deviation of each row, `[M, 2]`.
#[derive(Clone, Debug)]
pub struct RowStats<F: Real>(pub(super) Array<F>);

impl<F: Real> RowStats<F> {
    #[inline(always)]
    fn row(&self, m: usize) -> (F, F) {
        (self.0[2 * m], self.0[2 * m + 1])
    }
}

/// Returns `y [M, C]` and the statistics of each row.
pub(super) fn forward<F: Real>(x: &Array<F>, p: &Norm<Array<F>>, eps: f64) -> (Array<F>, RowStats<F>) {
    let c = last(x);
    let m = x.len() / c;
    let norm = [data(&p.weight), data(&p.bias)];
    let mut y = unwritten(shape(x));
    let mut stats = unwritten([m, 2]);
    let rows = par::rows_per_task(c);
    let source = data(x);
    par::chunks2((data_mut(&mut y), rows * c), (data_mut(&mut stats), rows * 2), |i, y, stats| {
        par::simd(
            #[inline(always)]
            || {
                let x = &source[i * rows * c..][..y.len()];
                let stats = stats.chunks_exact_mut(2);
                for ((x, y), stats) in x.chunks_exact(c).zip(y.chunks_exact_mut(c)).zip(stats) {
                    normalise_row(x, norm, eps, y, stats);
                }
            },
        );
    });
    (y, RowStats(stats))
}

/// Normalises one row `[C]` and writes its statistics `[2]`.
#[inline(always)]
pub(super) fn normalise_row<F: Real>(
    x: &[F],
    [weight, bias]: [&[F]; 2],
    eps: f64,
    y: &mut [F],
    stats: &mut [F],
) {
    let (mean, rstd) = moments(x, eps);
    stats.copy_from_slice(&[mean, rstd]);
    for k in 0..x.len() {
        y[k] = (x[k] - mean) * rstd * weight[k] + bias[k];
    }
}

/// Mean and reciprocal standard deviation. The variance is the mean of squared deviations and not a difference of moments,
/// which would cancel.
#[inline(always)]
fn moments<F: Real>(x: &[F], eps: f64) -> (F, F) {
    let n = F::from_f64(x.len() as f64);
    let mean = sum(x.len(), |k| x[k]) / n;
    let var = sum(x.len(), |k| (x[k] - mean) * (x[k] - mean)) / n;
    (mean, F::from_f64(1.0) / (var + F::from_f64(eps)).sqrt())
}

/// With `h = (x - mean) rstd` and `g = dy · weight`: `dx = rstd (g - mean(g) - h mean(g h))`. `skip` is the gradient that
/// reaches `x` through a residual connection around the norm; it is added to `dx`.
pub(super) fn backward<F: Real>(
    dy: &Array<F>,
    x: &Array<F>,
    p: &Norm<Array<F>>,
    stats: &RowStats<F>,
    dp: &mut Norm<Array<F>>,
    skip: Option<&Array<F>>,
) -> Array<F> {
    let c = last(x);
    let n = F::from_f64(c as f64);
    let weight = data(&p.weight);
    let mut dx = unwritten(shape(x));
    let rows = par::rows_per_task(c);
    let (x, dy, skip) = (data(x), data(dy), skip.map(data));
    par::chunks(data_mut(&mut dx), rows * c, |i, dx| {
        par::simd(
            #[inline(always)]
            || {
                for (j, dx) in dx.chunks_exact_mut(c).enumerate() {
                    let row = i * rows + j;
                    let (x, dy) = (&x[row * c..][..c], &dy[row * c..][..c]);
                    let (mean, rstd) = stats.row(row);
                    let mean_g = sum(c, |k| dy[k] * weight[k]) / n;
                    let mean_gh = sum(c, |k| dy[k] * weight[k] * ((x[k] - mean) * rstd)) / n;
                    for k in 0..c {
                        let h = (x[k] - mean) * rstd;
                        dx[k] = rstd * (dy[k] * weight[k] - mean_g - h * mean_gh);
                    }
                    if let Some(skip) = skip {
                        add(dx, &skip[row * c..][..c]);
                    }
                }
            },
        );
    });
    add_param_gradients(dy, x, stats, dp);
    dx
}

/// `d_weight += Σ dy · h`, `d_bias += Σ dy`
fn add_param_gradients<F: Real>(dy: &[F], x: &[F], stats: &RowStats<F>, dp: &mut Norm<Array<F>>) {
    let c = dp.weight.len();
    let mut sums = [data_mut(&mut dp.weight), data_mut(&mut dp.bias)];
    add_partials(x.len() / c, &mut sums, |rows, out| {
        // Of known length, so that the loop below needs no checks and becomes vector instructions.
        let [d_weight, d_bias] = out.each_mut().map(|sum| &mut data_mut(sum)[..c]);
        par::simd(
            #[inline(always)]
            || {
                for row in rows {
                    let (x, dy) = (&x[row * c..][..c], &dy[row * c..][..c]);
                    let (mean, rstd) = stats.row(row);
                    for k in 0..c {
                        d_weight[k] += dy[k] * ((x[k] - mean) * rstd);
                        d_bias[k] += dy[k];
                    }
                }
            },
        );
    });
}
