//! Halving and doubling the sides of feature maps `[B, h, w, C]`.
//!
//! ```text
//! larger map        smaller map
//! | a | b |         thread i has one vector of channels of one pixel of the smaller map,
//! |---+---|   <->   | y |    and the four vectors of its square in the larger map
//! | c | d |
//! ```
//!
//! Each square has one thread, so both directions write every element once. Of a map with an odd side the last line or column has no
//! square: pooling leaves it out, and its gradient is zero.

use super::elementwise::set;
use super::nan::largest_of_4;
use crate::gpu::Gpu;
use crate::launch::{THREADS, grid, launch, vector_width};
use crate::tensor::Tensor;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// Elements that a thread loads at once.
const MAX_VECTOR: usize = 4;

/// How the four pixels of a square become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Square {
    /// Max pooling; NaN where one of the four is NaN.
    Largest,
    /// The gradient of doubling.
    Sum,
}

/// The vector of the larger map that is the upper left of square `i`; `columns` vectors a pixel, `side` pixels a line, `lines` of
/// them an image.
#[cube]
fn top_left(i: usize, columns: usize, lines: usize, side: usize) -> usize {
    let pixel = i / columns;
    let (square, x) = (pixel / (side / 2), pixel % (side / 2));
    let line = square / (lines / 2) * lines + square % (lines / 2) * 2;
    (line * side + 2 * x) * columns + i % columns
}

/// `y[i, j]` from `x[2i..2i+2, 2j..2j+2]`
#[cube(launch_unchecked)]
fn halve<X: Float, N: Size>(
    x: &Array<Vector<X, N>>,
    y: &mut Array<Vector<X, N>>,
    columns: usize,
    lines: usize,
    side: usize,
    #[comptime] square: Square,
    #[define(X)] _elem: ElemType,
) {
    let mut i = ABSOLUTE_POS;
    while i < y.len() {
        let at = top_left(i, columns, lines, side);
        let a = Vector::<f32, N>::cast_from(x[at]);
        let b = Vector::<f32, N>::cast_from(x[at + columns]);
        let c = Vector::<f32, N>::cast_from(x[at + side * columns]);
        let d = Vector::<f32, N>::cast_from(x[at + (side + 1) * columns]);
        let result = match square {
            Square::Largest => largest_of_4(a, b, c, d),
            Square::Sum => (a + b) + (c + d),
        };
        y[i] = Vector::cast_from(result);
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// `dx` is `dy` where the largest element of each square is (the first of equal ones), and zero at the other three.
/// What none of the first three takes is left to the last, whose element is the largest or whose square has a NaN.
#[cube(launch_unchecked)]
fn route<D: Float, X: Float, N: Size>(
    dy: &Array<Vector<D, N>>,
    x: &Array<Vector<X, N>>,
    dx: &mut Array<Vector<D, N>>,
    columns: usize,
    lines: usize,
    side: usize,
    #[define(D, X)] _types: [ElemType; 2],
) {
    let zero = Vector::<f32, N>::new(0.0f32);
    let mut i = ABSOLUTE_POS;
    while i < dy.len() {
        let at = top_left(i, columns, lines, side);
        let a = Vector::<f32, N>::cast_from(x[at]);
        let b = Vector::<f32, N>::cast_from(x[at + columns]);
        let c = Vector::<f32, N>::cast_from(x[at + side * columns]);
        let d = Vector::<f32, N>::cast_from(x[at + (side + 1) * columns]);
        let largest = max(max(a, b), max(c, d));
        let rest = Vector::<f32, N>::cast_from(dy[i]);
        dx[at] = Vector::cast_from(select_many(a.equal(largest), rest, zero));
        let rest = select_many(a.equal(largest), zero, rest);
        dx[at + columns] = Vector::cast_from(select_many(b.equal(largest), rest, zero));
        let rest = select_many(b.equal(largest), zero, rest);
        dx[at + side * columns] = Vector::cast_from(select_many(c.equal(largest), rest, zero));
        let rest = select_many(c.equal(largest), zero, rest);
        dx[at + (side + 1) * columns] = Vector::cast_from(rest);
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// `y[i, j] = x[i / 2, j / 2]`
#[cube(launch_unchecked)]
fn double<X: Float, N: Size>(
    x: &Array<Vector<X, N>>,
    y: &mut Array<Vector<X, N>>,
    columns: usize,
    lines: usize,
    side: usize,
    #[define(X)] _elem: ElemType,
) {
    let mut i = ABSOLUTE_POS;
    while i < x.len() {
        let at = top_left(i, columns, lines, side);
        let v = x[i];
        y[at] = v;
        y[at + columns] = v;
        y[at + side * columns] = v;
        y[at + (side + 1) * columns] = v;
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// Vector width, grid and block for one thread a vector of the smaller map, which has `len` elements.
fn geometry(len: usize, c: usize) -> (usize, CubeCount, CubeDim) {
    let n = vector_width(MAX_VECTOR, &[c]);
    (n, grid(len / n, THREADS as usize), CubeDim::new_1d(THREADS))
}

/// `[B, h, w, C] -> [B, h/2, w/2, C]`
fn reduce<R: Runtime>(gpu: &Gpu<R>, square: Square, x: &Tensor) -> Tensor {
    let [b, h, w, c] = x.map();
    let y = gpu.empty([b, h / 2, w / 2, c], x.dtype);
    let (n, count, dim) = geometry(y.len(), c);
    launch!(halve(gpu, count, dim, n, x.arg(), y.arg(), c / n, h, w, square, x.elem()));
    y
}

/// `[B, h, w, C] -> [B, h/2, w/2, C]`
pub(crate) fn max_pool2<R: Runtime>(gpu: &Gpu<R>, x: &Tensor) -> Tensor {
    reduce(gpu, Square::Largest, x)
}

/// Returns `dx [B, h, w, C]`.
pub(crate) fn max_pool2_backward<R: Runtime>(gpu: &Gpu<R>, dy: &Tensor, x: &Tensor) -> Tensor {
    let [_, h, w, c] = x.map();
    let dx = gpu.empty(x.shape, dy.dtype);
    if h % 2 + w % 2 > 0 {
        set(gpu, &dx, 0.0);
    }
    let (n, count, dim) = geometry(dy.len(), c);
    let types = [dy.elem(), x.elem()];
    launch!(route(gpu, count, dim, n, dy.arg(), x.arg(), dx.arg(), c / n, h, w, types));
    dx
}

/// `[B, h, w, C] -> [B, 2h, 2w, C]`
pub(crate) fn upsample2<R: Runtime>(gpu: &Gpu<R>, x: &Tensor) -> Tensor {
    let [b, h, w, c] = x.map();
    let y = gpu.empty([b, 2 * h, 2 * w, c], x.dtype);
    let (n, count, dim) = geometry(x.len(), c);
    launch!(double(gpu, count, dim, n, x.arg(), y.arg(), c / n, 2 * h, 2 * w, x.elem()));
    y
}

/// Returns `dx [B, h, w, C]`.
pub(crate) fn upsample2_backward<R: Runtime>(gpu: &Gpu<R>, dy: &Tensor) -> Tensor {
    reduce(gpu, Square::Sum, dy)
}
