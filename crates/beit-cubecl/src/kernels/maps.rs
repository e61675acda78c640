//! Feature maps `[B, h, w, C]` side by side, scaled, and twice as large.
//!
//! ```text
//! conv_transpose2   squares [B·h·w, 4·O] = x [B·h·w, I] · weight [I, 4·O]      a matrix product, then each square is laid out:
//!
//!                   | a b c d |   ->   | a | b |     thread = the square of one channel of one pixel: one vector of 4 of the
//!                                      |---+---|     product, four elements of the map; neighbours have neighbouring channels,
//!                                      | c | d |     so that both sides are read and written as whole lines of memory
//!
//! concat            y | x0 | x1 | x2 |         thread = one vector of a map (see elementwise.rs), one launch for each map
//! scale_channels    y = x · factors[b, c]      thread = one vector of y
//! ```
//!
//! The gradients are the same the other way round.

use super::columns::add_column_sums;
use super::multiply::{Operand, Product};
use super::resample;
use crate::gpu::Gpu;
use crate::launch::{THREADS, grid, launch, vector_width};
use crate::tensor::Tensor;
use beit_ops::{ConvTranspose2, Corners, MapOps, MapTraining};
use core::ops::Range;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// Elements that a thread loads at once.
const MAX_VECTOR: usize = 4;
/// Pixels of a square.
const SQUARE: usize = 4;

/// The upper left of square `i` in the larger map; `width` pixels of `channels` elements a line of the smaller one.
#[cube]
fn top_left(i: usize, channels: usize, width: usize) -> usize {
    let pixel = i / channels;
    (pixel / width * 4 * width + pixel % width * 2) * channels + i % channels
}

/// `y[2i + r, 2j + s, o] = squares[i, j, o, r, s] + bias[o]`
#[cube(launch_unchecked)]
fn lay_out<S: Float, Y: Float, N: Size>(
    squares: &Array<Vector<S, N>>,
    bias: &Array<f32>,
    y: &mut Array<Y>,
    channels: usize,
    width: usize,
    #[define(S, Y)] _types: [ElemType; 2],
) {
    let mut i = ABSOLUTE_POS;
    while i < squares.len() {
        let at = top_left(i, channels, width);
        let below = at + 2 * width * channels;
        let v = Vector::<f32, N>::cast_from(squares[i]) + Vector::new(bias[i % channels]);
        y[at] = Y::cast_from(v[0]);
        y[at + channels] = Y::cast_from(v[1]);
        y[below] = Y::cast_from(v[2]);
        y[below + channels] = Y::cast_from(v[3]);
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// `squares[i, j, o, r, s] = dy[2i + r, 2j + s, o]`
#[cube(launch_unchecked)]
fn pick_up<D: Float, S: Float, N: Size>(
    dy: &Array<D>,
    squares: &mut Array<Vector<S, N>>,
    channels: usize,
    width: usize,
    #[define(D, S)] _types: [ElemType; 2],
) {
    let mut i = ABSOLUTE_POS;
    while i < squares.len() {
        let at = top_left(i, channels, width);
        let below = at + 2 * width * channels;
        let mut v = Vector::<f32, N>::new(f32::cast_from(dy[at]));
        v[1] = f32::cast_from(dy[at + channels]);
        v[2] = f32::cast_from(dy[below]);
        v[3] = f32::cast_from(dy[below + channels]);
        squares[i] = Vector::cast_from(v);
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// `y[row, to + k] = x[row, from + k]` for `columns` vectors `k` of each of `rows`.
#[cube(launch_unchecked)]
fn move_columns<X: Float, Y: Float, N: Size>(
    x: &Array<Vector<X, N>>,
    y: &mut Array<Vector<Y, N>>,
    rows: usize,
    columns: usize,
    from: usize,
    to: usize,
    #[define(X, Y)] _types: [ElemType; 2],
) {
    let (x_columns, y_columns) = (x.len() / rows, y.len() / rows);
    let mut i = ABSOLUTE_POS;
    while i < rows * columns {
        let (row, k) = (i / columns, i % columns);
        y[row * y_columns + to + k] = Vector::cast_from(x[row * x_columns + from + k]);
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// `y[b, ..., c] = x[b, ..., c] · factors[b, c]` for images of `pixels`.
#[cube(launch_unchecked)]
fn scale<X: Float, F: Float, N: Size>(
    x: &Array<Vector<X, N>>,
    factors: &Array<Vector<F, N>>,
    y: &mut Array<Vector<X, N>>,
    columns: usize,
    pixels: usize,
    #[define(X, F)] _types: [ElemType; 2],
) {
    let mut i = ABSOLUTE_POS;
    while i < y.len() {
        let factor = factors[i / (columns * pixels) * columns + i % columns];
        let result = Vector::<f32, N>::cast_from(x[i]) * Vector::<f32, N>::cast_from(factor);
        y[i] = Vector::cast_from(result);
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// `x [B, h, w, I] -> y [B, 2h, 2w, O]`
fn conv_transpose2<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, p: &ConvTranspose2<Tensor>) -> Tensor {
    let ([b, h, w, i], [_, o, _, _]) = (x.map(), p.weight.map());
    let (x, weight) = (gpu.operand(x), gpu.operand(&p.weight));
    let (m, n) = (b * h * w, SQUARE * o);
    let product =
        Product { a: Operand::along(&x), b: Operand::across(&weight), extents: [m, n, i], bias: None };
    let squares = product.store(gpu, [m, n]);
    let y = gpu.empty([b, 2 * h, 2 * w, o], gpu.activation());
    let (count, dim) = (grid(m * o, THREADS as usize), CubeDim::new_1d(THREADS));
    let types = [squares.elem(), y.elem()];
    launch!(lay_out(gpu, count, dim, SQUARE, squares.arg(), p.bias.arg(), y.arg(), o, w, types));
    y
}

/// Returns `dx [B, h, w, I]`; adds to the gradients of weight and bias.
fn conv_transpose2_backward<R: Runtime>(
    gpu: &Gpu<R>,
    dy: &Tensor,
    x: &Tensor,
    p: &ConvTranspose2<Tensor>,
    dp: &mut ConvTranspose2<Tensor>,
) -> Tensor {
    let ([b, h, w, i], [_, o, _, _]) = (x.map(), p.weight.map());
    let (m, n) = (b * h * w, SQUARE * o);
    add_column_sums(gpu, dy, &mut dp.bias);
    let squares = gpu.empty([m, n], gpu.activation());
    let (count, dim) = (grid(m * o, THREADS as usize), CubeDim::new_1d(THREADS));
    let types = [dy.elem(), squares.elem()];
    launch!(pick_up(gpu, count, dim, SQUARE, dy.arg(), squares.arg(), o, w, types));

    let (x, weight) = (gpu.operand(x), gpu.operand(&p.weight));
    let (a, by) = (Operand::across(&x), Operand::across(&squares));
    Product { a, b: by, extents: [i, n, m], bias: None }.accumulate(gpu, &mut dp.weight);
    let (a, by) = (Operand::along(&squares), Operand::along(&weight));
    Product { a, b: by, extents: [m, i, n], bias: None }.store(gpu, [b, h, w, i])
}

/// Moves `columns` columns of `x`, from column `from` on, to those of `y` from `to` on.
fn copy_columns<R: Runtime>(gpu: &Gpu<R>, [(x, from), (y, to)]: [(&Tensor, usize); 2], columns: usize) {
    let n = vector_width(MAX_VECTOR, &[x.last(), y.last(), columns, from, to]);
    let (rows, columns) = (x.rows(), columns / n);
    let (count, dim) = (grid(rows * columns, THREADS as usize), CubeDim::new_1d(THREADS));
    let types = [x.elem(), y.elem()];
    launch!(move_columns(gpu, count, dim, n, x.arg(), y.arg(), rows, columns, from / n, to / n, types));
}

/// `[B, h, w, C_k] -> [B, h, w, Σ C_k]` in the type of the first map.
fn concat<R: Runtime>(gpu: &Gpu<R>, maps: &[&Tensor]) -> Tensor {
    let [b, h, w, _] = maps[0].map();
    let y = gpu.empty([b, h, w, maps.iter().map(|map| map.last()).sum()], maps[0].dtype);
    let mut to = 0;
    for map in maps {
        copy_columns(gpu, [(map, 0), (&y, to)], map.last());
        to += map.last();
    }
    y
}

/// The mirror of [`concat`].
fn concat_backward<R: Runtime>(gpu: &Gpu<R>, dy: &Tensor, channels: &[usize]) -> Vec<Tensor> {
    let [b, h, w, _] = dy.map();
    let mut from = 0;
    let mut part = |c: usize| {
        let dx = gpu.empty([b, h, w, c], dy.dtype);
        copy_columns(gpu, [(dy, from), (&dx, 0)], c);
        from += c;
        dx
    };
    channels.iter().map(|&c| part(c)).collect()
}

/// `y[b, ..., c] = x[b, ..., c] · factors[b, c]`
fn scale_channels<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, factors: &Tensor) -> Tensor {
    let [_, h, w, c] = x.map();
    let y = gpu.empty(x.shape, x.dtype);
    let n = vector_width(MAX_VECTOR, &[c]);
    let (count, dim) = (grid(y.len() / n, THREADS as usize), CubeDim::new_1d(THREADS));
    let types = [x.elem(), factors.elem()];
    launch!(scale(gpu, count, dim, n, x.arg(), factors.arg(), y.arg(), c / n, h * w, types));
    y
}

impl<R: Runtime> MapOps for Gpu<R> {
    fn resize_rows(&self, x: &Tensor, to: [usize; 2], rows: Range<usize>, corners: Corners) -> Tensor {
        resample::resize_rows(self, x, to, rows, corners)
    }
    fn pool_to(&self, x: &Tensor, to: [usize; 2]) -> Tensor {
        resample::pool_to(self, x, to)
    }
    fn conv_transpose2(&self, x: &Tensor, p: &ConvTranspose2<Tensor>) -> Tensor {
        conv_transpose2(self, x, p)
    }
    fn concat(&self, maps: &[&Tensor]) -> Tensor {
        concat(self, maps)
    }
    fn scale_channels(&self, x: &Tensor, factors: &Tensor) -> Tensor {
        scale_channels(self, x, factors)
    }
}

impl<R: Runtime> MapTraining for Gpu<R> {
    fn resize_backward(&self, dy: &Tensor, from: [usize; 2], corners: Corners) -> Tensor {
        resample::resize_backward(self, dy, from, corners)
    }
    fn pool_to_backward(&self, dy: &Tensor, from: [usize; 2]) -> Tensor {
        resample::pool_to_backward(self, dy, from)
    }
    fn conv_transpose2_backward(
        &self,
        dy: &Tensor,
        x: &Tensor,
        p: &ConvTranspose2<Tensor>,
        dp: &mut ConvTranspose2<Tensor>,
    ) -> Tensor {
        conv_transpose2_backward(self, dy, x, p, dp)
    }
    fn concat_backward(&self, dy: &Tensor, channels: &[usize]) -> Vec<Tensor> {
        concat_backward(self, dy, channels)
    }
}
