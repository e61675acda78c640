//! Cross-entropy of logits `[M, V]` against classes, smoothed classes, distributions, or labels of which some are ignored.

use super::Host;
use super::array::{Array, array, data, data_mut, last, shape, unwritten};
use super::par;
use super::real::Real;
use super::reduce::{maximum, sum};
use super::rows::argmax_row;
use crate::ops::{CrossEntropyOps, Device, Targets};
use alloc::vec::Vec;

/// The target of one row: a class, whose probability is `off + on` and that of all others `off`, a distribution, or nothing.
enum Target<'a, F> {
    Class { class: usize, on: F, off: F },
    Distribution(&'a [F]),
    Ignored,
}

impl<F: Real> Target<'_, F> {
    /// The target probability of class `v`.
    #[inline(always)]
    fn at(&self, v: usize) -> F {
        match *self {
            Target::Class { class, on, off } => off + if v == class { on } else { F::from_f64(0.0) },
            Target::Distribution(p) => p[v],
            Target::Ignored => F::from_f64(0.0),
        }
    }

    /// The class of the largest probability.
    fn argmax(&self) -> Option<usize> {
        match *self {
            Target::Class { class, .. } => Some(class),
            Target::Distribution(p) => Some(argmax_row(p)),
            Target::Ignored => None,
        }
    }
}

/// The target of one row of `v` classes.
fn target<'a, F: Real>(targets: &Targets<'a, Host<F>>, row: usize, v: usize) -> Target<'a, F>
where
    Host<F>: Device<Tensor = Array<F>, Ids = Vec<u32>>,
{
    match *targets {
        Targets::Classes { ids, smoothing } => {
            let smoothing = f64::from(smoothing);
            Target::Class {
                class: ids[row] as usize,
                on: F::from_f64(1.0 - smoothing),
                off: F::from_f64(smoothing / v as f64),
            }
        }
        Targets::Probabilities(p) => Target::Distribution(&data(p)[row * v..][..v]),
        Targets::Labels { ids, .. } => match ids[row] as usize {
            class if class < v => Target::Class { class, on: F::from_f64(1.0), off: F::from_f64(0.0) },
            _ => Target::Ignored,
        },
    }
}

/// What the sum of the losses of `m` rows is divided by.
fn counted<F: Real>(targets: &Targets<'_, Host<F>>, m: usize) -> F
where
    Host<F>: Device<Tensor = Array<F>, Ids = Vec<u32>>,
{
    match *targets {
        Targets::Labels { counted, .. } => F::from_f64(counted as f64),
        _ => F::from_f64(m as f64),
    }
}

/// `loss_m = lse_m Σ_v p_v - Σ_v p_v logit_v`.
///
/// Returns `([mean, correct], lse [M])`: the mean loss, the number of rows whose largest logit is the target's, and the
/// log-sum-exp of each row. A row with a logit that is NaN is not right.
pub(super) fn forward<F: Real>(logits: &Array<F>, targets: &Targets<'_, Host<F>>) -> (Array<F>, Array<F>)
where
    Host<F>: Device<Tensor = Array<F>, Ids = Vec<u32>>,
{
    let v = last(logits);
    let m = logits.len() / v;
    let logits = data(logits);
    let rows = par::map(m, |row| {
        let target = target(targets, row, v);
        let logits = &logits[row * v..][..v];
        let (largest, lse) = par::simd(
            #[inline(always)]
            || log_sum_exp(logits),
        );
        let loss = match target {
            Target::Ignored => nothing(lse),
            Target::Class { class, on, off } if off == F::from_f64(0.0) => on * (lse - logits[class]),
            _ => par::simd(
                #[inline(always)]
                || sum(v, |i| target.at(i) * (lse - logits[i])),
            ),
        };
        let best = target.argmax();
        let right = |best| !lse.is_nan() && logits[best] == largest && argmax_row(logits) == best;
        (loss, best.is_some_and(right), lse)
    });
    let mean = sum(m, |i| rows[i].0) / counted(targets, m);
    let correct = rows.iter().filter(|row| row.1).count();
    let lse = rows.iter().map(|row| row.2).collect();
    (array([2], alloc::vec![mean, F::from_f64(correct as f64)]), array([m], lse))
}

/// Loss and gradient of a row that is ignored: zero, or NaN where its logits have one.
fn nothing<F: Real>(lse: F) -> F {
    if lse.is_nan() { lse } else { F::from_f64(0.0) }
}

/// The largest element of a row, and its log-sum-exp.
#[inline(always)]
fn log_sum_exp<F: Real>(row: &[F]) -> (F, F) {
    let largest = maximum(row);
    (largest, largest + sum(row.len(), |i| (row[i] - largest).exp()).ln())
}

/// `d_logit_v = scale / M · (softmax_v - p_v)`, for targets that sum to one.
pub(super) fn backward<F: Real>(
    logits: &Array<F>,
    targets: &Targets<'_, Host<F>>,
    lse: &Array<F>,
    scale: f32,
) -> Array<F>
where
    Host<F>: Device<Tensor = Array<F>, Ids = Vec<u32>>,
{
    let v = last(logits);
    let m = logits.len() / v;
    let scale = F::from_f64(f64::from(scale)) / counted(targets, m);
    let mut d_logits = unwritten(shape(logits));
    let (logits, lse) = (data(logits), data(lse));
    let rows = par::rows_per_task(v);
    par::chunks(data_mut(&mut d_logits), rows * v, |i, d_logits| {
        for (j, d) in d_logits.chunks_exact_mut(v).enumerate() {
            let row = i * rows + j;
            let target = target(targets, row, v);
            let logits = &logits[row * v..][..v];
            if let Target::Ignored = target {
                d.fill(nothing(lse[row]));
                continue;
            }
            par::simd(
                #[inline(always)]
                || {
                    for k in 0..v {
                        d[k] = scale * ((logits[k] - lse[row]).exp() - target.at(k));
                    }
                },
            );
        }
    });
    d_logits
}

on_host! {
    impl CrossEntropyOps for Host<F> {
        fn cross_entropy(&self, logits: &Tensor, targets: &Targets<'_, Self>) -> (Tensor, Tensor) {
            forward(logits, targets)
        }
        fn cross_entropy_backward(
            &self,
            logits: &Tensor,
            targets: &Targets<'_, Self>,
            lse: &Tensor,
            scale: f32,
        ) -> Tensor {
            backward(logits, targets, lse, scale)
        }
    }
}
