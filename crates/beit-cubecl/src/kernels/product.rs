//! The matrix product: tiles in shared memory, multiplied by tensor cores or by plain multiply-adds.
//!
//! `C [M, N] = op(A) · op(B)`, where either operand may be stored with any axis fast, and may be the patches of a feature map
//! that a convolution sees (implicit GEMM: they are gathered while they are loaded and exist nowhere). The next tiles are
//! fetched into registers while the present ones are multiplied; two tiles of each operand take turns in shared memory.

use super::sums::Sums;
use super::tile::Tile;
use crate::launch::UNITS;
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

/// The extents of a tile of an operand, slow and fast, and the distance of its rows.
pub(crate) fn stage(form: &Form, side: &Side, outer: usize) -> [usize; 3] {
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
    let per_row = comptime!(extents[1]) / N::value();
    let share = comptime!(extents[0]) * per_row / UNITS as usize;
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
    let per_row = comptime!(extents[1]) / N::value();
    let distance = comptime!(extents[2]) / N::value();
    let share = comptime!(extents[0]) * per_row / UNITS as usize;
    let base = buffer * comptime!(extents[0]) * distance;
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
    let stage_a = comptime!(stage(&form, &form.a, form.tile.m));
    let stage_b = comptime!(stage(&form, &form.b, form.tile.n));
    let first_m = CUBE_POS_Y as usize * comptime!(form.tile.m);
    let first_n = CUBE_POS_X as usize * comptime!(form.tile.n);
    let first_k = CUBE_POS_Z as usize * span;
    let end_k = min(first_k + span, k);

    let wide_a = NA::value();
    let wide_b = NB::value();
    let mut shared_a = SharedMemory::<Vector<S, NA>>::new_aligned(comptime!(2 * stage_a[0] * stage_a[2] / wide_a), 32usize);
    let mut shared_b = SharedMemory::<Vector<S, NB>>::new_aligned(comptime!(2 * stage_b[0] * stage_b[2] / wide_b), 32usize);
    let mut next_a = Array::<Vector<S, NA>>::new(comptime!(stage_a[0] * stage_a[1] / UNITS as usize / wide_a));
    let mut next_b = Array::<Vector<S, NB>>::new(comptime!(stage_b[0] * stage_b[1] / UNITS as usize / wide_b));

    let row_a = if comptime!(form.a.k_fast) { k } else { m };
    let row_b = if comptime!(form.b.k_fast) { k } else { n };
    let end_a = corner(m, end_k, comptime!(form.a.k_fast));
    let end_b = corner(n, end_k, comptime!(form.b.k_fast));
    let window_a = comptime!(form.a.window);
    let window_b = comptime!(form.b.window);

    let mut sums = Sums::<NC>::new(form);
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
        sums.multiply::<S, NA, NB>(&shared_a, &shared_b, now, form);
        if step + 1 < steps {
            keep::<S, NA>(&next_a, &mut shared_a, (step + 1) % 2, stage_a);
            keep::<S, NB>(&next_b, &mut shared_b, (step + 1) % 2, stage_b);
        }
        sync_cube();
    }
    sums.write::<C>(bias, extra, y, (first_m, first_n), (m, n), form);
}
