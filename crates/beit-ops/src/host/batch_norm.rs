//! Batch norm of the channels of `[M, C]`, and the ReLU that follows most of them.
//!
//! Sums over rows are taken in blocks, and the sums of blocks are added: a channel of a large map has hundreds of thousands of
//! elements, of which one running sum in f32 would lose the small ones.

use super::Host;
use super::array::{Array, array, data, data_mut, last, shape, unwritten};
use super::par;
use super::real::Real;
use super::reduce::{add, add_partials};
use crate::ops::{BATCH_NORM_MOMENTUM, BatchNormOps, BatchNormTraining};
use crate::params::{Norm, Running};
use alloc::vec;
use alloc::vec::Vec;

/// Rows that are added up by themselves.
const BLOCK: usize = 64;

/// What follows the norm.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Nothing,
    Relu,
}

/// Normalises by running statistics.
fn infer<F: Real>(
    x: &Array<F>,
    p: &Norm<Array<F>>,
    running: &Running<Array<F>>,
    eps: f64,
    then: Then,
) -> Array<F> {
    let rstd: Vec<F> = running.variance.iter().map(|&v| reciprocal_root(v, eps)).collect();
    affine(x, p, [&running.mean, &rstd], then)
}

/// Normalises by the batch. Returns `y` and `[2, C]`: means and reciprocal standard deviations.
fn forward<F: Real>(
    x: &Array<F>,
    p: &Norm<Array<F>>,
    running: &mut Running<Array<F>>,
    eps: f64,
    then: Then,
) -> (Array<F>, Array<F>) {
    let c = last(x);
    let m = x.len() / c;
    let [mean, variance] = moments(data(x), c);
    advance(&mut running.mean, &mean, 1.0);
    if m > 1 {
        advance(&mut running.variance, &variance, m as f64 / (m as f64 - 1.0));
    }
    let rstd: Vec<F> = variance.iter().map(|&v| reciprocal_root(v, eps)).collect();
    let y = affine(x, p, [&mean, &rstd], then);
    (y, array([2, c], [mean, rstd].concat()))
}

/// `dx = weight rstd (g - mean(g) - h mean(g h))` with `h = (x - mean) rstd`, where `g` is `dy`, or zero where a ReLU let nothing
/// through.
fn backward<F: Real>(
    dy: &Array<F>,
    x: &Array<F>,
    y: Option<&Array<F>>,
    stats: &Array<F>,
    p: &Norm<Array<F>>,
    dp: &mut Norm<Array<F>>,
) -> Array<F> {
    let c = last(x);
    let (mean, rstd) = data(stats).split_at(c);
    let through = y.map(data);
    let [d_bias, d_weight] = gradient_sums(data(dy), data(x), through, [mean, rstd]);
    add(data_mut(&mut dp.bias), &d_bias);
    add(data_mut(&mut dp.weight), &d_weight);

    let share = F::from_f64(c as f64 / x.len() as f64);
    let (dy, weight) = (data(dy), data(&p.weight));
    let mut dx = unwritten(shape(x));
    let rows = par::rows_per_task(c);
    let x = data(x);
    par::chunks(data_mut(&mut dx), rows * c, |i, dx| {
        par::simd(
            #[inline(always)]
            || {
                for (row, dx) in dx.chunks_exact_mut(c).enumerate() {
                    let at = (i * rows + row) * c;
                    let (dy, x) = (&dy[at..at + c], &x[at..at + c]);
                    for k in 0..c {
                        let g = passed(dy[k], through, at + k);
                        let h = (x[k] - mean[k]) * rstd[k];
                        dx[k] = weight[k] * rstd[k] * (g - share * (d_bias[k] + h * d_weight[k]));
                    }
                }
            },
        );
    });
    dx
}

/// `1 / sqrt(variance + eps)`
fn reciprocal_root<F: Real>(variance: F, eps: f64) -> F {
    F::from_f64(1.0) / (variance + F::from_f64(eps)).sqrt()
}

/// Moves running statistics towards `scale` times those of a batch.
fn advance<F: Real>(running: &mut Array<F>, batch: &[F], scale: f64) {
    let (keep, take) = (F::from_f64(1.0 - BATCH_NORM_MOMENTUM), F::from_f64(BATCH_NORM_MOMENTUM * scale));
    for (running, &batch) in data_mut(running).iter_mut().zip(batch) {
        *running = keep * *running + take * batch;
    }
}

/// `then((x - mean) rstd weight + bias)`
fn affine<F: Real>(x: &Array<F>, p: &Norm<Array<F>>, [mean, rstd]: [&[F]; 2], then: Then) -> Array<F> {
    let c = last(x);
    let (weight, bias) = (data(&p.weight), data(&p.bias));
    let scale: Vec<F> = weight.iter().zip(rstd).map(|(&w, &r)| w * r).collect();
    let mut y = unwritten(shape(x));
    let rows = par::rows_per_task(c);
    let x = data(x);
    par::chunks(data_mut(&mut y), rows * c, |i, y| {
        par::simd(
            #[inline(always)]
            || {
                for (y, x) in y.chunks_exact_mut(c).zip(x[i * rows * c..].chunks_exact(c)) {
                    for k in 0..c {
                        let normed = (x[k] - mean[k]) * scale[k] + bias[k];
                        y[k] = if then == Then::Relu { F::from_f64(0.0).max(normed) } else { normed };
                    }
                }
            },
        );
    });
    y
}

/// The gradient that reaches the norm: `dy`, or nothing where the ReLU after it gave zero.
#[inline(always)]
fn passed<F: Real>(dy: F, through: Option<&[F]>, at: usize) -> F {
    match through {
        Some(y) if y[at] <= F::from_f64(0.0) => F::from_f64(0.0),
        _ => dy,
    }
}

/// Mean and biased variance of each of `c` columns. The variance is the mean of squared deviations and not a difference of moments,
/// which would cancel.
fn moments<F: Real>(x: &[F], c: usize) -> [Vec<F>; 2] {
    let m = x.len() / c;
    let scale = F::from_f64(1.0 / m as f64);
    let [mut mean] = column_sums(m, c, |row, [sum]| add(sum, &x[row * c..][..c]));
    mean.iter_mut().for_each(|v| *v *= scale);
    let [mut variance] = column_sums(m, c, |row, [sum]| {
        let x = &x[row * c..][..c];
        for k in 0..c {
            sum[k] += (x[k] - mean[k]) * (x[k] - mean[k]);
        }
    });
    variance.iter_mut().for_each(|v| *v *= scale);
    [mean, variance]
}

/// `[Σ g, Σ g h]` over the rows, the gradients of bias and weight.
fn gradient_sums<F: Real>(dy: &[F], x: &[F], through: Option<&[F]>, [mean, rstd]: [&[F]; 2]) -> [Vec<F>; 2] {
    let c = mean.len();
    column_sums(x.len() / c, c, |row, [d_bias, d_weight]| {
        let (dy, x) = (&dy[row * c..][..c], &x[row * c..][..c]);
        for k in 0..c {
            let g = passed(dy[k], through, row * c + k);
            d_bias[k] += g;
            d_weight[k] += g * (x[k] - mean[k]) * rstd[k];
        }
    })
}

/// `K` sums over `m` rows of `c` numbers: `f(row, sums)` adds one row.
fn column_sums<F: Real, const K: usize>(
    m: usize,
    c: usize,
    f: impl Fn(usize, [&mut [F]; K]) + Send + Sync,
) -> [Vec<F>; K] {
    let zero = F::from_f64(0.0);
    let mut sums: [Vec<F>; K] = core::array::from_fn(|_| vec![zero; c]);
    let mut views = sums.each_mut().map(Vec::as_mut_slice);
    add_partials(m, &mut views, |rows, partial| {
        let mut block: [Vec<F>; K] = core::array::from_fn(|_| vec![zero; c]);
        for begin in rows.clone().step_by(BLOCK) {
            par::simd(
                #[inline(always)]
                || {
                    for row in begin..(begin + BLOCK).min(rows.end) {
                        f(row, block.each_mut().map(Vec::as_mut_slice));
                    }
                },
            );
            for (partial, block) in partial.iter_mut().zip(&mut block) {
                add(partial, block);
                block.fill(zero);
            }
        }
    });
    sums
}

on_host! {
    impl BatchNormOps for Host<F> {
        fn batch_norm(&self, x: &Tensor, p: &Norm<Tensor>, running: &Running<Tensor>, eps: f64) -> Tensor {
            infer(x, p, running, eps, Then::Nothing)
        }
        fn batch_norm_relu(&self, x: &Tensor, p: &Norm<Tensor>, running: &Running<Tensor>, eps: f64) -> Tensor {
            infer(x, p, running, eps, Then::Relu)
        }
    }

    impl BatchNormTraining for Host<F> {
        fn batch_norm_forward(
            &self,
            x: &Tensor,
            p: &Norm<Tensor>,
            running: &mut Running<Tensor>,
            eps: f64,
        ) -> (Tensor, Tensor) {
            forward(x, p, running, eps, Then::Nothing)
        }
        fn batch_norm_backward(
            &self,
            dy: &Tensor,
            x: &Tensor,
            stats: &Tensor,
            p: &Norm<Tensor>,
            dp: &mut Norm<Tensor>,
        ) -> Tensor {
            backward(dy, x, None, stats, p, dp)
        }
        fn batch_norm_relu_forward(
            &self,
            x: &Tensor,
            p: &Norm<Tensor>,
            running: &mut Running<Tensor>,
            eps: f64,
        ) -> (Tensor, Tensor) {
            forward(x, p, running, eps, Then::Relu)
        }
        fn batch_norm_relu_backward(
            &self,
            dy: &Tensor,
            [x, y]: [&Tensor; 2],
            stats: &Tensor,
            p: &Norm<Tensor>,
            dp: &mut Norm<Tensor>,
        ) -> Tensor {
            backward(dy, x, Some(y), stats, p, dp)
        }
    }
}
