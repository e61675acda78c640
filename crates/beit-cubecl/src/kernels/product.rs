//! The matrix product: tiles in shared memory, multiplied by tensor cores or by plain multiply-adds.
//!
//! `C [M, N] = op(A) · op(B)`. Either operand may be contiguous along the summed axis or across it, or may be the patches that a
//! convolution sees of a feature map. Patches are gathered while they are loaded and never stored (implicit GEMM).
//!
//! ```text
//!                         n
//!                   +-----------+   step 0           grid: x and y count tiles (`Tile::grid`), z splits of the sum
//!                 k |     B     |                    block: 256 threads, one tile [m, n] of the result
//!                   +-----------+   step 1
//!                   :           :
//!        k
//!   +-----+-----+ - +-----------+                    device memory            registers        shared memory
//!   |     |     |   |           |                    tile of step s + 1  ->   a share of  ->   +----------+
//! m |  A  |     |   | one block |                                             each thread      | buffer 0 |  A, B
//!   |     |     |   |           |                                                              |----------|
//!   +-----+-----+ - +-----------+                    meanwhile the tile of step s              | buffer 1 |  A, B
//!   step 0 step 1                                    is multiplied from the other buffer       +----------+
//! ```
//!
//! - Two buffers, since the tile of one step is read while that of the next is written. One barrier a step is enough.
//! - Rows in shared memory are padded by 8 elements of bf16 (16 bytes) with tensor cores and by 1 element of f32 without, so
//!   that the rows of a fragment, or of a column of threads, start in different banks.
//! - The sizes of tiles, and their reasons, are in `tile.rs`; which warp or thread adds up which part of a tile is in `sums.rs`.
//! - Accumulators of tensor cores have no addresses. Each warp writes one fragment at a time to a strip of shared memory of
//!   its own and stores it from there in whole vectors, after bias and activation.

use super::product_variant::{Epilogue, OperandTile, Variant};
use super::sums::{Accumulators, SQUARE, thread_origin, warp_origin};
use super::tile::FRAGMENT;
use crate::kernels::elementwise::{gelu, gelu_slope};
use crate::kernels::nan::unless_negative;
use crate::launch::THREADS;
use cubecl::cmma::{self, MatrixLayout};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// The extents of a feature map `[_, h, w, c]`; ones for matrices.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(crate) struct Map {
    pub(crate) h: usize,
    pub(crate) w: usize,
    pub(crate) c: usize,
}

/// The elements at (`slow`, `contiguous`) of an operand; zeros outside of it and in the padding of a feature map.
#[cube]
pub(crate) fn load_vector<X: Float, S: Float, N: Size>(
    x: &Array<Vector<X, N>>,
    at: (usize, usize),
    end: (usize, usize),
    row: usize,
    map: &Map,
    #[comptime] filter: usize,
) -> Vector<S, N> {
    let (slow, contiguous) = at;
    let (slow_end, contiguous_end) = end;
    let mut value = Vector::<S, N>::cast_from(Vector::<f32, N>::new(0.0f32));
    if slow < slow_end && contiguous < contiguous_end {
        if comptime!(filter == 0) {
            value = Vector::cast_from(x[(slow * row + contiguous) / N::value()]);
        } else {
            let padding = comptime!(filter / 2);
            let tap = contiguous / map.c;
            let column = slow % map.w;
            let line = (slow / map.w) % map.h;
            // Coordinates count the padding, so that none is negative.
            let source_line = line + tap / filter;
            let source_column = column + tap % filter;
            if source_line >= padding
                && source_line < map.h + padding
                && source_column >= padding
                && source_column < map.w + padding
            {
                let shifted = slow + tap / filter * map.w + tap % filter;
                let pixel = shifted - padding * map.w - padding;
                value = Vector::cast_from(x[(pixel * map.c + contiguous % map.c) / N::value()]);
            }
        }
    }
    value
}

/// (`outer`, `k`) in memory order.
#[cube]
fn memory_order(outer: usize, k: usize, #[comptime] tile: OperandTile) -> (usize, usize) {
    if comptime!(tile.layout.k_contiguous) { (outer, k) } else { (k, outer) }
}

/// One operand of a block: two tiles in shared memory, and the next one in registers.
#[derive(CubeType)]
struct Panel<S: Float, N: Size> {
    shared: SharedMemory<Vector<S, N>>,
    next: Array<Vector<S, N>>,
    /// Where the block's tile begins along m or n.
    first: usize,
    /// Where the operand ends, in memory order.
    end: (usize, usize),
    /// Elements of a row in device memory.
    row: usize,
}

#[cube]
impl<S: Float, N: Size> Panel<S, N> {
    fn new(first: usize, end: (usize, usize), row: usize, #[comptime] tile: OperandTile) -> Self {
        let wide = N::value();
        Panel::<S, N> {
            shared: SharedMemory::new_aligned(comptime!(2 * tile.buffer() / wide), 32usize),
            next: Array::new(comptime!(tile.per_thread(wide))),
            first,
            end,
            row,
        }
    }

    /// This thread's share of the tile at `k`, from device memory into registers.
    fn load<X: Float>(
        &mut self,
        x: &Array<Vector<X, N>>,
        k: usize,
        map: &Map,
        #[comptime] tile: OperandTile,
    ) {
        let wide = N::value();
        let per_row = comptime!(tile.per_row(wide));
        let origin = memory_order(self.first, k, tile);
        #[unroll]
        for i in 0..comptime!(tile.per_thread(wide)) {
            let e = UNIT_POS as usize + i * THREADS as usize;
            let at = (origin.0 + e / per_row, origin.1 + e % per_row * N::value());
            self.next[i] = load_vector::<X, S, N>(x, at, self.end, self.row, map, tile.layout.filter);
        }
    }

    /// The registers into buffer `buffer` of the shared memory.
    fn store(&mut self, buffer: usize, #[comptime] tile: OperandTile) {
        let wide = N::value();
        let per_row = comptime!(tile.per_row(wide));
        let stride = comptime!(tile.stride / wide);
        let base = buffer * comptime!(tile.slow * (tile.stride / wide));
        #[unroll]
        for i in 0..comptime!(tile.per_thread(wide)) {
            let e = UNIT_POS as usize + i * THREADS as usize;
            self.shared[base + e / per_row * stride + e % per_row] = self.next[i];
        }
    }
}

/// The row and the column of the tile of a block: its place in the grid, unless several rows of tiles lie along x.
#[cube]
fn tile_of_block(n: usize, #[comptime] variant: Variant) -> (usize, usize) {
    let (x, y) = (CUBE_POS_X as usize, CUBE_POS_Y as usize);
    if comptime!(variant.rows_along_x) {
        let columns = (n + comptime!(variant.tile.n - 1)) / comptime!(variant.tile.n);
        let block = y * CUBE_COUNT_X as usize + x;
        (block / columns, block % columns)
    } else {
        (y, x)
    }
}

/// `y [m, n]` of the operands; split z of the sum goes from `z · k_per_block` to `(z + 1) · k_per_block`.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn product<A: Float, B: Float, S: Float, C: Float, NA: Size, NB: Size, NC: Size>(
    a: &Array<Vector<A, NA>>,
    b: &Array<Vector<B, NB>>,
    bias: &Array<Vector<f32, NC>>,
    aux: &mut Array<Vector<C, NC>>,
    y: &mut Array<Vector<C, NC>>,
    m: usize,
    n: usize,
    k: usize,
    k_per_block: usize,
    scale: f32,
    map: &Map,
    #[comptime] variant: Variant,
    #[define(A, B, S, C)] _types: [ElemType; 4],
) {
    let (tile_a, tile_b) = comptime!((variant.operand_a(), variant.operand_b()));
    let tile_k = comptime!(variant.tile.k);
    let shape = comptime!(variant.shape());
    let (row, column) = tile_of_block(n, variant);
    let first_m = row * comptime!(variant.tile.m);
    let first_n = column * comptime!(variant.tile.n);
    let first_k = CUBE_POS_Z as usize * k_per_block;
    let end_k = min(first_k + k_per_block, k);
    let row_a = if comptime!(variant.a.k_contiguous) { k } else { m };
    let row_b = if comptime!(variant.b.k_contiguous) { k } else { n };
    let mut panel_a = Panel::<S, NA>::new(first_m, memory_order(m, end_k, tile_a), row_a, tile_a);
    let mut panel_b = Panel::<S, NB>::new(first_n, memory_order(n, end_k, tile_b), row_b, tile_b);

    let mut sums = Accumulators::<NC>::new(shape);
    let steps = (end_k - first_k + tile_k - 1) / tile_k;
    panel_a.load::<A>(a, first_k, map, tile_a);
    panel_b.load::<B>(b, first_k, map, tile_b);
    panel_a.store(0usize, tile_a);
    panel_b.store(0usize, tile_b);
    sync_cube();
    for step in 0..steps {
        let buffer = step % 2;
        if step + 1 < steps {
            let next_k = first_k + (step + 1) * tile_k;
            panel_a.load::<A>(a, next_k, map, tile_a);
            panel_b.load::<B>(b, next_k, map, tile_b);
        }
        let at_a = buffer * comptime!(tile_a.buffer());
        let at_b = buffer * comptime!(tile_b.buffer());
        sums.multiply::<S, NA, NB>(&panel_a.shared, at_a, &panel_b.shared, at_b, shape);
        if step + 1 < steps {
            panel_a.store((step + 1) % 2, tile_a);
            panel_b.store((step + 1) % 2, tile_b);
        }
        sync_cube();
    }
    let (first, extents) = ((first_m, first_n), (m, n));
    if comptime!(shape.tensor_cores) {
        write_fragments::<C, NC>(&sums, bias, aux, y, scale, first, extents, variant);
    } else {
        write_numbers::<C, NC>(&sums, bias, aux, y, scale, first, extents, variant);
    }
}

/// Stride of the rows of a fragment in shared memory, in f32: its side, and 16 bytes against bank conflicts.
const FRAGMENT_STRIDE: usize = FRAGMENT + 4;

/// Hands over the sums of tensor cores, one fragment at a time. `first` is where the tile begins, `extents` where the result
/// ends.
#[cube]
#[allow(clippy::too_many_arguments)]
fn write_fragments<C: Float, N: Size>(
    sums: &Accumulators<N>,
    bias: &Array<Vector<f32, N>>,
    aux: &mut Array<Vector<C, N>>,
    y: &mut Array<Vector<C, N>>,
    scale: f32,
    first: (usize, usize),
    extents: (usize, usize),
    #[comptime] variant: Variant,
) {
    let shape = comptime!(variant.shape());
    let [rows, columns] = comptime!(shape.accumulators());
    let warps = comptime!(shape.warps[0] * shape.warps[1]);
    let size = comptime!(FRAGMENT * FRAGMENT_STRIDE);
    let mut strips = SharedMemory::<f32>::new_aligned(comptime!(warps * size), 32usize);
    let base = UNIT_POS as usize / PLANE_DIM as usize * size;
    let (first_m, first_n) = warp_origin(shape);
    let wide = N::value();
    let vectors = comptime!(FRAGMENT * FRAGMENT / wide);
    #[unroll]
    for i in 0..rows {
        #[unroll]
        for j in 0..columns {
            let mut strip = strips.slice_mut(base, base + size);
            let sum = sums.fragments.index(comptime!(i * columns + j));
            cmma::store(&mut strip, sum, comptime!(FRAGMENT_STRIDE as u32), MatrixLayout::RowMajor);
            sync_plane();
            let mut e = UNIT_POS as usize % PLANE_DIM as usize;
            while e < vectors {
                let row = e * N::value() / FRAGMENT;
                let column = e * N::value() % FRAGMENT;
                let mut v = Vector::<f32, N>::empty();
                #[unroll]
                for l in 0..N::value() {
                    v[l] = strips[base + row * FRAGMENT_STRIDE + column + l];
                }
                let row = first.0 + first_m + comptime!(i * FRAGMENT) + row;
                let column = first.1 + first_n + comptime!(j * FRAGMENT) + column;
                store_result::<C, N>(v, row, column, bias, aux, y, scale, extents, variant);
                e += PLANE_DIM as usize;
            }
            sync_plane();
        }
    }
}

/// Hands over the sums of plain multiply-adds.
#[cube]
#[allow(clippy::too_many_arguments)]
fn write_numbers<C: Float, N: Size>(
    sums: &Accumulators<N>,
    bias: &Array<Vector<f32, N>>,
    aux: &mut Array<Vector<C, N>>,
    y: &mut Array<Vector<C, N>>,
    scale: f32,
    first: (usize, usize),
    extents: (usize, usize),
    #[comptime] variant: Variant,
) {
    let [rows, columns] = comptime!(variant.shape().accumulators());
    let (first_m, first_n) = thread_origin();
    #[unroll]
    for i in 0..rows {
        #[unroll]
        for j in 0..columns {
            let sum = sums.numbers[comptime!(i * columns + j)];
            let row = first.0 + first_m + comptime!(i * SQUARE);
            let column = first.1 + first_n + comptime!(j * SQUARE);
            store_result::<C, N>(sum, row, column, bias, aux, y, scale, extents, variant);
        }
    }
}

/// Bias, epilogue and store for the sums at (`row`, `column`) and the columns after it.
#[cube]
#[allow(clippy::too_many_arguments)]
fn store_result<C: Float, N: Size>(
    sum: Vector<f32, N>,
    row: usize,
    column: usize,
    bias: &Array<Vector<f32, N>>,
    aux: &mut Array<Vector<C, N>>,
    y: &mut Array<Vector<C, N>>,
    scale: f32,
    extents: (usize, usize),
    #[comptime] variant: Variant,
) {
    let (m, n) = extents;
    if row < m && column < n {
        let at = (row * n + column) / N::value();
        let mut v = sum;
        if comptime!(variant.bias) {
            v += bias[column / N::value()];
        }
        match comptime!(variant.epilogue) {
            Epilogue::Store => {
                y[at] = Vector::cast_from(v);
            }
            Epilogue::Gelu => {
                aux[at] = Vector::cast_from(v);
                y[at] = Vector::cast_from(gelu::<N>(v));
            }
            Epilogue::GeluOnly => {
                y[at] = Vector::cast_from(gelu::<N>(v));
            }
            Epilogue::Relu => {
                y[at] = Vector::cast_from(unless_negative::<N>(v, v));
            }
            Epilogue::AddScaled => {
                y[at] = Vector::cast_from(Vector::cast_from(aux[at]) + v * Vector::new(scale));
            }
            Epilogue::GeluBackward => {
                y[at] = Vector::cast_from(v * gelu_slope::<N>(Vector::cast_from(aux[at])));
            }
            Epilogue::Accumulate => {
                y[at] = Vector::cast_from(v + Vector::cast_from(y[at]));
            }
            Epilogue::Partial => {
                let split = CUBE_POS_Z as usize * (m * n / N::value());
                y[split + at] = Vector::cast_from(v);
            }
        }
    }
}
