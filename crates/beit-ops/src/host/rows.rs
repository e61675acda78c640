//! Operations on whole rows: picking them, averaging them, and the largest element of each.

use super::Host;
use super::array::{Array, data, data_mut, last, shape, unwritten, zeros};
use super::par;
use super::real::Real;
use super::reduce::{add, has_nan, maximum};
use crate::ops::{RowOps, RowTraining};
use alloc::vec::Vec;

/// `y[i] = x[rows[i]]` for `x [M, C]`.
pub(super) fn gather<F: Real>(x: &Array<F>, rows: &[u32]) -> Array<F> {
    let c = last(x);
    let x = data(x);
    let mut y = unwritten([rows.len(), c]);
    for (y, &row) in data_mut(&mut y).chunks_exact_mut(c).zip(rows) {
        y.copy_from_slice(&x[row as usize * c..][..c]);
    }
    y
}

/// `y[rows[i]] = x[i]`, zero in all other of the `m` rows. The indices in `rows` must be distinct.
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

/// The mean of the patch tokens of each image, without \[CLS\]: `[B·T, C] -> [B, C]`.
pub(super) fn mean_pool<F: Real>(x: &Array<F>, tokens: usize) -> Array<F> {
    let c = last(x);
    let scale = F::from_f64(1.0 / (tokens - 1) as f64);
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

/// `[B, C] -> [B·T, C]`, zero for \[CLS\].
pub(super) fn mean_pool_backward<F: Real>(dy: &Array<F>, tokens: usize) -> Array<F> {
    let c = last(dy);
    let scale = F::from_f64(1.0 / (tokens - 1) as f64);
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

/// [`argmax_row`] of every row.
pub(super) fn argmax<F: Real>(x: &Array<F>) -> Vec<u32> {
    let v = last(x);
    let x = data(x);
    par::map(x.len() / v, |m| argmax_row(&x[m * v..][..v]) as u32)
}

/// The position of the largest element; of equal ones, the first. NaN is larger than every number.
pub(super) fn argmax_row<F: Real>(row: &[F]) -> usize {
    let found = par::simd(
        #[inline(always)]
        || {
            let best = maximum(row);
            if has_nan(row) { first(row, |v| v.is_nan()) } else { first(row, |v| v == best) }
        },
    );
    found.unwrap_or(0)
}

/// The first element for which `is` holds. Blocks are looked at whole, without a branch, which becomes vector instructions.
#[inline(always)]
fn first<F: Real>(row: &[F], is: impl Fn(F) -> bool) -> Option<usize> {
    const BLOCK: usize = 128;
    let has = |block: &[F]| block.iter().fold(false, |found, &v| found | is(v));
    let begin = BLOCK * row.chunks(BLOCK).position(has)?;
    row[begin..].iter().position(|&v| is(v)).map(|i| begin + i)
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
