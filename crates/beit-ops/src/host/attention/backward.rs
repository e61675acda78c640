//! The backward. With `P` the softmax: `dV = Pᵀ dO`, `dP = dO Vᵀ`, `dS = P ⊙ (dP - rowsum(dP ⊙ P))`, `dQ = D^-1/2 dS K`,
//! `dK = dSᵀ Q`.
//!
//! A constant added to a row of `dP` does not change `dS`. So `v_bias` is left out of `V`.

use super::head::{Extents, Head};
use super::relative::{SLACK, Tables, add_to_tables};
use crate::host::array::{Array, data, data_mut, scratch, unwritten, view, view_mut, zeros};
use crate::host::par;
use crate::host::product::{Destination, Engine, Multiply, Products, WithEngine, split_blocks};
use crate::host::real::Real;
use crate::host::reduce::{add, add_partials, softmax_row_backward};
use crate::ops::{AttentionShape, QkvBias, QkvBiasGrad};
use alloc::vec::Vec;
use ndarray::{ArrayView2, ArrayViewMut2, Axis, s};

/// Returns `d_qkv [B·T, 3C]`.
pub(in crate::host) fn backward<F: Multiply>(
    products: Products,
    [d_context, qkv, lse]: [&Array<F>; 3],
    bias: &QkvBias<'_, Array<F>>,
    shape: AttentionShape,
    d_bias: &mut QkvBiasGrad<'_, Array<F>>,
) -> Array<F> {
    let e = Extents::new(qkv, shape);
    let (d_qkv, partials) = F::with_engine(products, Backward { d_context, qkv, lse, bias, shape });
    add_qv_bias(data(&d_qkv), e, d_bias);
    add_to_tables(&partials, shape, d_bias);
    d_qkv
}

struct Backward<'a, F: Real> {
    d_context: &'a Array<F>,
    qkv: &'a Array<F>,
    lse: &'a Array<F>,
    bias: &'a QkvBias<'a, Array<F>>,
    shape: AttentionShape,
}

/// What the backward of one head writes.
struct Gradients<'a, F> {
    /// `[T, D]`, as are `k` and `v`.
    q: ArrayViewMut2<'a, F>,
    k: ArrayViewMut2<'a, F>,
    v: ArrayViewMut2<'a, F>,
    /// `[R + SLACK]`, or empty where there is no table.
    table: &'a mut [F],
}

impl<F: Real> WithEngine<F> for Backward<'_, F> {
    /// `d_qkv`, and the gradients of the reversed tables `[B, H, R + SLACK]`.
    type Output = (Array<F>, Array<F>);
    fn run<E: Engine<F>>(self, engine: E) -> Self::Output {
        let e = Extents::new(self.qkv, self.shape);
        let tables = Tables::new(self.bias, self.shape);
        let mut d_qkv = unwritten([e.batch * e.t, 3 * e.c]);
        let rows = tables.as_ref().map_or(0, |tables| tables.rows() + SLACK);
        let mut partials: Array<F> = zeros([e.batch * e.heads, rows]);
        let tasks = split_gradients(e, data_mut(&mut d_qkv), data_mut(&mut partials), rows);
        par::each(tasks, |task, gradients| {
            let head = Head::new(task, e, data(self.qkv), self.bias, tables.as_ref());
            let image = view(&data(self.d_context)[task / e.heads * e.t * e.c..][..e.t * e.c], [e.t, e.c]);
            let d_out = image.slice(s![.., e.columns(0, head.head)]);
            head.backward(engine, d_out, &data(self.lse)[task * e.t..][..e.t], gradients);
        });
        (d_qkv, partials)
    }
}

/// Splits `d_qkv [B·T, 3C]` and `tables [B, H, rows]` into what each head of each image writes.
fn split_gradients<'a, F>(
    e: Extents,
    d_qkv: &'a mut [F],
    mut tables: &'a mut [F],
    rows: usize,
) -> Vec<Gradients<'a, F>> {
    let mut heads = Vec::with_capacity(e.batch * e.heads);
    for image in d_qkv.chunks_exact_mut(e.t * 3 * e.c) {
        let (q, kv) = view_mut(image, [e.t, 3 * e.c]).split_at(Axis(1), e.c);
        let (k, v) = kv.split_at(Axis(1), e.c);
        let [q, k, v] =
            [q, k, v].map(|part| split_blocks(part, e.t, e.d).into_iter().map(|(_, _, block)| block));
        for ((q, k), v) in q.zip(k).zip(v) {
            let (table, rest) = tables.split_at_mut(rows);
            tables = rest;
            heads.push(Gradients { q, k, v, table });
        }
    }
    heads
}

impl<F: Real> Head<'_, F> {
    fn backward<E: Engine<F>>(
        &self,
        engine: E,
        d_out: ArrayView2<'_, F>,
        lse: &[F],
        mut gradients: Gradients<'_, F>,
    ) {
        let t = self.e.t;
        let (keys, values) = (engine.pack(self.k), engine.pack(self.v));
        let keys_transposed = engine.pack(self.k.t());
        for rows in self.e.tiles() {
            let (mut probs, mut d_scores) =
                (scratch(rows.len() * t + SLACK), scratch(rows.len() * t + SLACK));
            let extents = [rows.len(), t];
            let q = self.scaled_queries(rows.clone());
            self.scores(engine, rows.start, &q, &keys, &mut probs);
            let d_out = d_out.slice(s![rows.clone(), ..]);
            let into = Destination::replace(view_mut(&mut d_scores[..rows.len() * t], extents));
            engine.multiply_serial(d_out, &values, into);
            scores_backward(&mut probs, &mut d_scores, t, &lse[rows.clone()]);
            if let Some(tables) = self.tables {
                tables.add_gradient(rows.start, t, &d_scores, gradients.table);
            }
            let probs = view(&probs[..rows.len() * t], extents);
            let d_scores = view(&d_scores[..rows.len() * t], extents);
            // The first tile replaces dK and dV, the others add to them.
            let into = |c| Destination { c, second: None, accumulate: rows.start > 0 };
            engine.multiply_serial(probs.t(), &engine.pack(d_out.t()), into(gradients.v.view_mut()));
            let q = view(&q, [rows.len(), self.e.d]);
            engine.multiply_serial(d_scores.t(), &engine.pack(q.t()), into(gradients.k.view_mut()));
            let into = Destination::replace(gradients.q.slice_mut(s![rows, ..]));
            engine.multiply_serial(d_scores, &keys_transposed, into);
        }
        let scale = self.e.scale();
        gradients.q.mapv_inplace(|v| v * scale);
    }
}

/// For each row of `t`: turns scores into `P` and `dP` into the gradient of the scores, both in place. Generic over the element
/// type only, so that it is not compiled for every engine.
fn scores_backward<F: Real>(scores: &mut [F], d: &mut [F], t: usize, lse: &[F]) {
    par::simd(
        #[inline(always)]
        || {
            for ((scores, d), &lse) in scores.chunks_exact_mut(t).zip(d.chunks_exact_mut(t)).zip(lse) {
                for score in scores.iter_mut() {
                    *score = (*score - lse).exp();
                }
                softmax_row_backward(d, scores);
            }
        },
    );
}

/// The biases of q and v are added to every row, so their gradients are the sums of columns.
fn add_qv_bias<F: Real>(d_qkv: &[F], e: Extents, d_bias: &mut QkvBiasGrad<'_, Array<F>>) {
    let mut sums = [data_mut(d_bias.q), data_mut(d_bias.v)];
    add_partials(e.batch * e.t, &mut sums, |rows, out| {
        let [d_q, d_v] = out;
        par::simd(
            #[inline(always)]
            || {
                for row in d_qkv[rows.start * 3 * e.c..rows.end * 3 * e.c].chunks_exact(3 * e.c) {
                    add(d_q, &row[..e.c]);
                    add(d_v, &row[2 * e.c..]);
                }
            },
        );
    });
}
