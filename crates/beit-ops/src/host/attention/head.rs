//! One head of one image: what forward and backward share.

use super::relative::Tables;
use crate::host::array::{Array, data, data_mut, last, unwritten, view, view_mut};
use crate::host::par;
use crate::host::product::{Destination, Engine};
use crate::host::real::Real;
use crate::ops::{AttentionShape, QkvBias};
use core::ops::Range;
use ndarray::{ArrayView2, s};

/// The most scores of a tile. All scores of 197 tokens fit into one.
const TILE: usize = 40 * 1024;

/// The extents of one call.
#[derive(Clone, Copy)]
pub(super) struct Extents {
    pub(super) batch: usize,
    /// Tokens of an image.
    pub(super) t: usize,
    pub(super) heads: usize,
    /// Channels of a head.
    pub(super) d: usize,
    /// Channels of all heads.
    pub(super) c: usize,
}

impl Extents {
    pub(super) fn new<F: Real>(qkv: &Array<F>, shape: AttentionShape) -> Self {
        let c = last(qkv) / 3;
        let batch = qkv.len() / (3 * c * shape.tokens);
        Self { batch, t: shape.tokens, heads: shape.heads, d: c / shape.heads, c }
    }

    /// `D^-1/2`
    pub(super) fn scale<F: Real>(&self) -> F {
        F::from_f64(1.0 / libm::sqrt(self.d as f64))
    }

    /// The queries of each tile. Tiles are of nearly one size.
    pub(super) fn tiles(&self) -> impl Iterator<Item = Range<usize>> {
        let count = (self.t * self.t).div_ceil(TILE).clamp(1, self.t);
        let (t, rows) = (self.t, self.t.div_ceil(count));
        (0..t).step_by(rows).map(move |begin| begin..t.min(begin + rows))
    }

    /// The columns of one head in the q (0), k (1) or v (2) part of a row.
    pub(super) fn columns(&self, part: usize, head: usize) -> Range<usize> {
        let first = part * self.c + head * self.d;
        first..first + self.d
    }
}

/// One head of one image: views of what it reads.
pub(super) struct Head<'a, F: Real> {
    pub(super) e: Extents,
    pub(super) head: usize,
    /// `[T, D]`, as are `k` and `v`.
    q: ArrayView2<'a, F>,
    pub(super) k: ArrayView2<'a, F>,
    pub(super) v: ArrayView2<'a, F>,
    /// `[D]`
    q_bias: &'a [F],
    pub(super) tables: Option<&'a Tables<F>>,
}

impl<'a, F: Real> Head<'a, F> {
    /// Head `task % H` of image `task / H`.
    pub(super) fn new(
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
    pub(super) fn scaled_queries(&self, rows: Range<usize>) -> Array<F> {
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

    /// Writes the scores of the queries from `first` on into `scores [rows, T]`, which has [`SLACK`](super::relative::SLACK)
    /// more elements. `q` are those queries, scaled; `keys` is `k`, packed.
    pub(super) fn scores<E: Engine<F>>(
        &self,
        engine: E,
        first: usize,
        q: &Array<F>,
        keys: &E::Right,
        scores: &mut [F],
    ) {
        let t = self.e.t;
        if let Some(tables) = self.tables {
            tables.write_bias(self.head, first, t, scores);
        }
        let rows = q.len() / self.e.d;
        let c = view_mut(&mut scores[..rows * t], [rows, t]);
        let into = Destination { c, second: None, accumulate: self.tables.is_some() };
        engine.multiply_serial(view(q, [rows, self.e.d]), keys, into);
    }
}
