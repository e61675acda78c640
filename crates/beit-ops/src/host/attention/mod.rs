//! `softmax((q + q_bias) D^-1/2 · kᵀ + R) · (v + v_bias)`, one task for each head of an image.
//!
//! A task passes over the queries in tiles of whole rows of scores, which stay in the cache: no other scores ever exist. The
//! backward computes them again from the log-sum-exp of each row.

mod relative;

use self::relative::{SLACK, Tables, add_to_tables};
use super::Host;
use super::array::{Array, data, data_mut, last, scratch, unwritten, view, view_mut, zeros};
use super::gemm::{Engine, Products, Results, WithEngine, pieces};
use super::par;
use super::real::Real;
use super::rows::{add_partials, maximum, sum};
use crate::ops::{AttentionOps, AttentionShape, AttentionTraining, QkvBias, QkvBiasGrad};
use alloc::vec::Vec;
use core::ops::Range;
use ndarray::{ArrayView2, ArrayViewMut2, s};

/// Scores of a tile: one has all those of 197 tokens.
const TILE: usize = 40 * 1024;

/// The extents of one call.
#[derive(Clone, Copy)]
struct Extents {
    batch: usize,
    t: usize,
    heads: usize,
    d: usize,
    c: usize,
}

impl Extents {
    fn new<F: Real>(qkv: &Array<F>, shape: AttentionShape) -> Self {
        let c = last(qkv) / 3;
        let batch = qkv.len() / (3 * c * shape.tokens);
        Self { batch, t: shape.tokens, heads: shape.heads, d: c / shape.heads, c }
    }

    /// `D^-1/2`
    fn scale<F: Real>(&self) -> F {
        F::of(1.0 / libm::sqrt(self.d as f64))
    }

    /// The queries in tiles of nearly one size.
    fn tiles(&self) -> impl Iterator<Item = Range<usize>> {
        let count = (self.t * self.t).div_ceil(TILE).clamp(1, self.t);
        let (t, rows) = (self.t, self.t.div_ceil(count));
        (0..t).step_by(rows).map(move |begin| begin..t.min(begin + rows))
    }

    /// The columns of one head in the q (0), k (1) or v (2) part of a row.
    fn columns(&self, part: usize, head: usize) -> Range<usize> {
        let first = part * self.c + head * self.d;
        first..first + self.d
    }
}

/// One head of one image: views of what it reads.
struct Head<'a, F: Real> {
    e: Extents,
    head: usize,
    /// `[T, D]` each.
    q: ArrayView2<'a, F>,
    k: ArrayView2<'a, F>,
    v: ArrayView2<'a, F>,
    /// `[D]`
    q_bias: &'a [F],
    tables: Option<&'a Tables<F>>,
}

impl<'a, F: Real> Head<'a, F> {
    fn new(
        task: usize,
        e: Extents,
        qkv: &'a [F],
        bias: &QkvBias<'a, Array<F>>,
        tables: Option<&'a Tables<F>>,
    ) -> Self {
        let (image, head) = (task / e.heads, task % e.heads);
        let image = view(&qkv[image * 3 * e.t * e.c..][..3 * e.t * e.c], [e.t, 3 * e.c]);
        let [q, k, v] = [0, 1, 2].map(|part| image.slice_move(s![.., e.columns(part, head)]));
        Self { e, head, q, k, v, q_bias: &data(bias.q)[e.columns(0, head)], tables }
    }

    /// `(q + q_bias) D^-1/2 [rows, D]` of some queries.
    fn scaled_queries(&self, rows: Range<usize>) -> Array<F> {
        let mut scaled = unwritten([rows.len(), self.e.d]);
        let scale = self.e.scale();
        let out = data_mut(&mut scaled);
        par::simd(
            #[inline(always)]
            || {
                let queries = self.q.slice(s![rows, ..]);
                for (out, q) in out.chunks_exact_mut(self.e.d).zip(queries.outer_iter()) {
                    let q = q.to_slice().expect("rows of q are contiguous");
                    for ((out, &q), &bias) in out.iter_mut().zip(q).zip(self.q_bias) {
                        *out = (q + bias) * scale;
                    }
                }
            },
        );
        scaled
    }

    /// The scores of some queries into `scores [rows, T]`, which has [`SLACK`] elements more. `keys` is `k`, packed.
    fn scores<E: Engine<F>>(&self, engine: E, first: usize, q: &Array<F>, keys: &E::Right, scores: &mut [F]) {
        let t = self.e.t;
        if let Some(tables) = self.tables {
            tables.copy(self.head, first, t, scores);
        }
        let rows = q.len() / self.e.d;
        let c = view_mut(&mut scores[..rows * t], [rows, t]);
        let into = Results { c, also: None, add: self.tables.is_some() };
        engine.multiply_serial(view(q, [rows, self.e.d]), keys, into);
    }
}

/// Returns `context [B·T, C]` and the log-sum-exp of the scores, `[B, H, T]`.
pub(super) fn forward<F: Real>(
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
        let contexts = pieces(view_mut(data_mut(&mut context), [e.batch * e.t, e.c]), e.t, e.d);
        let tasks =
            contexts.into_iter().map(|(_, _, context)| context).zip(data_mut(&mut lse).chunks_exact_mut(e.t));
        par::each(tasks.collect(), |task, (context, lse)| {
            let head = Head::new(task, e, data(self.qkv), self.bias, tables.as_ref());
            head.forward(engine, &data(self.bias.v)[e.columns(0, head.head)], context, lse);
        });
        (context, lse)
    }
}

impl<F: Real> Head<'_, F> {
    /// Rows of the softmax add up to one, so `v_bias` is added to the result.
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
            // The weights are divided by their sums once they have met the values: those are fewer.
            let mut scales = scratch(rows.len());
            softmax_rows(&mut scores, t, lse, &mut scales);
            let mut out = context.slice_mut(s![rows.clone(), ..]);
            let weights = view(&scores[..rows.len() * t], [rows.len(), t]);
            engine.multiply_serial(weights, &values, Results::replacing(out.view_mut()));
            for (mut row, &scale) in out.outer_iter_mut().zip(&scales) {
                let row = row.as_slice_mut().expect("rows of a head are contiguous");
                for (v, &bias) in row.iter_mut().zip(v_bias) {
                    *v = *v * scale + bias;
                }
            }
        }
    }
}

/// [`softmax_weights`] of rows of `t` scores. Compiled once, and not for each engine.
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

/// The softmax of a row, but for a factor, in place; returns its log-sum-exp and the factor.
#[inline(always)]
fn softmax_weights<F: Real>(row: &mut [F]) -> (F, F) {
    let largest = maximum(row);
    for v in row.iter_mut() {
        *v = (*v - largest).exp();
    }
    let total = sum(row.len(), |i| row[i]);
    (largest + total.ln(), F::of(1.0) / total)
}

/// With `P` the softmax: `dV = Pᵀ dO`, `dP = dO Vᵀ`, `dS = P ⊙ (dP - rowsum(dP ⊙ P))`, `dQ = D^-1/2 dS K`, `dK = dSᵀ Q`. A
/// constant added to a row of `dP` changes nothing, so `v_bias` is left out of `V`.
pub(super) fn backward<F: Real>(
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
    /// `[T, D]` each.
    q: ArrayViewMut2<'a, F>,
    k: ArrayViewMut2<'a, F>,
    v: ArrayViewMut2<'a, F>,
    /// `[R + SLACK]`, or nothing where there is no table.
    table: &'a mut [F],
}

impl<F: Real> WithEngine<F> for Backward<'_, F> {
    /// `d_qkv` and the gradients of the tables `[B, H, R + SLACK]`, turned round.
    type Output = (Array<F>, Array<F>);
    fn run<E: Engine<F>>(self, engine: E) -> Self::Output {
        let e = Extents::new(self.qkv, self.shape);
        let tables = Tables::new(self.bias, self.shape);
        let mut d_qkv = unwritten([e.batch * e.t, 3 * e.c]);
        let heads = e.batch * e.heads;
        let rows = tables.as_ref().map_or(0, |tables| tables.rows() + SLACK);
        let mut partials: Array<F> = zeros([heads, rows]);
        let mut tasks = Vec::with_capacity(heads);
        let mut rest = data_mut(&mut partials);
        for image in data_mut(&mut d_qkv).chunks_exact_mut(e.t * 3 * e.c) {
            let (q, kv) = view_mut(image, [e.t, 3 * e.c]).split_at(ndarray::Axis(1), e.c);
            let (k, v) = kv.split_at(ndarray::Axis(1), e.c);
            let [q, k, v] =
                [q, k, v].map(|part| pieces(part, e.t, e.d).into_iter().map(|(_, _, piece)| piece));
            for ((q, k), v) in q.zip(k).zip(v) {
                let (table, others) = rest.split_at_mut(rows);
                rest = others;
                tasks.push(Gradients { q, k, v, table });
            }
        }
        par::each(tasks, |task, gradients| {
            let head = Head::new(task, e, data(self.qkv), self.bias, tables.as_ref());
            let image = view(&data(self.d_context)[task / e.heads * e.t * e.c..][..e.t * e.c], [e.t, e.c]);
            let d_out = image.slice(s![.., e.columns(0, head.head)]);
            head.backward(engine, d_out, &data(self.lse)[task * e.t..][..e.t], gradients);
        });
        (d_qkv, partials)
    }
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
        let (keys, values, keys_turned) = (engine.pack(self.k), engine.pack(self.v), engine.pack(self.k.t()));
        for rows in self.e.tiles() {
            let (mut probs, mut d_scores) =
                (scratch(rows.len() * t + SLACK), scratch(rows.len() * t + SLACK));
            let extents = [rows.len(), t];
            let q = self.scaled_queries(rows.clone());
            self.scores(engine, rows.start, &q, &keys, &mut probs);
            let d_out = d_out.slice(s![rows.clone(), ..]);
            let into = Results::replacing(view_mut(&mut d_scores[..rows.len() * t], extents));
            engine.multiply_serial(d_out, &values, into);
            softmax_rows_backward(&mut probs, &mut d_scores, t, &lse[rows.clone()]);
            if let Some(tables) = self.tables {
                tables.add(rows.start, t, &d_scores, gradients.table);
            }
            let probs = view(&probs[..rows.len() * t], extents);
            let d_scores = view(&d_scores[..rows.len() * t], extents);
            // The first tile writes, the others add.
            let add = rows.start > 0;
            let into = |c| Results { c, also: None, add };
            engine.multiply_serial(probs.t(), &engine.pack(d_out.t()), into(gradients.v.view_mut()));
            let q = view(&q, [rows.len(), self.e.d]);
            engine.multiply_serial(d_scores.t(), &engine.pack(q.t()), into(gradients.k.view_mut()));
            let into = Results::replacing(gradients.q.slice_mut(s![rows, ..]));
            engine.multiply_serial(d_scores, &keys_turned, into);
        }
        let scale = self.e.scale();
        gradients.q.mapv_inplace(|v| v * scale);
    }
}

/// [`softmax_backward`] of rows of `t` scores. Compiled once, and not for each engine.
fn softmax_rows_backward<F: Real>(scores: &mut [F], d: &mut [F], t: usize, lse: &[F]) {
    par::simd(
        #[inline(always)]
        || {
            for ((scores, d), &lse) in scores.chunks_exact_mut(t).zip(d.chunks_exact_mut(t)).zip(lse) {
                softmax_backward(scores, d, lse);
            }
        },
    );
}

/// From a row of scores and of `dP`: the softmax and the gradient of the scores, in place.
#[inline(always)]
fn softmax_backward<F: Real>(scores: &mut [F], d: &mut [F], lse: F) {
    for score in scores.iter_mut() {
        *score = (*score - lse).exp();
    }
    super::rows::softmax_row_backward(d, scores);
}

/// The biases of q and v are added to every row, so their gradients are column sums.
fn add_qv_bias<F: Real>(d_qkv: &[F], e: Extents, d_bias: &mut QkvBiasGrad<'_, Array<F>>) {
    let mut sums = [data_mut(d_bias.q), data_mut(d_bias.v)];
    add_partials(e.batch * e.t, &mut sums, |rows, out| {
        let [d_q, d_v] = out;
        par::simd(
            #[inline(always)]
            || {
                for row in d_qkv[rows.start * 3 * e.c..rows.end * 3 * e.c].chunks_exact(3 * e.c) {
                    super::rows::add(d_q, &row[..e.c]);
                    super::rows::add(d_v, &row[2 * e.c..]);
                }
            },
        );
    });
}

on_host! {
    impl AttentionOps for Host<F> {
        fn attention(&self, qkv: &Tensor, bias: &QkvBias<'_, Tensor>, shape: AttentionShape) -> Tensor {
            forward(self.products, qkv, bias, shape).0
        }
    }

    impl AttentionTraining for Host<F> {
        /// The log-sum-exp of the scores, `[B, H, T]`.
        type Probs = Tensor;

        fn attention_forward(
            &self,
            qkv: &Tensor,
            bias: &QkvBias<'_, Tensor>,
            shape: AttentionShape,
        ) -> (Tensor, Tensor) {
            forward(self.products, qkv, bias, shape)
        }
        fn attention_backward(
            &self,
            d_context: &Tensor,
            qkv: &Tensor,
            bias: &QkvBias<'_, Tensor>,
            lse: &Tensor,
            shape: AttentionShape,
            d_bias: &mut QkvBiasGrad<'_, Tensor>,
        ) -> Tensor {
            backward(self.products, [d_context, qkv, lse], bias, shape, d_bias)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Stream;
    use crate::prelude::*;
    use crate::{relative_position_index, relative_position_rows};

    /// More than one tile of queries, and the last one smaller.
    const SHAPE: AttentionShape = AttentionShape { heads: 2, tokens: 210, window: [11, 19] };
    const D: usize = 3;
    const C: usize = 2 * D;

    /// `qkv`, `q_bias`, `v_bias` and a table.
    fn inputs() -> [Array<f64>; 4] {
        let rows = relative_position_rows(SHAPE.window);
        let shapes: [&[usize]; 4] = [&[2 * SHAPE.tokens, 3 * C], &[C], &[C], &[rows, SHAPE.heads]];
        let mut number = 0;
        shapes.map(|shape| {
            number += 1;
            let shape = crate::Shape::from_slice(shape).expect("few extents");
            Host::<f64>::new().upload(shape, &Stream::new(3, number).normals(shape.elements(), 1.0))
        })
    }

    fn attention([qkv, q, v, table]: &[Array<f64>; 4]) -> (Array<f64>, Array<f64>) {
        let bias = QkvBias { q, v, table: Some(table), shared: None };
        forward(Products::Exact, qkv, &bias, SHAPE)
    }

    /// One number of the context, as the formula says it.
    fn element(
        [qkv, q_bias, v_bias, table]: &[Array<f64>; 4],
        image: usize,
        query: usize,
        column: usize,
    ) -> f64 {
        let (t, head) = (SHAPE.tokens, column / D);
        let at =
            |token: usize, part: usize, k: usize| qkv[(image * t + token) * 3 * C + part * C + head * D + k];
        let score = |key: usize| {
            let product = |k: usize| (at(query, 0, k) + q_bias[head * D + k]) * at(key, 1, k);
            let row = relative_position_index(SHAPE.window, query, key);
            (0..D).map(product).sum::<f64>() / (D as f64).sqrt() + table[row * SHAPE.heads + head]
        };
        let weights: Vec<f64> = (0..t).map(|key| score(key).exp()).collect();
        let value = |key: usize| at(key, 2, column % D) + v_bias[column];
        (0..t).map(|key| weights[key] * value(key)).sum::<f64>() / weights.iter().sum::<f64>()
    }

    #[test]
    fn several_tiles_against_the_formula() {
        let inputs = inputs();
        let (context, _) = attention(&inputs);
        for (query, column) in [(0, 0), (1, 5), (104, 2), (105, 3), (106, 4), (209, 1)] {
            let (got, want) =
                (context[(SHAPE.tokens + query) * C + column], element(&inputs, 1, query, column));
            assert!((got - want).abs() < 1e-12, "query {query}, column {column}: got {got}, want {want}");
        }
    }

    #[test]
    fn several_tiles_against_differences() {
        let inputs = inputs();
        let (context, lse) = attention(&inputs);
        let d_context =
            Host::<f64>::new().upload(context.shape, &Stream::new(3, 9).normals(context.len(), 1.0));
        let [qkv, q, v, table] = &inputs;
        let bias = QkvBias { q, v, table: Some(table), shared: None };
        let [mut dq, mut dv, mut d_table] = [q, v, table].map(|x| zeros(x.shape));
        let mut grads = QkvBiasGrad { q: &mut dq, v: &mut dv, table: Some(&mut d_table), shared: None };
        let d_qkv = backward(Products::Exact, [&d_context, qkv, &lse], &bias, SHAPE, &mut grads);

        let loss = |moved: &[Array<f64>; 4]| {
            attention(moved).0.iter().zip(&d_context).map(|(y, d)| y * d).sum::<f64>()
        };
        for (which, gradient) in [&d_qkv, &dq, &dv, &d_table].into_iter().enumerate() {
            for at in (0..gradient.len()).step_by(gradient.len() / 5) {
                let moved = |step: f64| {
                    let mut moved = inputs.clone();
                    moved[which][at] += step;
                    loss(&moved)
                };
                let want = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!(
                    (gradient[at] - want).abs() < 1e-6,
                    "{which}[{at}]: got {}, want {want}",
                    gradient[at]
                );
            }
        }
    }
}
