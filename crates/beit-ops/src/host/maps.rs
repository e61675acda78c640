//! Feature maps `[B, h, w, C]` side by side, and twice as large.

use super::Host;
use super::array::{
    Array, data, data_mut, extents4, last, matrix, matrix_mut, shape, unwritten, view, view_mut,
};
use super::par;
use super::product::{Destination, Multiply, Products, no_epilogue};
use super::real::Real;
use super::reduce::add_column_sums;
use super::resample;
use crate::ops::{Corners, MapOps, MapTraining};
use crate::params::ConvTranspose2;
use alloc::vec::Vec;
use core::ops::Range;

/// Row and column of the pixels of a square, in reading order: the order of the filter's taps.
const SQUARE: [(usize, usize); 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];

/// `y[2i + r, 2j + s, o] = bias[o] + Σ_c x[i, j, c] weight[c, o, r, s]`: one product, whose rows are then laid out as squares.
fn conv_transpose2<F: Multiply>(products: Products, x: &Array<F>, p: &ConvTranspose2<Array<F>>) -> Array<F> {
    let ([b, h, w, c], [_, o, _, _]) = (extents4(x), extents4(&p.weight));
    let mut squares = unwritten([b * h * w, 4 * o]);
    let into = Destination::replace(matrix_mut(&mut squares));
    F::product(products, view(data(x), [b * h * w, c]), matrix(&p.weight), into, &no_epilogue);
    let mut y = unwritten([b, 2 * h, 2 * w, o]);
    let (squares, bias) = (data(&squares), data(&p.bias));
    par::chunks(data_mut(&mut y), 4 * w * o, |line, y| {
        for (j, square) in squares[line * w * 4 * o..][..w * 4 * o].chunks_exact(4 * o).enumerate() {
            for (tap, (r, s)) in SQUARE.into_iter().enumerate() {
                let y = &mut y[((r * 2 * w) + 2 * j + s) * o..][..o];
                for (k, y) in y.iter_mut().enumerate() {
                    *y = square[4 * k + tap] + bias[k];
                }
            }
        }
    });
    y
}

/// Lays the squares of `dy` out as rows, and multiplies them as a linear layer's gradient.
fn conv_transpose2_backward<F: Multiply>(
    products: Products,
    dy: &Array<F>,
    x: &Array<F>,
    p: &ConvTranspose2<Array<F>>,
    dp: &mut ConvTranspose2<Array<F>>,
) -> Array<F> {
    let ([b, h, w, c], [_, o, _, _]) = (extents4(x), extents4(&p.weight));
    add_column_sums(data(dy), data_mut(&mut dp.bias));
    let mut squares = unwritten([b * h * w, 4 * o]);
    let dy = data(dy);
    par::chunks(data_mut(&mut squares), w * 4 * o, |line, squares| {
        let dy = &dy[line * 4 * w * o..][..4 * w * o];
        for (j, square) in squares.chunks_exact_mut(4 * o).enumerate() {
            for (tap, (r, s)) in SQUARE.into_iter().enumerate() {
                for (k, &dy) in dy[((r * 2 * w) + 2 * j + s) * o..][..o].iter().enumerate() {
                    square[4 * k + tap] = dy;
                }
            }
        }
    });
    let (x, squares) = (view(data(x), [b * h * w, c]), matrix(&squares));
    F::product(products, x.t(), squares, Destination::add(matrix_mut(&mut dp.weight)), &no_epilogue);
    let mut dx = unwritten([b, h, w, c]);
    let into = Destination::replace(view_mut(data_mut(&mut dx), [b * h * w, c]));
    F::product(products, squares, matrix(&p.weight).t(), into, &no_epilogue);
    dx
}

/// `[..., C_k]` for each `k` to `[..., Σ C_k]`.
fn concat<F: Real>(maps: &[&Array<F>]) -> Array<F> {
    let [b, h, w, _] = extents4(maps[0]);
    let c = maps.iter().map(|map| last(map)).sum();
    let mut y = unwritten([b, h, w, c]);
    let rows = par::rows_per_task(c);
    par::chunks(data_mut(&mut y), rows * c, |i, y| {
        for (row, y) in y.chunks_exact_mut(c).enumerate() {
            let mut at = 0;
            for map in maps {
                let n = last(map);
                y[at..at + n].copy_from_slice(&data(map)[(i * rows + row) * n..][..n]);
                at += n;
            }
        }
    });
    y
}

/// The mirror of [`concat`].
fn concat_backward<F: Real>(dy: &Array<F>, channels: &[usize]) -> Vec<Array<F>> {
    let [b, h, w, c] = extents4(dy);
    let dy = data(dy);
    let mut begin = 0;
    let mut part = |n: usize| {
        let mut dx = unwritten([b, h, w, n]);
        let rows = par::rows_per_task(n);
        par::chunks(data_mut(&mut dx), rows * n, |i, dx| {
            for (row, dx) in dx.chunks_exact_mut(n).enumerate() {
                dx.copy_from_slice(&dy[(i * rows + row) * c + begin..][..n]);
            }
        });
        begin += n;
        dx
    };
    channels.iter().map(|&n| part(n)).collect()
}

/// `y[b, ..., c] = x[b, ..., c] factors[b, c]`
fn scale_channels<F: Real>(x: &Array<F>, factors: &Array<F>) -> Array<F> {
    let [_, h, w, c] = extents4(x);
    let mut y = unwritten(shape(x));
    let (x, factors) = (data(x), data(factors));
    par::chunks(data_mut(&mut y), w * c, |line, y| {
        let factors = &factors[line / h * c..][..c];
        par::simd(
            #[inline(always)]
            || {
                for (y, x) in y.chunks_exact_mut(c).zip(x[line * w * c..].chunks_exact(c)) {
                    for k in 0..c {
                        y[k] = x[k] * factors[k];
                    }
                }
            },
        );
    });
    y
}

on_host! {
    impl MapOps for Host<F> {
        fn resize_rows(
            &self,
            x: &Tensor,
            to: [usize; 2],
            rows: Range<usize>,
            corners: Corners,
        ) -> Tensor {
            resample::resize_rows(x, to, rows, corners)
        }
        fn pool_to(&self, x: &Tensor, to: [usize; 2]) -> Tensor {
            resample::pool_to(x, to)
        }
        fn conv_transpose2(&self, x: &Tensor, p: &ConvTranspose2<Tensor>) -> Tensor {
            conv_transpose2(self.products, x, p)
        }
        fn concat(&self, maps: &[&Tensor]) -> Tensor {
            concat(maps)
        }
        fn scale_channels(&self, x: &Tensor, factors: &Tensor) -> Tensor {
            scale_channels(x, factors)
        }
    }

    impl MapTraining for Host<F> {
        fn resize_backward(&self, dy: &Tensor, from: [usize; 2], corners: Corners) -> Tensor {
            resample::resize_backward(dy, from, corners)
        }
        fn pool_to_backward(&self, dy: &Tensor, from: [usize; 2]) -> Tensor {
            resample::pool_to_backward(dy, from)
        }
        fn conv_transpose2_backward(
            &self,
            dy: &Tensor,
            x: &Tensor,
            p: &ConvTranspose2<Tensor>,
            dp: &mut ConvTranspose2<Tensor>,
        ) -> Tensor {
            conv_transpose2_backward(self.products, dy, x, p, dp)
        }
        fn concat_backward(&self, dy: &Tensor, channels: &[usize]) -> Vec<Tensor> {
            concat_backward(dy, channels)
        }
    }
}
