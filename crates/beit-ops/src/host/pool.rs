//! Halving and doubling the sides of feature maps.

use super::array::{Array, data, data_mut, shape, zeros};
use super::par;
use super::real::Real;

/// The four elements of a square and where their lines begin: `[(line, column)]` in reading order.
const SQUARE: [(usize, usize); 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];

/// `y[i, j] = max x[2i..2i+2, 2j..2j+2]`
pub(super) fn max_pool2<F: Real>(x: &Array<F>) -> Array<F> {
    let [b, h, w, c] = extents(x);
    let mut y = zeros([b, h / 2, w / 2, c]);
    let x = data(x);
    let lines = par::rows_per_task(w * c);
    par::chunks(data_mut(&mut y), (lines * (w / 2) * c).max(1), |n, y| {
        par::simd(|| {
            for (l, y) in y.chunks_exact_mut(w / 2 * c).enumerate() {
                let x = &x[(n * lines + l) * 2 * w * c..][..2 * w * c];
                for (j, y) in y.chunks_exact_mut(c).enumerate() {
                    let [x0, x1, x2, x3] = square(x, w, c, j);
                    for k in 0..c {
                        y[k] = x0[k].max(x1[k]).max(x2[k].max(x3[k]));
                    }
                }
            }
        });
    });
    y
}

/// The gradient goes to the first of the largest.
pub(super) fn max_pool2_backward<F: Real>(dy: &Array<F>, x: &Array<F>) -> Array<F> {
    let [_, _, w, c] = extents(x);
    let mut dx = zeros(shape(x));
    let (dy, x) = (data(dy), data(x));
    let lines = par::rows_per_task(2 * w * c);
    par::chunks(data_mut(&mut dx), (lines * 2 * w * c).max(1), |n, dx| {
        par::simd(|| {
            for (l, dx) in dx.chunks_exact_mut(2 * w * c).enumerate() {
                let line = n * lines + l;
                let x = &x[line * 2 * w * c..][..2 * w * c];
                let dy = &dy[line * (w / 2) * c..][..w / 2 * c];
                for (j, dy) in dy.chunks_exact(c).enumerate() {
                    route(dy, square(x, w, c, j), dx, [w, c, j]);
                }
            }
        });
    });
    dx
}

/// Adds `dy [C]` to the place of the largest element of a square.
#[inline(always)]
fn route<F: Real>(dy: &[F], x: [&[F]; 4], dx: &mut [F], [w, c, j]: [usize; 3]) {
    for (place, &(line, column)) in SQUARE.iter().enumerate() {
        let dx = &mut dx[(line * w + 2 * j + column) * c..][..c];
        for k in 0..c {
            let v = x[place][k];
            // Strictly larger than what comes before it, at least as large as what comes after.
            let mut largest = true;
            for other in 0..4 {
                largest &= if other < place { v > x[other][k] } else { v >= x[other][k] };
            }
            dx[k] = if largest { dy[k] } else { F::of(0.0) };
        }
    }
}

/// Square `j` of two lines `[2, w, C]`.
#[inline(always)]
fn square<F>(lines: &[F], w: usize, c: usize, j: usize) -> [&[F]; 4] {
    SQUARE.map(|(line, column)| &lines[(line * w + 2 * j + column) * c..][..c])
}

/// `y[i, j] = x[i / 2, j / 2]`
pub(super) fn upsample2<F: Real>(x: &Array<F>) -> Array<F> {
    let [b, h, w, c] = extents(x);
    let mut y = zeros([b, 2 * h, 2 * w, c]);
    let x = data(x);
    let lines = par::rows_per_task(4 * w * c);
    par::chunks(data_mut(&mut y), (lines * 4 * w * c).max(1), |n, y| {
        for (l, y) in y.chunks_exact_mut(4 * w * c).enumerate() {
            let x = &x[(n * lines + l) * w * c..][..w * c];
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
    let [b, h, w, c] = extents(dy);
    let mut dx = zeros([b, h / 2, w / 2, c]);
    let dy = data(dy);
    let lines = par::rows_per_task(w * c);
    par::chunks(data_mut(&mut dx), (lines * (w / 2) * c).max(1), |n, dx| {
        par::simd(|| {
            for (l, dx) in dx.chunks_exact_mut(w / 2 * c).enumerate() {
                let dy = &dy[(n * lines + l) * 2 * w * c..][..2 * w * c];
                for (j, dx) in dx.chunks_exact_mut(c).enumerate() {
                    let [d0, d1, d2, d3] = square(dy, w, c, j);
                    for k in 0..c {
                        dx[k] = (d0[k] + d1[k]) + (d2[k] + d3[k]);
                    }
                }
            }
        });
    });
    dx
}

fn extents<F>(x: &Array<F>) -> [usize; 4] {
    shape(x)[..].try_into().expect("feature maps have four extents")
}
