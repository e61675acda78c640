//! `softmax((q + q_bias) D^-1/2 · kᵀ + R) · (v + v_bias)`, one task an image.

use super::array::{Array, data, data_mut, last, view, view_mut, zeros};
use super::gemm::gemm_serial;
use super::par;
use super::real::Real;
use super::rows::{add_partials, softmax_row, softmax_row_backward};
use crate::ops::{AttentionShape, QkvBias, QkvBiasGrad};
use crate::relative_position_index;
use alloc::vec;
use alloc::vec::Vec;
use ndarray::{ArrayView2, ArrayViewMut2, s};

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

    /// The columns of one head in the q (0), k (1) or v (2) part of a row.
    fn columns(&self, part: usize, head: usize) -> core::ops::Range<usize> {
        let first = part * self.c + head * self.d;
        first..first + self.d
    }
}

/// Returns `context [B·T, C]` and the softmax `[B, H, T, T]`.
pub(super) fn forward<F: Real>(
    qkv: &Array<F>,
    bias: &QkvBias<'_, Array<F>>,
    shape: AttentionShape,
) -> (Array<F>, Vec<F>) {
    let e = Extents::new(qkv, shape);
    let relative = relative_bias(bias, shape);
    let qkv = data(qkv);
    let mut context = zeros([e.batch * e.t, e.c]);
    let mut probs = vec![F::of(0.0); e.batch * e.heads * e.t * e.t];
    let (image, scores) = (e.t * e.c, e.heads * e.t * e.t);
    par::chunks2((data_mut(&mut context), image), (&mut probs, scores), |b, context, probs| {
        let biased = Biased::new(&qkv[b * 3 * image..][..3 * image], bias, e);
        let mut context = view_mut(context, [e.t, e.c]);
        for (head, probs) in probs.chunks_exact_mut(e.t * e.t).enumerate() {
            if let Some(relative) = &relative {
                probs.copy_from_slice(&relative[head * e.t * e.t..][..e.t * e.t]);
            }
            let beta = F::of(if relative.is_some() { 1.0 } else { 0.0 });
            gemm_serial(biased.q(head), biased.k(head).t(), beta, view_mut(probs, [e.t, e.t]));
            par::simd(
                #[inline(always)]
                || {
                    for row in probs.chunks_exact_mut(e.t) {
                        softmax_row(row);
                    }
                },
            );
            let out = context.slice_mut(s![.., e.columns(0, head)]);
            gemm_serial(view(probs, [e.t, e.t]), biased.v(head), F::of(0.0), out);
        }
    });
    (context, probs)
}

/// With `P` the softmax: `dV = Pᵀ dO`, `dP = dO Vᵀ`, `dS = P ⊙ (dP - rowsum(dP ⊙ P))`, `dQ = D^-1/2 dS K`, `dK = dSᵀ Q`.
pub(super) fn backward<F: Real>(
    d_context: &Array<F>,
    qkv: &Array<F>,
    bias: &QkvBias<'_, Array<F>>,
    probs: &[F],
    shape: AttentionShape,
    d_bias: &mut QkvBiasGrad<'_, Array<F>>,
) -> Array<F> {
    let e = Extents::new(qkv, shape);
    let (qkv, d_context) = (data(qkv), data(d_context));
    let has_table = bias.table.is_some() || bias.shared.is_some();
    let mut d_qkv = zeros([e.batch * e.t, 3 * e.c]);
    // Images are grouped so that few partial gradients of the relative bias live at a time.
    let images = par::rows_per_partial(e.batch);
    let scores = if has_table { e.heads * e.t * e.t } else { 0 };
    let mut d_relative = vec![Vec::new(); e.batch.div_ceil(images)];
    let (row3, row) = (3 * e.t * e.c, e.t * e.c);
    par::chunks2((data_mut(&mut d_qkv), images * row3), (&mut d_relative, 1), |group, d_qkv, d_relative| {
        d_relative[0] = vec![F::of(0.0); scores];
        for (i, d_qkv) in d_qkv.chunks_exact_mut(row3).enumerate() {
            let b = group * images + i;
            let image = Image {
                biased: Biased::new(&qkv[b * row3..][..row3], bias, e),
                probs: &probs[b * e.heads * e.t * e.t..][..e.heads * e.t * e.t],
                d_context: view(&d_context[b * row..][..row], [e.t, e.c]),
            };
            image.backward(e, view_mut(d_qkv, [e.t, 3 * e.c]), &mut d_relative[0]);
        }
    });
    add_qv_bias(data(&d_qkv), e, d_bias);
    if has_table {
        let total = d_relative.into_iter().reduce(add_vectors).unwrap_or_default();
        for table in [&mut d_bias.table, &mut d_bias.shared].into_iter().flatten() {
            scatter_relative(&total, shape, data_mut(table));
        }
    }
    d_qkv
}

/// What the backward of one image reads.
struct Image<'a, F> {
    biased: Biased<F>,
    /// `[H, T, T]`
    probs: &'a [F],
    /// `[T, C]`
    d_context: ArrayView2<'a, F>,
}

impl<F: Real> Image<'_, F> {
    /// Writes `d_qkv [T, 3C]` and adds to `d_relative [H, T, T]` unless that is empty.
    fn backward(&self, e: Extents, mut d_qkv: ArrayViewMut2<'_, F>, d_relative: &mut [F]) {
        let zero = F::of(0.0);
        let mut d_scores = vec![zero; e.t * e.t];
        for head in 0..e.heads {
            let probs = &self.probs[head * e.t * e.t..][..e.t * e.t];
            let d_out = self.d_context.slice(s![.., e.columns(0, head)]);
            let p = view(probs, [e.t, e.t]);
            gemm_serial(p.t(), d_out, zero, d_qkv.slice_mut(s![.., e.columns(2, head)]));
            gemm_serial(d_out, self.biased.v(head).t(), zero, view_mut(&mut d_scores, [e.t, e.t]));
            par::simd(
                #[inline(always)]
                || {
                    for (d, p) in d_scores.chunks_exact_mut(e.t).zip(probs.chunks_exact(e.t)) {
                        softmax_row_backward(d, p);
                    }
                    if !d_relative.is_empty() {
                        super::rows::add(&mut d_relative[head * e.t * e.t..][..e.t * e.t], &d_scores);
                    }
                },
            );
            let ds = view(&d_scores, [e.t, e.t]);
            gemm_serial(ds.t(), self.biased.q(head), zero, d_qkv.slice_mut(s![.., e.columns(1, head)]));
            gemm_serial(ds, self.biased.k(head), zero, d_qkv.slice_mut(s![.., e.columns(0, head)]));
        }
        let scale = e.scale();
        d_qkv.slice_mut(s![.., ..e.c]).mapv_inplace(|v| v * scale);
    }
}

/// One image's `(q + q_bias) D^-1/2 | k | v + v_bias`, `[T, 3C]`.
struct Biased<F> {
    qkv: Vec<F>,
    e: Extents,
}

impl<F: Real> Biased<F> {
    fn new(qkv: &[F], bias: &QkvBias<'_, Array<F>>, e: Extents) -> Self {
        let mut qkv = qkv.to_vec();
        let (q_bias, v_bias, scale) = (data(bias.q), data(bias.v), e.scale());
        par::simd(
            #[inline(always)]
            || {
                for row in qkv.chunks_exact_mut(3 * e.c) {
                    let (q, kv) = row.split_at_mut(e.c);
                    for (q, &bias) in q.iter_mut().zip(q_bias) {
                        *q = (*q + bias) * scale;
                    }
                    super::rows::add(&mut kv[e.c..], v_bias);
                }
            },
        );
        Self { qkv, e }
    }

    fn part(&self, part: usize, head: usize) -> ArrayView2<'_, F> {
        view(&self.qkv, [self.e.t, 3 * self.e.c]).slice_move(s![.., self.e.columns(part, head)])
    }
    fn q(&self, head: usize) -> ArrayView2<'_, F> {
        self.part(0, head)
    }
    fn k(&self, head: usize) -> ArrayView2<'_, F> {
        self.part(1, head)
    }
    fn v(&self, head: usize) -> ArrayView2<'_, F> {
        self.part(2, head)
    }
}

/// The relative position bias `[H, T, T]`: the sum of the tables, read through the index.
fn relative_bias<F: Real>(bias: &QkvBias<'_, Array<F>>, shape: AttentionShape) -> Option<Vec<F>> {
    let tables: Vec<&[F]> = [bias.table, bias.shared].into_iter().flatten().map(data).collect();
    if tables.is_empty() {
        return None;
    }
    let (t, heads) = (shape.tokens, shape.heads);
    let index = relative_index(shape);
    let mut relative = vec![F::of(0.0); heads * t * t];
    par::chunks(&mut relative, t * t, |head, relative| {
        for table in &tables {
            for (r, &row) in relative.iter_mut().zip(&index) {
                *r += table[row * heads + head];
            }
        }
    });
    Some(relative)
}

/// `d_table[index[q, k], h] += d_relative[h, q, k]`
fn scatter_relative<F: Real>(d_relative: &[F], shape: AttentionShape, d_table: &mut [F]) {
    let index = relative_index(shape);
    for (head, d_relative) in d_relative.chunks_exact(index.len()).enumerate() {
        for (&d, &row) in d_relative.iter().zip(&index) {
            d_table[row * shape.heads + head] += d;
        }
    }
}

/// `[T, T]`
fn relative_index(shape: AttentionShape) -> Vec<usize> {
    let t = shape.tokens;
    (0..t * t).map(|i| relative_position_index(shape.window, i / t, i % t)).collect()
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

fn add_vectors<F: Real>(mut a: Vec<F>, b: Vec<F>) -> Vec<F> {
    super::rows::add(&mut a, &b);
    a
}
