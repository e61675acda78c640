//! The matrix product: tiles in shared memory, multiplied by tensor cores or by plain multiply-adds.
//!
//! `C [M, N] = op(A) · op(B)`, where either operand may be stored with any axis fast, and may be the patches of a feature map
//! that a convolution sees (implicit GEMM: they are gathered while they are loaded and exist nowhere). The next tiles are
//! fetched into registers while the present ones are multiplied; two tiles of each operand take turns in shared memory.

use super::sums::{Block, SIDE, Stage, Sums, plane_corner, unit_corner};
use super::tile::{CORE, Tile};
use crate::kernels::elementwise::{gelu, gelu_slope};
use crate::launch::UNITS;
use cubecl::cmma::{self, MatrixLayout};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// How an operand lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Side {
    /// Whether the axis that is summed over is the fast one.
    pub(crate) k_fast: bool,
    /// 0 for a matrix. Otherwise the operand is a feature map `[B, h, w, C]` seen through a window of this side, as a matrix
    /// of pixels by (line, column, channel), the latter fast.
    pub(crate) window: usize,
}

/// What becomes of a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Epilogue {
    /// `y = sum`
    Store,
    /// `extra = sum`, `y = gelu(sum)`
    Gelu,
    /// `y = gelu(sum)`
    GeluAlone,
    /// `y = sum · gelu'(extra)`
    GeluBackward,
    /// `y += sum`
    Accumulate,
    /// `y[z] = sum`, for piece z of the axis that is summed over.
    Piece,
}

/// Everything about a product that its kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Form {
    pub(crate) a: Side,
    pub(crate) b: Side,
    pub(crate) epilogue: Epilogue,
    pub(crate) bias: bool,
    pub(crate) tile: Tile,
}

/// Elements between two rows of a tile in shared memory beyond the row itself: no two rows of a fragment, or of a column of
/// units, start in one bank.
fn padding(form: &Form) -> usize {
    if form.tile.cores { 8 } else { 1 }
}

/// The product of two tiles.
fn block(form: &Form) -> Block {
    let Tile { m, n, k, planes, cores, .. } = form.tile;
    let side = |side: &Side, outer| Stage { k_fast: side.k_fast, distance: stage(form, side, outer)[2] };
    Block { m, n, k, a: side(&form.a, m), b: side(&form.b, n), planes, cores }
}

/// The extents of a tile of an operand, slow and fast, and the distance of its rows.
fn stage(form: &Form, side: &Side, outer: usize) -> [usize; 3] {
    let [slow, fast] = if side.k_fast { [outer, form.tile.k] } else { [form.tile.k, outer] };
    [slow, fast, fast + padding(form)]
}

/// The extents of a feature map `[_, h, w, c]`; 0 for matrices.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(crate) struct Map {
    pub(crate) h: usize,
    pub(crate) w: usize,
    pub(crate) c: usize,
}

/// The elements at (`slow`, `fast`) of an operand, zero outside of it and in the margin of a feature map.
#[cube]
fn fetch<X: Float, S: Float, N: Size>(
    x: &Array<Vector<X, N>>,
    at: (usize, usize),
    end: (usize, usize),
    row: usize,
    map: &Map,
    #[comptime] window: usize,
) -> Vector<S, N> {
    let (slow, fast) = at;
    let (slow_end, fast_end) = end;
    let mut value = Vector::<S, N>::cast_from(Vector::<f32, N>::new(0.0f32));
    if slow < slow_end && fast < fast_end {
        if comptime!(window == 0) {
            value = Vector::cast_from(x[(slow * row + fast) / N::value()]);
        } else {
            let margin = comptime!(window / 2);
            let tap = fast / map.c;
            let column = slow % map.w;
            let line = (slow / map.w) % map.h;
            // One margin is added on both sides, so that nothing goes below zero.
            let source_line = line + tap / window;
            let source_column = column + tap % window;
            if source_line >= margin
                && source_line < map.h + margin
                && source_column >= margin
                && source_column < map.w + margin
            {
                let moved = slow + tap / window * map.w + tap % window;
                let pixel = moved - margin * map.w - margin;
                value = Vector::cast_from(x[(pixel * map.c + fast % map.c) / N::value()]);
            }
        }
    }
    value
}

/// A unit's share of one tile of an operand, from device memory into registers.
#[cube]
fn load<X: Float, S: Float, N: Size>(
    x: &Array<Vector<X, N>>,
    registers: &mut Array<Vector<S, N>>,
    first: (usize, usize),
    end: (usize, usize),
    row: usize,
    map: &Map,
    #[comptime] extents: [usize; 3],
    #[comptime] window: usize,
) {
    let wide = N::value();
    let per_row = comptime!(extents[1] / wide);
    let share = comptime!(extents[0] * per_row / UNITS as usize);
    #[unroll]
    for i in 0..share {
        let e = UNIT_POS as usize + i * UNITS as usize;
        let at = (first.0 + e / per_row, first.1 + e % per_row * N::value());
        registers[i] = fetch::<X, S, N>(x, at, end, row, map, window);
    }
}

/// From registers into buffer `buffer` of the shared memory.
#[cube]
fn keep<S: Float, N: Size>(
    registers: &Array<Vector<S, N>>,
    shared: &mut SharedMemory<Vector<S, N>>,
    buffer: usize,
    #[comptime] extents: [usize; 3],
) {
    let wide = N::value();
    let per_row = comptime!(extents[1] / wide);
    let distance = comptime!(extents[2] / wide);
    let share = comptime!(extents[0] * per_row / UNITS as usize);
    let base = buffer * comptime!(extents[0] * distance);
    #[unroll]
    for i in 0..share {
        let e = UNIT_POS as usize + i * UNITS as usize;
        shared[base + e / per_row * distance + e % per_row] = registers[i];
    }
}

/// Where the next tile of an operand begins.
#[cube]
fn corner(outer: usize, k: usize, #[comptime] k_fast: bool) -> (usize, usize) {
    if comptime!(k_fast) { (outer, k) } else { (k, outer) }
}

/// `y [m, n]` of the operands; piece z of the sum goes from `z · span` to `(z + 1) · span`.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
pub(crate) fn product<A: Float, B: Float, S: Float, C: Float, NA: Size, NB: Size, NC: Size>(
    a: &Array<Vector<A, NA>>,
    b: &Array<Vector<B, NB>>,
    bias: &Array<Vector<f32, NC>>,
    extra: &mut Array<Vector<C, NC>>,
    y: &mut Array<Vector<C, NC>>,
    m: usize,
    n: usize,
    k: usize,
    span: usize,
    map: &Map,
    #[comptime] form: Form,
    #[define(A, B, S, C)] _types: [ElemType; 4],
) {
    let tile_k = comptime!(form.tile.k);
    let block = comptime!(block(&form));
    let stage_a = comptime!(stage(&form, &form.a, form.tile.m));
    let stage_b = comptime!(stage(&form, &form.b, form.tile.n));
    let first_m = CUBE_POS_Y as usize * comptime!(form.tile.m);
    let first_n = CUBE_POS_X as usize * comptime!(form.tile.n);
    let first_k = CUBE_POS_Z as usize * span;
    let end_k = min(first_k + span, k);

    let wide_a = NA::value();
    let wide_b = NB::value();
    let mut shared_a =
        SharedMemory::<Vector<S, NA>>::new_aligned(comptime!(2 * stage_a[0] * stage_a[2] / wide_a), 32usize);
    let mut shared_b =
        SharedMemory::<Vector<S, NB>>::new_aligned(comptime!(2 * stage_b[0] * stage_b[2] / wide_b), 32usize);
    let mut next_a =
        Array::<Vector<S, NA>>::new(comptime!(stage_a[0] * stage_a[1] / UNITS as usize / wide_a));
    let mut next_b =
        Array::<Vector<S, NB>>::new(comptime!(stage_b[0] * stage_b[1] / UNITS as usize / wide_b));

    let row_a = if comptime!(form.a.k_fast) { k } else { m };
    let row_b = if comptime!(form.b.k_fast) { k } else { n };
    let end_a = corner(m, end_k, comptime!(form.a.k_fast));
    let end_b = corner(n, end_k, comptime!(form.b.k_fast));
    let window_a = comptime!(form.a.window);
    let window_b = comptime!(form.b.window);

    let mut sums = Sums::<NC>::new(block);
    let steps = (end_k - first_k + tile_k - 1) / tile_k;

    let begin_a = corner(first_m, first_k, comptime!(form.a.k_fast));
    let begin_b = corner(first_n, first_k, comptime!(form.b.k_fast));
    load::<A, S, NA>(a, &mut next_a, begin_a, end_a, row_a, map, stage_a, window_a);
    load::<B, S, NB>(b, &mut next_b, begin_b, end_b, row_b, map, stage_b, window_b);
    keep::<S, NA>(&next_a, &mut shared_a, 0usize, stage_a);
    keep::<S, NB>(&next_b, &mut shared_b, 0usize, stage_b);
    sync_cube();
    for step in 0..steps {
        let now = step % 2;
        if step + 1 < steps {
            let next_k = first_k + (step + 1) * tile_k;
            let begin_a = corner(first_m, next_k, comptime!(form.a.k_fast));
            let begin_b = corner(first_n, next_k, comptime!(form.b.k_fast));
            load::<A, S, NA>(a, &mut next_a, begin_a, end_a, row_a, map, stage_a, window_a);
            load::<B, S, NB>(b, &mut next_b, begin_b, end_b, row_b, map, stage_b, window_b);
        }
        let at_a = now * comptime!(stage_a[0] * stage_a[2]);
        let at_b = now * comptime!(stage_b[0] * stage_b[2]);
        sums.multiply::<S, NA, NB>(&shared_a, at_a, &shared_b, at_b, block);
        if step + 1 < steps {
            keep::<S, NA>(&next_a, &mut shared_a, (step + 1) % 2, stage_a);
            keep::<S, NB>(&next_b, &mut shared_b, (step + 1) % 2, stage_b);
        }
        sync_cube();
    }
    write::<C, NC>(&sums, bias, extra, y, (first_m, first_n), (m, n), form);
}

/// Distance of the rows of a fragment in shared memory, in f32: the fragment's side, and padding against bank conflicts.
const STAGED: usize = CORE + 4;

/// Hands the sums to their place. `first` is where the tile begins, `extents` where the result ends.
#[cube]
fn write<C: Float, N: Size>(
    sums: &Sums<N>,
    bias: &Array<Vector<f32, N>>,
    extra: &mut Array<Vector<C, N>>,
    y: &mut Array<Vector<C, N>>,
    first: (usize, usize),
    extents: (usize, usize),
    #[comptime] form: Form,
) {
    let block = comptime!(block(&form));
    let [rows, columns] = comptime!(block.share());
    if comptime!(block.cores) {
        let planes = comptime!(block.planes[0] * block.planes[1]);
        let mut staged = SharedMemory::<f32>::new_aligned(comptime!(planes * CORE * STAGED), 32usize);
        let base = UNIT_POS as usize / PLANE_DIM as usize * comptime!(CORE * STAGED);
        let (first_m, first_n) = plane_corner(block);
        let wide = N::value();
        let vectors = comptime!(CORE * CORE / wide);
        #[unroll]
        for i in 0..rows {
            #[unroll]
            for j in 0..columns {
                let mut slice = staged.slice_mut(base, base + comptime!(CORE * STAGED));
                let sum = sums.fragments.index(comptime!(i * columns + j));
                cmma::store(&mut slice, sum, comptime!(STAGED as u32), MatrixLayout::RowMajor);
                sync_plane();
                let mut e = UNIT_POS as usize % PLANE_DIM as usize;
                while e < vectors {
                    let row = e * N::value() / CORE;
                    let column = e * N::value() % CORE;
                    let mut v = Vector::<f32, N>::empty();
                    #[unroll]
                    for l in 0..N::value() {
                        v[l] = staged[base + row * STAGED + column + l];
                    }
                    let row = first.0 + first_m + comptime!(i * CORE) + row;
                    let column = first.1 + first_n + comptime!(j * CORE) + column;
                    emit::<C, N>(v, row, column, bias, extra, y, extents, form);
                    e += PLANE_DIM as usize;
                }
                sync_plane();
            }
        }
    } else {
        let (first_m, first_n) = unit_corner();
        #[unroll]
        for i in 0..rows {
            #[unroll]
            for j in 0..columns {
                let row = first.0 + first_m + comptime!(i * SIDE);
                let column = first.1 + first_n + comptime!(j * SIDE);
                emit::<C, N>(
                    sums.numbers[comptime!(i * columns + j)],
                    row,
                    column,
                    bias,
                    extra,
                    y,
                    extents,
                    form,
                );
            }
        }
    }
}

/// Sums at (`row`, `column`) and the columns after it.
#[cube]
#[allow(clippy::too_many_arguments)]
fn emit<C: Float, N: Size>(
    sum: Vector<f32, N>,
    row: usize,
    column: usize,
    bias: &Array<Vector<f32, N>>,
    extra: &mut Array<Vector<C, N>>,
    y: &mut Array<Vector<C, N>>,
    extents: (usize, usize),
    #[comptime] form: Form,
) {
    let (m, n) = extents;
    if row < m && column < n {
        let at = (row * n + column) / N::value();
        let mut v = sum;
        if comptime!(form.bias) {
            v += bias[column / N::value()];
        }
        match comptime!(form.epilogue) {
            Epilogue::Store => {
                y[at] = Vector::cast_from(v);
            }
            Epilogue::Gelu => {
                extra[at] = Vector::cast_from(v);
                y[at] = Vector::cast_from(gelu::<N>(v));
            }
            Epilogue::GeluAlone => {
                y[at] = Vector::cast_from(gelu::<N>(v));
            }
            Epilogue::GeluBackward => {
                y[at] = Vector::cast_from(v * gelu_slope::<N>(Vector::cast_from(extra[at])));
            }
            Epilogue::Accumulate => {
                y[at] = Vector::cast_from(v + Vector::cast_from(y[at]));
            }
            Epilogue::Piece => {
                let piece = CUBE_POS_Z as usize * (m * n / N::value());
                y[piece + at] = Vector::cast_from(v);
            }
        }
    }
}
