//! Cross-entropy against classes, smoothed classes, distributions or labels of which some are ignored, and the largest element of
//! rows.
//!
//! ```text
//! logits [M, V]: a warp per row, or a block where V is above 1,024 (see rows.rs)
//!
//! forward    one pass: each thread follows maximum, sum of exponentials, position of the maximum and Σ p · logit of its vectors;
//!            then all four are joined over the row
//! backward   thread = one vector of d_logits, grid-stride: the log-sum-exp is saved, so no reduction is left
//! ```

use super::nan::{first_nan, has_nan, is_nan};
use super::rows::{
    RowLaunch, add_exponentials, first_row, lane, lanes, row_max, row_min, row_step, row_sum, totals,
    vector_argmax, vector_max, vector_sum,
};
use crate::gpu::Gpu;
use crate::launch::{THREADS, grid, launch};
use crate::tensor::{Dtype, Ids, Tensor, array};
use beit_ops::{CrossEntropyOps, Targets};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// A column that no row has.
const NOWHERE: u32 = u32::MAX;
/// Marks the column of a number, so that those of NaN come before it.
const NUMBER: u32 = 1 << 31;

/// The target of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Goal {
    /// `p_v = [v = class]`
    Class,
    /// `p_v = on [v = class] + off`
    Smoothed,
    /// `p`, as given.
    Distribution,
    /// `p_v = [v = class]`; a row whose class none is has neither a loss nor a gradient.
    Label,
}

/// `lse = ln Σ_v exp logit_v` and `loss = lse Σ_v p_v - Σ_v p_v logit_v` in one pass over `logits [M, V]`;
/// `scores [2, M]`: losses, then 1 where the largest logit is the target's and none is NaN.
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
    #[comptime] block_per_row: bool,
    #[define(L, P)] _types: [ElemType; 2],
) {
    let m = lse.len();
    let columns = logits.len() / m;
    let mut row = first_row(block_per_row);
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
        let mut c = lane(block_per_row);
        while c < columns {
            let v = Vector::<f32, N>::cast_from(logits[row * columns + c]);
            let top = vector_max(v);
            at = argmax_so_far::<N>(v, top, c, largest, at);
            let highest = max(largest, top);
            sum = add_exponentials(sum, largest, highest, v);
            largest = highest;
            if comptime!(goal == Goal::Distribution) {
                let p = Vector::<f32, N>::cast_from(goals[row * columns + c]);
                mass += vector_sum(p);
                dot += vector_sum(p * v);
                let top = vector_max(p);
                class = argmax_so_far::<N>(p, top, c, likeliest, class);
                likeliest = max(likeliest, top);
            } else {
                dot = add_class::<N>(dot, v, c, class, on, off, goal);
            }
            c += lanes(block_per_row);
        }
        let top = row_max(largest, block_per_row);
        let total = top + row_sum(sum * (largest - top).exp(), block_per_row).ln();
        at = first_argmax(largest, top, at, block_per_row);
        dot = row_sum(dot, block_per_row);
        if comptime!(goal == Goal::Distribution) {
            mass = row_sum(mass, block_per_row);
            let top = row_max(likeliest, block_per_row);
            class = first_argmax(likeliest, top, class, block_per_row);
        } else {
            mass = on + off * f32::cast_from(columns * N::value());
        }
        if lane(block_per_row) == 0 {
            let counts = has_class(class, columns * N::value(), goal);
            lse[row] = total;
            scores[row] = select(counts, total * mass - dot, nothing(total));
            scores[m + row] = select(counts && at == class && !is_nan(total), 1.0f32, 0.0f32);
        }
        row += row_step(block_per_row);
    }
}

/// Whether a row counts: where labels may be anything, whether `class` is one of `v` classes.
#[cube]
fn has_class(class: u32, v: usize, #[comptime] goal: Goal) -> bool {
    if comptime!(goal == Goal::Label) { class < u32::cast_from(v) } else { true.runtime() }
}

/// Loss and gradient of a row that is ignored: zero, or NaN where its log-sum-exp is.
#[cube]
fn nothing(lse: f32) -> f32 {
    select(is_nan(lse), lse, 0.0f32)
}

/// The column of the largest element so far: that of `top`, the largest of vector `c`, if it is above `largest`, else `at`.
#[cube]
fn argmax_so_far<N: Size>(v: Vector<f32, N>, top: f32, c: usize, largest: f32, at: u32) -> u32 {
    let mut found = at;
    if top > largest {
        found = u32::cast_from(c) * u32::cast_from(N::value()) + vector_argmax(v, top);
    }
    found
}

/// The first column of the largest element of a row, `top`, from each thread's `largest` and its column.
#[cube]
fn first_argmax(largest: f32, top: f32, at: u32, #[comptime] block_per_row: bool) -> u32 {
    row_min(select(largest == top, at, NOWHERE), block_per_row)
}

/// `dot + Σ p_v logit_v` over vector `c` of a row, where `p` is `class`, smoothed or not.
#[cube]
fn add_class<N: Size>(
    dot: f32,
    v: Vector<f32, N>,
    c: usize,
    class: u32,
    on: f32,
    off: f32,
    #[comptime] goal: Goal,
) -> f32 {
    let width = u32::cast_from(N::value());
    let mut sum = dot;
    if class / width == u32::cast_from(c) {
        #[unroll]
        for i in 0..N::value() {
            sum += select(class % width == u32::cast_from(i), v[i] * on, 0.0f32);
        }
    }
    if comptime!(goal == Goal::Smoothed) {
        sum += vector_sum(v) * off;
    }
    sum
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
            if !has_class(class, columns * N::value(), goal) {
                d = Vector::new(nothing(lse[row]));
            }
        }
        d_logits[i] = Vector::cast_from(d * Vector::new(scale));
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// The first column of the largest element of each row; where a row has NaN, that of its first.
#[cube(launch_unchecked)]
fn find_largest<X: Float, N: Size>(
    x: &Array<Vector<X, N>>,
    ids: &mut Array<u32>,
    #[comptime] block_per_row: bool,
    #[define(X)] _elem: ElemType,
) {
    let columns = x.len() / ids.len();
    let mut row = first_row(block_per_row);
    while row < ids.len() {
        let mut largest = f32::min_value();
        // Remains 0 in a row where nothing is larger than the smallest number.
        let mut at = 0u32;
        let mut broken = NOWHERE.runtime();
        let mut c = lane(block_per_row);
        while c < columns {
            let v = Vector::<f32, N>::cast_from(x[row * columns + c]);
            if has_nan(v) {
                broken = min(broken, u32::cast_from(c * N::value()) + first_nan(v));
            }
            let top = vector_max(v);
            if top > largest {
                at = u32::cast_from(c * N::value()) + vector_argmax(v, top);
                largest = top;
            }
            c += lanes(block_per_row);
        }
        let top = row_max(largest, block_per_row);
        let found = select(largest == top, at | NUMBER, NOWHERE);
        at = row_min(min(broken, found), block_per_row) & comptime!(!NUMBER);
        if lane(block_per_row) == 0 {
            ids[row] = min(at, u32::cast_from(columns * N::value()) - 1);
        }
        row += row_step(block_per_row);
    }
}

/// The targets as arguments of the kernels: classes, distributions, how they are used, `on` and `off`; and what the sum of the
/// losses is divided by.
struct TargetArgs<R: Runtime> {
    ids: ArrayArg<R>,
    goals: ArrayArg<R>,
    elem: ElemType,
    goal: Goal,
    on: f32,
    off: f32,
    counted: usize,
}

impl<R: Runtime> TargetArgs<R> {
    /// The kernels do not read what is absent; the logits are passed for it.
    fn new(logits: &Tensor, targets: &Targets<'_, Gpu<R>>) -> Self {
        let m = logits.rows();
        let by_class = |ids: &Ids, goal, [on, off]: [f32; 2], counted| Self {
            ids: ids.arg(),
            goals: logits.arg(),
            elem: logits.elem(),
            goal,
            on,
            off,
            counted,
        };
        match *targets {
            Targets::Classes { ids, smoothing } => {
                let goal = if smoothing == 0.0 { Goal::Class } else { Goal::Smoothed };
                by_class(ids, goal, [1.0 - smoothing, smoothing / logits.last() as f32], m)
            }
            Targets::Labels { ids, counted } => by_class(ids, Goal::Label, [1.0, 0.0], counted),
            Targets::Probabilities(p) => {
                let (ids, goals, elem) = (array(logits.handle(), m), p.arg(), p.elem());
                Self { ids, goals, elem, goal: Goal::Distribution, on: 0.0, off: 0.0, counted: m }
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
    let TargetArgs { ids, goals, elem, goal, on, off, counted } = TargetArgs::new(logits, targets);
    let lse = gpu.empty([m], Dtype::F32);
    let scores = gpu.empty([2, m], Dtype::F32);
    let RowLaunch { n, count, dim, block_per_row } = RowLaunch::new(gpu, m, v);
    let (from, to, types) = (logits.arg(), scores.arg(), [logits.elem(), elem]);
    launch!(score_rows(
        gpu,
        count,
        dim,
        n,
        from,
        ids,
        goals,
        lse.arg(),
        to,
        on,
        off,
        goal,
        block_per_row,
        types
    ));
    (totals(gpu, &scores, [1.0 / counted as f64, 1.0]), lse)
}

/// Returns `d_logits [M, V]` of `scale` times the mean loss.
pub(crate) fn backward<R: Runtime>(
    gpu: &Gpu<R>,
    logits: &Tensor,
    targets: &Targets<'_, Gpu<R>>,
    lse: &Tensor,
    scale: f32,
) -> Tensor {
    let v = logits.last();
    let TargetArgs { ids, goals, elem, goal, on, off, counted } = TargetArgs::new(logits, targets);
    let d_logits = gpu.empty(logits.shape, logits.dtype);
    let n = gpu.vector(&[v]);
    let (count, dim) = (grid(logits.len() / n, THREADS as usize), CubeDim::new_1d(THREADS));
    let (from, saved, to, types) = (logits.arg(), lse.arg(), d_logits.arg(), [logits.elem(), elem]);
    let scale = scale / counted as f32;
    launch!(score_rows_backward(
        gpu, count, dim, n, from, ids, goals, saved, to, on, off, scale, goal, types
    ));
    d_logits
}

/// `x [M, V] -> [M]`
pub(crate) fn argmax_rows<R: Runtime>(gpu: &Gpu<R>, x: &Tensor) -> Ids {
    let ids = gpu.empty_ids(x.rows());
    let RowLaunch { n, count, dim, block_per_row } = RowLaunch::new(gpu, x.rows(), x.last());
    launch!(find_largest(gpu, count, dim, n, x.arg(), ids.arg(), block_per_row, x.elem()));
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
