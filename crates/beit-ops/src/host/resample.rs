//! Feature maps of other sizes: bilinear resizing and adaptive average pooling, which are one computation with other weights.
//!
//! ```text
//! y[i, j] = Σ rows[i] columns[j] x        each line of the new map has a few lines of the old one, with weights: its taps
//! ```
//!
//! Both are separable: lines are mixed first, then the pixels of the mixed line. The gradient is the same computation with the taps
//! transposed, so every element of a result has one writer.

use super::array::{Array, data, data_mut, extents4, scratch, unwritten};
use super::par;
use super::real::Real;
use crate::ops::Corners;
use crate::taps::Taps;
use alloc::vec::Vec;
use core::ops::Range;

/// Taps of both sides: of lines, and of the pixels of a line.
type Sides = [Taps; 2];

fn linear(from: [usize; 2], to: [usize; 2], corners: Corners) -> Sides {
    [0, 1].map(|side| Taps::linear(from[side], to[side], corners))
}

fn means(from: [usize; 2], to: [usize; 2]) -> Sides {
    [0, 1].map(|side| Taps::means(from[side], to[side]))
}

fn transposed([lines, pixels]: &Sides, [h, w]: [usize; 2]) -> Sides {
    [lines.transposed(h), pixels.transposed(w)]
}

/// The taps of one side in the type of the elements: the first of the old side's, and the weights.
fn rounded<F: Real>(taps: &Taps) -> Vec<(usize, Vec<F>)> {
    let of = |i| {
        let (first, weights) = taps.of(i);
        (first, weights.iter().map(|&weight| F::from_f64(weight)).collect())
    };
    (0..taps.len()).map(of).collect()
}

/// `[B, h, w, C] -> [B, rows, width, C]`
pub(super) fn resize_rows<F: Real>(
    x: &Array<F>,
    to: [usize; 2],
    rows: Range<usize>,
    corners: Corners,
) -> Array<F> {
    let [_, h, w, _] = extents4(x);
    let [lines, pixels] = linear([h, w], to, corners);
    mix(x, &[lines.part(rows), pixels])
}

pub(super) fn resize_backward<F: Real>(dy: &Array<F>, from: [usize; 2], corners: Corners) -> Array<F> {
    let [_, h, w, _] = extents4(dy);
    mix(dy, &transposed(&linear(from, [h, w], corners), from))
}

/// `[B, h, w, C] -> [B, height, width, C]`
pub(super) fn pool_to<F: Real>(x: &Array<F>, to: [usize; 2]) -> Array<F> {
    let [_, h, w, _] = extents4(x);
    mix(x, &means([h, w], to))
}

pub(super) fn pool_to_backward<F: Real>(dy: &Array<F>, from: [usize; 2]) -> Array<F> {
    let [_, h, w, _] = extents4(dy);
    mix(dy, &transposed(&means(from, [h, w]), from))
}

/// `y[b, i, j] = Σ lines[i] Σ pixels[j] x[b]`
fn mix<F: Real>(x: &Array<F>, sides: &Sides) -> Array<F> {
    let [b, h, w, c] = extents4(x);
    let [lines, pixels] = sides.each_ref().map(rounded::<F>);
    let [height, width] = [lines.len(), pixels.len()];
    let mut y = unwritten([b, height, width, c]);
    let x = data(x);
    par::chunks(data_mut(&mut y), width * c, |line, y| {
        let image = &x[line / height * h * w * c..][..h * w * c];
        let mut mixed = scratch(w * c);
        sum_of(data_mut(&mut mixed), &lines[line % height], image);
        for (y, taps) in y.chunks_exact_mut(c).zip(&pixels) {
            sum_of(y, taps, data(&mixed));
        }
    });
    y
}

/// `y = Σ weight · x[index]` over rows of `x` that are as wide as `y`.
fn sum_of<F: Real>(y: &mut [F], (first, weights): &(usize, Vec<F>), x: &[F]) {
    let n = y.len();
    let row = |k: usize| &x[(first + k) * n..][..n];
    par::simd(
        #[inline(always)]
        || match **weights {
            [] => y.fill(F::from_f64(0.0)),
            [a] => weighed(y, a, row(0)),
            [a, b] => {
                let (s, t) = (row(0), row(1));
                for k in 0..n {
                    y[k] = a * s[k] + b * t[k];
                }
            }
            [a, ref rest @ ..] => {
                weighed(y, a, row(0));
                for (i, &a) in rest.iter().enumerate() {
                    let x = row(1 + i);
                    for k in 0..n {
                        y[k] += a * x[k];
                    }
                }
            }
        },
    );
}

/// `y = a x`
#[inline(always)]
fn weighed<F: Real>(y: &mut [F], a: F, x: &[F]) {
    for k in 0..y.len() {
        y[k] = a * x[k];
    }
}
