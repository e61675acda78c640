//! The forward: context, and the log-sum-exp of each row of scores for the backward.

use super::head::{Extents, Head};
use super::relative::{SLACK, Tables};
use crate::host::array::{Array, data, data_mut, scratch, unwritten, view, view_mut};
use crate::host::par;
use crate::host::product::{Destination, Engine, Multiply, Products, WithEngine, split_blocks};
use crate::host::real::Real;
use crate::host::reduce::{maximum, sum};
use crate::ops::{AttentionShape, QkvBias};
use ndarray::{ArrayViewMut2, s};

/// Returns `context [B·T, C]` and the log-sum-exp of the scores, `[B, H, T]`.
pub(in crate::host) fn forward<F: Multiply>(
    products: Products,
    qkv: &Array<F>,
    bias: &QkvBias<'_, Array<F>>,
    shape: AttentionShape,
) -> (Array<F>, Array<F>) {
    F::with_engine(products, Forward { qkv, bias, shape })
}

struct Forward<'a, F: Real> {
    qkv: &'a Array<F>,
    bias: &'a QkvBias<'a, Array<F>>,
    shape: AttentionShape,
}

impl<F: Real> WithEngine<F> for Forward<'_, F> {
    type Output = (Array<F>, Array<F>);
    fn run<E: Engine<F>>(self, engine: E) -> Self::Output {
        let e = Extents::new(self.qkv, self.shape);
        let tables = Tables::new(self.bias, self.shape);
        let mut context = unwritten([e.batch * e.t, e.c]);
        let mut lse = unwritten([e.batch, e.heads, e.t]);
        let heads = split_blocks(view_mut(data_mut(&mut context), [e.batch * e.t, e.c]), e.t, e.d);
        let heads = heads.into_iter().map(|(_, _, context)| context);
        let tasks = heads.zip(data_mut(&mut lse).chunks_exact_mut(e.t));
        par::each(tasks.collect(), |task, (context, lse)| {
            let head = Head::new(task, e, data(self.qkv), self.bias, tables.as_ref());
            head.forward(engine, &data(self.bias.v)[e.columns(0, head.head)], context, lse);
        });
        (context, lse)
    }
}

impl<F: Real> Head<'_, F> {
    /// Writes `context [T, D]` and `lse [T]`. The weights of a row add up to one, so `v_bias` is added to the result instead of
    /// each value.
    fn forward<E: Engine<F>>(
        &self,
        engine: E,
        v_bias: &[F],
        mut context: ArrayViewMut2<'_, F>,
        lse: &mut [F],
    ) {
        let t = self.e.t;
        let (keys, values) = (engine.pack(self.k), engine.pack(self.v.t()));
        for rows in self.e.tiles() {
            let mut scores = scratch(rows.len() * t + SLACK);
            let q = self.scaled_queries(rows.clone());
            self.scores(engine, rows.start, &q, &keys, &mut scores);
            let lse = &mut lse[rows.clone()];
            // The division by the sum of a row is applied to the result, which has fewer elements than the weights.
            let mut scales = scratch(rows.len());
            softmax_rows(&mut scores, t, lse, &mut scales);
            let mut out = context.slice_mut(s![rows.clone(), ..]);
            let weights = view(&scores[..rows.len() * t], [rows.len(), t]);
            engine.multiply_serial(weights, &values, Destination::replace(out.view_mut()));
            for (mut row, &scale) in out.outer_iter_mut().zip(&scales) {
                let row = row.as_slice_mut().expect("rows of a head are contiguous");
                for (v, &bias) in row.iter_mut().zip(v_bias) {
                    *v = *v * scale + bias;
                }
            }
        }
    }
}

/// [`softmax_weights`] of each row of `t` scores. Generic over the element type only, so that it is not compiled for every
/// engine.
fn softmax_rows<F: Real>(scores: &mut [F], t: usize, lse: &mut [F], scales: &mut [F]) {
    par::simd(
        #[inline(always)]
        || {
            for ((row, lse), scale) in scores.chunks_exact_mut(t).zip(lse).zip(scales) {
                (*lse, *scale) = softmax_weights(row);
            }
        },
    );
}

/// The softmax of a row in place, up to a factor. Returns the log-sum-exp of the row, and the factor.
#[inline(always)]
fn softmax_weights<F: Real>(row: &mut [F]) -> (F, F) {
    let largest = maximum(row);
    for v in row.iter_mut() {
        *v = (*v - largest).exp();
    }
    let total = sum(row.len(), |i| row[i]);
    (largest + total.ln(), F::from_f64(1.0) / total)
}
