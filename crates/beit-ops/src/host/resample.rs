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
use alloc::vec;
use alloc::vec::Vec;

/// For each element of a side of the new map, the elements of the old side it is made of, and their weights.
pub(super) struct Taps<F>(Vec<Vec<(usize, F)>>);

impl<F: Real> Taps<F> {
    /// Two neighbours each, weighed by their distance.
    fn linear(from: usize, to: usize, corners: Corners) -> Self {
        let step = match corners {
            Corners::Edges => from as f64 / to as f64,
            Corners::Centres if to > 1 => (from - 1) as f64 / (to - 1) as f64,
            Corners::Centres => 0.0,
        };
        let taps = |i: usize| {
            let at = match corners {
                Corners::Edges => ((i as f64 + 0.5) * step - 0.5).max(0.0),
                Corners::Centres => i as f64 * step,
            };
            let low = (at as usize).min(from - 1);
            let high = (low + 1).min(from - 1);
            let share = at - low as f64;
            let weighed = |index, weight| (index, F::from_f64(weight));
            if high == low || share == 0.0 {
                vec![weighed(low, 1.0)]
            } else {
                vec![weighed(low, 1.0 - share), weighed(high, share)]
            }
        };
        Self((0..to).map(taps).collect())
    }

    /// The mean of a share of the old side.
    fn means(from: usize, to: usize) -> Self {
        let taps = |i: usize| {
            let (begin, end) = (i * from / to, ((i + 1) * from).div_ceil(to));
            (begin..end).map(|index| (index, F::from_f64(1.0 / (end - begin) as f64))).collect()
        };
        Self((0..to).map(taps).collect())
    }

    /// The other way round, for an old side of `from` elements.
    fn transposed(&self, from: usize) -> Self {
        let mut taps = vec![Vec::new(); from];
        for (i, all) in self.0.iter().enumerate() {
            for &(index, weight) in all {
                taps[index].push((i, weight));
            }
        }
        Self(taps)
    }
}

/// Taps of both sides: of lines, and of the pixels of a line.
type Sides<F> = [Taps<F>; 2];

fn linear<F: Real>(from: [usize; 2], to: [usize; 2], corners: Corners) -> Sides<F> {
    [0, 1].map(|side| Taps::linear(from[side], to[side], corners))
}

fn means<F: Real>(from: [usize; 2], to: [usize; 2]) -> Sides<F> {
    [0, 1].map(|side| Taps::means(from[side], to[side]))
}

fn transposed<F: Real>([lines, pixels]: &Sides<F>, [h, w]: [usize; 2]) -> Sides<F> {
    [lines.transposed(h), pixels.transposed(w)]
}

/// `[B, h, w, C] -> [B, height, width, C]`
pub(super) fn resize<F: Real>(x: &Array<F>, to: [usize; 2], corners: Corners) -> Array<F> {
    let [_, h, w, _] = extents4(x);
    mix(x, &linear([h, w], to, corners))
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
fn mix<F: Real>(x: &Array<F>, [lines, pixels]: &Sides<F>) -> Array<F> {
    let [b, h, w, c] = extents4(x);
    let [height, width] = [lines.0.len(), pixels.0.len()];
    let mut y = unwritten([b, height, width, c]);
    let x = data(x);
    par::chunks(data_mut(&mut y), width * c, |line, y| {
        let image = &x[line / height * h * w * c..][..h * w * c];
        let mut mixed = scratch(w * c);
        sum_of(data_mut(&mut mixed), &lines.0[line % height], image);
        for (y, taps) in y.chunks_exact_mut(c).zip(&pixels.0) {
            sum_of(y, taps, data(&mixed));
        }
    });
    y
}

/// `y = Σ weight · x[index]` over rows of `x` that are as wide as `y`.
fn sum_of<F: Real>(y: &mut [F], taps: &[(usize, F)], x: &[F]) {
    let n = y.len();
    par::simd(
        #[inline(always)]
        || match *taps {
            [] => y.fill(F::from_f64(0.0)),
            [(i, a)] => weighed(y, a, &x[i * n..][..n]),
            [(i, a), (j, b)] => {
                let (s, t) = (&x[i * n..][..n], &x[j * n..][..n]);
                for k in 0..n {
                    y[k] = a * s[k] + b * t[k];
                }
            }
            [(i, a), ref rest @ ..] => {
                weighed(y, a, &x[i * n..][..n]);
                for &(i, a) in rest {
                    let x = &x[i * n..][..n];
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
