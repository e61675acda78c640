//! Picking rows, and the mean over the patches of an image.
//!
//! ```text
//! gather_rows            y    | x[rows[0]] | x[rows[1]] | ...      thread = one vector of y (see elementwise.rs)
//! scatter_rows           y    zeros, then y[rows[i]] = x[i]        thread = one vector of x; rows differ, so no two write one element
//! mean_pool              y[b] = mean of x[b, 1..T]                 column sums with one segment for each image (columns.rs)
//! ```

use super::columns::{self, Rows, Term};
use super::cross_entropy;
use super::elementwise::set;
use crate::gpu::Gpu;
use crate::launch::{THREADS, grid, launch, vector_width};
use crate::tensor::{Dtype, Ids, Tensor};
use beit_ops::{RowOps, RowTraining};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// Elements that a thread loads at once.
const MAX_VECTOR: usize = 4;

/// `y[i] = x[rows[i]]`
#[cube(launch_unchecked)]
fn pick_rows<X: Float, N: Size>(
    x: &Array<Vector<X, N>>,
    rows: &Array<u32>,
    y: &mut Array<Vector<X, N>>,
    columns: usize,
    #[define(X)] _elem: ElemType,
) {
    let mut i = ABSOLUTE_POS;
    while i < y.len() {
        y[i] = x[rows[i / columns] as usize * columns + i % columns];
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// `y[rows[i]] = x[i]`; no row appears twice.
#[cube(launch_unchecked)]
fn put_rows<X: Float, N: Size>(
    x: &Array<Vector<X, N>>,
    rows: &Array<u32>,
    y: &mut Array<Vector<f32, N>>,
    columns: usize,
    #[define(X)] _elem: ElemType,
) {
    let mut i = ABSOLUTE_POS;
    while i < x.len() {
        let row = rows[i / columns] as usize;
        y[row * columns + i % columns] = Vector::cast_from(x[i]);
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// `dx[b, t] = scale · dy[b]`, zero for the first token of each image.
#[cube(launch_unchecked)]
fn spread_mean<D: Float, N: Size>(
    dy: &Array<Vector<D, N>>,
    dx: &mut Array<Vector<f32, N>>,
    columns: usize,
    tokens: usize,
    scale: f32,
    #[define(D)] _elem: ElemType,
) {
    let mut i = ABSOLUTE_POS;
    while i < dx.len() {
        let row = i / columns;
        let mut v = Vector::<f32, N>::new(0.0f32);
        if !row.is_multiple_of(tokens) {
            v = Vector::<f32, N>::cast_from(dy[row / tokens * columns + i % columns]) * Vector::new(scale);
        }
        dx[i] = v;
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// `x [M, C] -> y [rows, C]`
pub(crate) fn gather<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, rows: &Ids) -> Tensor {
    let c = x.last();
    let y = gpu.empty([rows.len, c], x.dtype);
    let n = vector_width(MAX_VECTOR, &[c]);
    let (count, dim) = (grid(y.len() / n, THREADS as usize), CubeDim::new_1d(THREADS));
    launch!(pick_rows(gpu, count, dim, n, x.arg(), rows.arg(), y.arg(), c / n, x.elem()));
    y
}

/// `x [rows, C] -> y [M, C]`, f32: a part of a residual stream, or the gradient of one.
pub(crate) fn scatter<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, rows: &Ids, m: usize) -> Tensor {
    let c = x.last();
    let y = gpu.empty([m, c], Dtype::F32);
    set(gpu, &y, 0.0);
    let n = vector_width(MAX_VECTOR, &[c]);
    let (count, dim) = (grid(x.len() / n, THREADS as usize), CubeDim::new_1d(THREADS));
    launch!(put_rows(gpu, count, dim, n, x.arg(), rows.arg(), y.arg(), c / n, x.elem()));
    y
}

/// `x [B·T, C] -> y [B, C]`, f32: one segment of the column sums for each image.
pub(crate) fn mean_pool<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, tokens: usize) -> Tensor {
    let (m, c) = (x.rows(), x.last());
    let rows = Rows { m, stride: c, group: tokens, segment: tokens };
    let scale = 1.0 / (tokens - 1) as f32;
    columns::partial_sums(gpu, Term::Patches, [x, x], x, rows, c, scale).reshaped([m / tokens, c])
}

/// Returns `dx [B·T, C]`, f32: the gradient of a residual stream.
pub(crate) fn mean_pool_backward<R: Runtime>(gpu: &Gpu<R>, dy: &Tensor, tokens: usize) -> Tensor {
    let c = dy.last();
    let dx = gpu.empty([dy.rows() * tokens, c], Dtype::F32);
    let n = vector_width(MAX_VECTOR, &[c]);
    let (count, dim) = (grid(dx.len() / n, THREADS as usize), CubeDim::new_1d(THREADS));
    let scale = 1.0 / (tokens - 1) as f32;
    launch!(spread_mean(gpu, count, dim, n, dy.arg(), dx.arg(), c / n, tokens, scale, dy.elem()));
    dx
}

impl<R: Runtime> RowOps for Gpu<R> {
    fn gather_rows(&self, x: &Tensor, rows: &Ids) -> Tensor {
        gather(self, x, rows)
    }
    fn scatter_rows(&self, x: &Tensor, rows: &Ids, m: usize) -> Tensor {
        scatter(self, x, rows, m)
    }
    fn argmax_rows(&self, x: &Tensor) -> Ids {
        cross_entropy::argmax_rows(self, x)
    }
}

impl<R: Runtime> RowTraining for Gpu<R> {}
