//! Sums over rows and columns, and picking rows.

use super::Host;
use super::array::{Array, data, data_mut, last, shape, unwritten, zeros};
use super::par;
use super::real::Real;
use crate::ops::{RowOps, RowTraining};
use alloc::vec::Vec;

/// Independent partial sums of a reduction along a row: enough for the widest vector registers, and part of the result's
/// definition, since they fix the order of the additions.
const LANES: usize = 16;

/// `Σ f(i)` over `0..n`, in [`LANES`] interleaved partial sums.
#[inline(always)]
pub(super) fn sum<F: Real>(n: usize, f: impl Fn(usize) -> F) -> F {
    let mut lanes = [F::of(0.0); LANES];
    let whole = n - n % LANES;
    let mut i = 0;
    while i < whole {
        for lane in 0..LANES {
            lanes[lane] += f(i + lane);
        }
        i += LANES;
    }
    for (lane, i) in (whole..n).enumerate() {
        lanes[lane] += f(i);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            let upper = lanes[lane + width];
            lanes[lane] += upper;
        }
        width /= 2;
    }
    lanes[0]
}

/// The largest element of a row that is not empty.
#[inline(always)]
pub(super) fn maximum<F: Real>(row: &[F]) -> F {
    let mut lanes = [row[0]; LANES];
    let mut chunks = row.chunks_exact(LANES);
    for chunk in &mut chunks {
        for lane in 0..LANES {
            lanes[lane] = lanes[lane].max(chunk[lane]);
        }
    }
    for &v in chunks.remainder() {
        lanes[0] = lanes[0].max(v);
    }
    lanes.iter().fold(lanes[0], |a, &b| a.max(b))
}

/// The softmax of a row, in place.
#[inline(always)]
pub(super) fn softmax_row<F: Real>(row: &mut [F]) {
    let largest = maximum(row);
    for v in row.iter_mut() {
        *v = (*v - largest).exp();
    }
    let scale = F::of(1.0) / sum(row.len(), |i| row[i]);
    for v in row.iter_mut() {
        *v *= scale;
    }
}

/// With `p` the softmax of a row: `d = p ⊙ (d - Σ d ⊙ p)`, in place.
#[inline(always)]
pub(super) fn softmax_row_backward<F: Real>(d: &mut [F], p: &[F]) {
    let dot = sum(d.len(), |i| d[i] * p[i]);
    for (d, &p) in d.iter_mut().zip(p) {
        *d = p * (*d - dot);
    }
}

/// `sums[c] += Σ_m x[m, c]` for `x [M, C]`.
pub(super) fn add_column_sums<F: Real>(x: &[F], sums: &mut [F]) {
    let c = sums.len();
    add_partials(x.len() / c, &mut [sums], |rows, out| {
        par::simd(
            #[inline(always)]
            || {
                for row in x[rows.start * c..rows.end * c].chunks_exact(c) {
                    add(&mut out[0], row);
                }
            },
        );
    });
}

/// Reduces over `m` rows: `f(rows, partial)` adds a range of rows to partial sums of the shapes of `sums`, which are then
/// added to `sums` in the order of the ranges.
pub(super) fn add_partials<F: Real, const K: usize>(
    m: usize,
    sums: &mut [&mut [F]; K],
    f: impl Fn(core::ops::Range<usize>, &mut [Array<F>; K]) + Send + Sync,
) {
    let rows = par::rows_per_partial(m);
    let widths: [usize; K] = core::array::from_fn(|k| sums[k].len());
    let partials = par::map(m.div_ceil(rows), |i| {
        let mut out: [Array<F>; K] = core::array::from_fn(|k| zeros([widths[k]]));
        f(i * rows..((i + 1) * rows).min(m), &mut out);
        out
    });
    for partial in &partials {
        for (sum, part) in sums.iter_mut().zip(partial) {
            add(sum, part);
        }
    }
}

/// `a += b`
#[inline(always)]
pub(super) fn add<F: Real>(a: &mut [F], b: &[F]) {
    for (a, &b) in a.iter_mut().zip(b) {
        *a += b;
    }
}

pub(super) fn gather<F: Real>(x: &Array<F>, rows: &[u32]) -> Array<F> {
    let c = last(x);
    let x = data(x);
    let mut y = unwritten([rows.len(), c]);
    for (y, &row) in data_mut(&mut y).chunks_exact_mut(c).zip(rows) {
        y.copy_from_slice(&x[row as usize * c..][..c]);
    }
    y
}

pub(super) fn scatter<F: Real>(x: &Array<F>, rows: &[u32], m: usize) -> Array<F> {
    let c = last(x);
    let mut y = zeros([m, c]);
    for (&row, x) in rows.iter().zip(data(x).chunks_exact(c)) {
        y[row as usize * c..][..c].copy_from_slice(x);
    }
    y
}

/// `y[m] = x[m] + bias`
pub(super) fn add_bias<F: Real>(x: &Array<F>, bias: &Array<F>) -> Array<F> {
    let c = last(x);
    let mut y = unwritten(shape(x));
    let rows = par::rows_per_task(c);
    let (x, bias) = (data(x), data(bias));
    par::chunks(data_mut(&mut y), rows * c, |i, y| {
        par::simd(
            #[inline(always)]
            || {
                for (y, x) in y.chunks_exact_mut(c).zip(x[i * rows * c..].chunks_exact(c)) {
                    for k in 0..c {
                        y[k] = x[k] + bias[k];
                    }
                }
            },
        );
    });
    y
}

pub(super) fn mean_pool<F: Real>(x: &Array<F>, tokens: usize) -> Array<F> {
    let c = last(x);
    let scale = F::of(1.0 / (tokens - 1) as f64);
    let x = data(x);
    let mut y = zeros([x.len() / (tokens * c), c]);
    par::chunks(data_mut(&mut y), c, |b, y| {
        par::simd(
            #[inline(always)]
            || {
                for row in x[b * tokens * c..][..tokens * c].chunks_exact(c).skip(1) {
                    add(y, row);
                }
                for v in y.iter_mut() {
                    *v *= scale;
                }
            },
        );
    });
    y
}

pub(super) fn mean_pool_backward<F: Real>(dy: &Array<F>, tokens: usize) -> Array<F> {
    let c = last(dy);
    let scale = F::of(1.0 / (tokens - 1) as f64);
    let dy = data(dy);
    let mut dx = zeros([dy.len() / c * tokens, c]);
    par::chunks(data_mut(&mut dx), tokens * c, |b, dx| {
        for row in dx.chunks_exact_mut(c).skip(1) {
            for (dx, &dy) in row.iter_mut().zip(&dy[b * c..]) {
                *dx = dy * scale;
            }
        }
    });
    dx
}

pub(super) fn argmax<F: Real>(x: &Array<F>) -> Vec<u32> {
    let v = last(x);
    let x = data(x);
    par::map(x.len() / v, |m| argmax_row(&x[m * v..][..v]) as u32)
}

/// The position of the largest element; the first of equals.
pub(super) fn argmax_row<F: Real>(row: &[F]) -> usize {
    let best = par::simd(
        #[inline(always)]
        || maximum(row),
    );
    row.iter().position(|&v| v == best).unwrap_or(0)
}

on_host! {
    impl RowOps for Host<F> {
        fn gather_rows(&self, x: &Tensor, rows: &Vec<u32>) -> Tensor {
            gather(x, rows)
        }
        fn scatter_rows(&self, x: &Tensor, rows: &Vec<u32>, m: usize) -> Tensor {
            scatter(x, rows, m)
        }
        fn argmax_rows(&self, x: &Tensor) -> Vec<u32> {
            argmax(x)
        }
    }

    impl RowTraining for Host<F> {}
}
