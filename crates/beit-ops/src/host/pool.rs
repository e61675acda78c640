//! Halving and doubling the sides of feature maps `[B, h, w, C]`.

use super::array::{Array, data, data_mut, extents4, shape, unwritten, zeros};
use super::par;
use super::real::Real;

/// Row and column of the pixels of a square, in reading order.
const SQUARE: [(usize, usize); 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];

/// `y[i, j] = max x[2i..2i+2, 2j..2j+2]`; NaN where one of the four is NaN. Of odd sides the last line is left out.
pub(super) fn max_pool2<F: Real>(x: &Array<F>) -> Array<F> {
    let [b, h, w, c] = extents4(x);
    let mut y = unwritten([b, h / 2, w / 2, c]);
    let x = data(x);
    let rows = par::rows_per_task(w * c);
    par::chunks(data_mut(&mut y), (rows * (w / 2) * c).max(1), |n, y| {
        par::simd(
            #[inline(always)]
            || {
                for (i, y) in y.chunks_exact_mut(w / 2 * c).enumerate() {
                    let (image, line) = ((n * rows + i) / (h / 2), (n * rows + i) % (h / 2));
                    let x = &x[(image * h + 2 * line) * w * c..][..2 * w * c];
                    for (j, y) in y.chunks_exact_mut(c).enumerate() {
                        let [x0, x1, x2, x3] = square(x, w, c, j);
                        for k in 0..c {
                            y[k] = largest([x0[k], x1[k], x2[k], x3[k]]);
                        }
                    }
                }
            },
        );
    });
    y
}

/// The gradient goes to the largest element of each square; of equal ones, to the first. Of a square with NaN one element gets it.
pub(super) fn max_pool2_backward<F: Real>(dy: &Array<F>, x: &Array<F>) -> Array<F> {
    let [_, h, w, c] = extents4(x);
    let mut dx = zeros(shape(x));
    let (dy, x) = (data(dy), data(x));
    // With an odd number of lines only whole images are made of pairs of lines and one more.
    let lines = if h % 2 == 0 { 2 * par::rows_per_task(2 * w * c) } else { h };
    par::chunks(data_mut(&mut dx), (lines * w * c).max(1), |n, dx| {
        par::simd(
            #[inline(always)]
            || {
                for (i, dx) in dx.chunks_exact_mut(2 * w * c).enumerate() {
                    let x = &x[(n * lines + 2 * i) * w * c..][..2 * w * c];
                    let dy = dy[(n * (lines / 2) + i) * (w / 2) * c..].chunks_exact(c);
                    let (upper, lower) = dx.split_at_mut(w * c);
                    let pairs = upper.chunks_exact_mut(2 * c).zip(lower.chunks_exact_mut(2 * c));
                    for (j, ((upper, lower), dy)) in pairs.zip(dy).enumerate() {
                        route(dy, square(x, w, c, j), [upper, lower]);
                    }
                }
            },
        );
    });
    dx
}

/// For each channel, writes `dy [C]` to the place of the largest element of a square and zero to the other three.
#[inline(always)]
fn route<F: Real>(dy: &[F], [x0, x1, x2, x3]: [&[F]; 4], [upper, lower]: [&mut [F]; 2]) {
    let c = dy.len();
    let ((d0, d1), (d2, d3)) = (upper.split_at_mut(c), lower.split_at_mut(c));
    let (x0, x1, x2, x3) = (&x0[..c], &x1[..c], &x2[..c], &x3[..c]);
    let (d1, d3) = (&mut d1[..c], &mut d3[..c]);
    for k in 0..c {
        let largest = larger([x0[k], x1[k], x2[k], x3[k]]);
        let mut rest = dy[k];
        let mut take = |x: F| {
            let taken = if x == largest { rest } else { F::from_f64(0.0) };
            rest = if x == largest { F::from_f64(0.0) } else { rest };
            taken
        };
        (d0[k], d1[k], d2[k]) = (take(x0[k]), take(x1[k]), take(x2[k]));
        // What nothing has taken is left to the last, whose element is the largest or whose square has a NaN.
        d3[k] = rest;
    }
}

/// The largest of four; NaN if one of them is.
#[inline(always)]
fn largest<F: Real>(x: [F; 4]) -> F {
    let [a, b, c, d] = x.map(Real::is_nan);
    // Without a branch, so that loops over it become vector instructions.
    if (a | b) | (c | d) { F::from_f64(f64::NAN) } else { larger(x) }
}

/// The largest of four numbers.
#[inline(always)]
fn larger<F: Real>([a, b, c, d]: [F; 4]) -> F {
    a.max(b).max(c.max(d))
}

/// Square `j` of two rows of pixels `[2, w, C]`.
#[inline(always)]
fn square<F>(rows: &[F], w: usize, c: usize, j: usize) -> [&[F]; 4] {
    SQUARE.map(|(row, column)| &rows[(row * w + 2 * j + column) * c..][..c])
}

/// `y[i, j] = x[i / 2, j / 2]`
pub(super) fn upsample2<F: Real>(x: &Array<F>) -> Array<F> {
    let [b, h, w, c] = extents4(x);
    let mut y = unwritten([b, 2 * h, 2 * w, c]);
    let x = data(x);
    let rows = par::rows_per_task(4 * w * c);
    par::chunks(data_mut(&mut y), (rows * 4 * w * c).max(1), |n, y| {
        for (i, y) in y.chunks_exact_mut(4 * w * c).enumerate() {
            let x = &x[(n * rows + i) * w * c..][..w * c];
            let (upper, lower) = y.split_at_mut(2 * w * c);
            for (pair, x) in upper.chunks_exact_mut(2 * c).zip(x.chunks_exact(c)) {
                pair[..c].copy_from_slice(x);
                pair[c..].copy_from_slice(x);
            }
            lower.copy_from_slice(upper);
        }
    });
    y
}

/// `dx[i, j] = Σ dy[2i..2i+2, 2j..2j+2]`
pub(super) fn upsample2_backward<F: Real>(dy: &Array<F>) -> Array<F> {
    let [b, h, w, c] = extents4(dy);
    let mut dx = unwritten([b, h / 2, w / 2, c]);
    let dy = data(dy);
    let rows = par::rows_per_task(w * c);
    par::chunks(data_mut(&mut dx), (rows * (w / 2) * c).max(1), |n, dx| {
        par::simd(
            #[inline(always)]
            || {
                for (i, dx) in dx.chunks_exact_mut(w / 2 * c).enumerate() {
                    let dy = &dy[(n * rows + i) * 2 * w * c..][..2 * w * c];
                    for (j, dx) in dx.chunks_exact_mut(c).enumerate() {
                        let [d0, d1, d2, d3] = square(dy, w, c, j);
                        for k in 0..c {
                            dx[k] = (d0[k] + d1[k]) + (d2[k] + d3[k]);
                        }
                    }
                }
            },
        );
    });
    dx
}
