//! Cross-entropy against classes, smoothed classes or distributions, and the largest element of rows.

use super::rows::{
    RowLaunch, argmax_of, first_row, lane, lanes, max_of, rescaled, row_max, row_min, row_step, row_sum,
    sum_of, totals,
};
use crate::gpu::Gpu;
use crate::launch::{UNITS, cubes, launch, width};
use crate::tensor::{Dtype, Ids, Tensor, array};
use beit_ops::{CrossEntropyOps, Targets};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// A column that no row has.
const NOWHERE: u32 = u32::MAX;

/// What a row should have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Goal {
    /// `p_v = [v = class]`
    Class,
    /// `p_v = on [v = class] + off`
    Smoothed,
    /// `p`, as given.
    Distribution,
}

/// `lse = ln Σ_v exp logit_v` and `loss = lse Σ_v p_v - Σ_v p_v logit_v` in one pass over `logits [M, V]`;
/// `scores [2, M]`: losses, then 1 where the largest logit is the target's.
#[cube(launch_unchecked)]
fn score_rows<L: Float, P: Float, N: Size>(
    logits: &Array<Vector<L, N>>,
    ids: &Array<u32>,
    goals: &Array<Vector<P, N>>,
    lse: &mut Array<f32>,
    scores: &mut Array<f32>,
    on: f32,
    off: f32,
    #[comptime] goal: Goal,
    #[comptime] whole: bool,
    #[define(L, P)] _types: [ElemType; 2],
) {
    let m = lse.len();
    let columns = logits.len() / m;
    let width = u32::cast_from(N::value());
    let mut row = first_row(whole);
    while row < m {
        let mut largest = f32::min_value();
        let mut sum = 0.0f32;
        let mut at = NOWHERE.runtime();
        // Σ p, Σ p logit: of the class, of all classes, or of the distribution.
        let mut mass = 0.0f32;
        let mut dot = 0.0f32;
        let mut likeliest = f32::min_value();
        let mut class = NOWHERE.runtime();
        if comptime!(goal != Goal::Distribution) {
            class = ids[row];
        }
        let mut c = lane(whole);
        while c < columns {
            let v = Vector::<f32, N>::cast_from(logits[row * columns + c]);
            let top = max_of(v);
            if top > largest {
                at = u32::cast_from(c) * width + argmax_of(v, top);
            }
            let highest = max(largest, top);
            sum = rescaled(sum, largest, highest, v);
            largest = highest;
            if comptime!(goal == Goal::Distribution) {
                let p = Vector::<f32, N>::cast_from(goals[row * columns + c]);
                mass += sum_of(p);
                dot += sum_of(p * v);
                let top = max_of(p);
                if top > likeliest {
                    class = u32::cast_from(c) * width + argmax_of(p, top);
                    likeliest = top;
                }
            } else {
                if class / width == u32::cast_from(c) {
                    #[unroll]
                    for i in 0..N::value() {
                        dot += select(class % width == u32::cast_from(i), v[i] * on, 0.0f32);
                    }
                }
                if comptime!(goal == Goal::Smoothed) {
                    dot += sum_of(v) * off;
                }
            }
            c += lanes(whole);
        }
        let top = row_max(largest, whole);
        let total = top + row_sum(sum * (largest - top).exp(), whole).ln();
        at = row_min(select(largest == top, at, NOWHERE), whole);
        dot = row_sum(dot, whole);
        if comptime!(goal == Goal::Distribution) {
            mass = row_sum(mass, whole);
            let first = row_max(likeliest, whole);
            class = row_min(select(likeliest == first, class, NOWHERE), whole);
        } else {
            mass = on + off * f32::cast_from(columns * N::value());
        }
        if lane(whole) == 0 {
            lse[row] = total;
            scores[row] = total * mass - dot;
            scores[m + row] = select(at == class, 1.0f32, 0.0f32);
        }
        row += row_step(whole);
    }
}

/// `d_logit_v = scale (softmax_v - p_v)`
#[cube(launch_unchecked)]
fn score_rows_backward<L: Float, P: Float, N: Size>(
    logits: &Array<Vector<L, N>>,
    ids: &Array<u32>,
    goals: &Array<Vector<P, N>>,
    lse: &Array<f32>,
    d_logits: &mut Array<Vector<L, N>>,
    on: f32,
    off: f32,
    scale: f32,
    #[comptime] goal: Goal,
    #[define(L, P)] _types: [ElemType; 2],
) {
    let columns = logits.len() / lse.len();
    let width = u32::cast_from(N::value());
    let mut i = ABSOLUTE_POS;
    while i < logits.len() {
        let row = i / columns;
        let v = Vector::<f32, N>::cast_from(logits[i]);
        let mut d = Vector::exp(v - Vector::new(lse[row]));
        if comptime!(goal == Goal::Distribution) {
            d -= Vector::cast_from(goals[i]);
        } else {
            let class = ids[row];
            let here = u32::cast_from(i % columns) * width;
            #[unroll]
            for k in 0..N::value() {
                d[k] -= select(here + u32::cast_from(k) == class, on + off, off);
            }
        }
        d_logits[i] = Vector::cast_from(d * Vector::new(scale));
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// The first column of the largest element of each row.
#[cube(launch_unchecked)]
fn find_largest<X: Float, N: Size>(
    x: &Array<Vector<X, N>>,
    ids: &mut Array<u32>,
    #[comptime] whole: bool,
    #[define(X)] _elem: ElemType,
) {
    let columns = x.len() / ids.len();
    let mut row = first_row(whole);
    while row < ids.len() {
        let mut largest = f32::min_value();
        // A row without a number above this has its largest element in front.
        let mut at = 0u32;
        let mut c = lane(whole);
        while c < columns {
            let v = Vector::<f32, N>::cast_from(x[row * columns + c]);
            let top = max_of(v);
            if top > largest {
                at = u32::cast_from(c * N::value()) + argmax_of(v, top);
                largest = top;
            }
            c += lanes(whole);
        }
        let top = row_max(largest, whole);
        at = row_min(select(largest == top, at, NOWHERE), whole);
        if lane(whole) == 0 {
            ids[row] = min(at, u32::cast_from(columns * N::value()) - 1);
        }
        row += row_step(whole);
    }
}

/// What the kernels read of targets: classes, distributions, how they are used, `on` and `off`.
struct Read<R: Runtime> {
    ids: ArrayArg<R>,
    goals: ArrayArg<R>,
    elem: ElemType,
    goal: Goal,
    on: f32,
    off: f32,
}

impl<R: Runtime> Read<R> {
    /// What is not there is not read: the logits stand for it.
    fn new(logits: &Tensor, targets: &Targets<'_, Gpu<R>>) -> Self {
        match *targets {
            Targets::Classes { ids, smoothing } => {
                let goal = if smoothing == 0.0 { Goal::Class } else { Goal::Smoothed };
                let (on, off) = (1.0 - smoothing, smoothing / logits.last() as f32);
                Self { ids: ids.arg(), goals: logits.arg(), elem: logits.elem(), goal, on, off }
            }
            Targets::Probabilities(p) => {
                let ids = array(logits.handle(), logits.rows());
                Self { ids, goals: p.arg(), elem: p.elem(), goal: Goal::Distribution, on: 0.0, off: 0.0 }
            }
        }
    }
}

/// Returns `([mean loss, rows that are right], log-sum-exp [M])`, f32.
pub(crate) fn forward<R: Runtime>(
    gpu: &Gpu<R>,
    logits: &Tensor,
    targets: &Targets<'_, Gpu<R>>,
) -> (Tensor, Tensor) {
    let (m, v) = (logits.rows(), logits.last());
    let Read { ids, goals, elem, goal, on, off } = Read::new(logits, targets);
    let lse = gpu.empty([m], Dtype::F32);
    let scores = gpu.empty([2, m], Dtype::F32);
    let RowLaunch { n, count, dim, whole } = RowLaunch::new(gpu, m, v);
    let (from, to, types) = (logits.arg(), scores.arg(), [logits.elem(), elem]);
    launch!(score_rows(gpu, count, dim, n, from, ids, goals, lse.arg(), to, on, off, goal, whole, types));
    (totals(gpu, &scores, [1.0 / m as f64, 1.0]), lse)
}

/// Returns `d_logits [M, V]` of `scale` times the mean loss.
pub(crate) fn backward<R: Runtime>(
    gpu: &Gpu<R>,
    logits: &Tensor,
    targets: &Targets<'_, Gpu<R>>,
    lse: &Tensor,
    scale: f32,
) -> Tensor {
    let (m, v) = (logits.rows(), logits.last());
    let Read { ids, goals, elem, goal, on, off } = Read::new(logits, targets);
    let d_logits = gpu.empty(logits.shape, logits.dtype);
    let n = width(super::rows::WIDE, &[v]);
    let (count, dim) = (cubes(logits.len() / n, UNITS as usize), CubeDim::new_1d(UNITS));
    let (from, saved, to, types) = (logits.arg(), lse.arg(), d_logits.arg(), [logits.elem(), elem]);
    let scale = scale / m as f32;
    launch!(score_rows_backward(
        gpu, count, dim, n, from, ids, goals, saved, to, on, off, scale, goal, types
    ));
    d_logits
}

/// `x [M, V] -> [M]`
pub(crate) fn argmax_rows<R: Runtime>(gpu: &Gpu<R>, x: &Tensor) -> Ids {
    let ids = gpu.empty_ids(x.rows());
    let RowLaunch { n, count, dim, whole } = RowLaunch::new(gpu, x.rows(), x.last());
    launch!(find_largest(gpu, count, dim, n, x.arg(), ids.arg(), whole, x.elem()));
    ids
}

impl<R: Runtime> CrossEntropyOps for Gpu<R> {
    fn cross_entropy(&self, logits: &Tensor, targets: &Targets<'_, Self>) -> (Tensor, Tensor) {
        forward(self, logits, targets)
    }
    fn cross_entropy_backward(
        &self,
        logits: &Tensor,
        targets: &Targets<'_, Self>,
        lse: &Tensor,
        scale: f32,
    ) -> Tensor {
        backward(self, logits, targets, lse, scale)
    }
}
