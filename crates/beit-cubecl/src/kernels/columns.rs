//! Sums over the rows of a matrix, in two steps: segments of rows into partial sums, partial sums onto the gradient.
//!
//! ```text
//!                 32 vectors wide
//!                +--------+--------+
//!     segment 0  | block  | block  |     a block has 32 x 8 threads: x along a row, y over rows
//!     of rows    |--------|--------|     thread (x, y) adds rows y, y + 8, y + 16, ... of its vector of 4 (bf16: 8) columns in registers;
//!     segment 1  |        |        |     then the 8 sums of a column are added through shared memory [8, 32 vectors]
//!                +--------+--------+
//!                    |        |
//!                partials [K, segments, C]     a second kernel with the same block adds the segments to the gradient
//! ```
//!
//! - 32 threads side by side read 512 bytes and more of one row: whole lines of memory.
//! - There are as many segments as give about 1,024 blocks, eight for each of 128 multiprocessors.
//! - The grid depends on the shape alone and each sum has one writer, so the order of the additions is the same in every run.

use crate::gpu::Gpu;
use crate::launch::launch;
use crate::tensor::{Dtype, Tensor};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// What is summed over rows `m`, for each column `c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Term {
    /// `a[m, c]`
    Value,
    /// `a[m, c]` where `m` is not the first row of its group: patches without \[CLS\].
    Patches,
    /// `rows[patch] · a[m, c]` where `m` is not the first row of its group; `patch` counts the others.
    Masked,
    /// `a[m, c] · b[m, c]`
    Product,
    /// `rows[group] · a[m, c] · b[m, c]`
    ScaledProduct,
    /// Two sums: of `a[m, c] · h` with `h = (b[m, c] - rows[m]) · rows[M + m]`, and of `a[m, c]`.
    Normed,
}

/// Which rows are summed: `m` of them, `stride` elements apart, in groups of `group`, `segment` for each partial sum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    pub(crate) m: usize,
    pub(crate) stride: usize,
    pub(crate) group: usize,
    pub(crate) segment: usize,
}

/// Threads along a row.
pub(crate) const LANES: u32 = 32;
/// Rows that a block reads at a time.
pub(crate) const ROWS_AT_ONCE: u32 = 8;
/// Blocks that keep a large device busy: eight for each of 128 multiprocessors.
const ENOUGH: usize = 1024;

impl Rows {
    /// All rows of a matrix, in so many segments that columns and segments together fill the device.
    pub(crate) fn all<R: Runtime>(gpu: &Gpu<R>, m: usize, c: usize) -> Self {
        let columns = c.div_ceil(LANES as usize * gpu.vector(&[c]));
        let segments = ENOUGH.div_ceil(columns).min(m.div_ceil(ROWS_AT_ONCE as usize)).max(1);
        Self { m, stride: c, group: 1, segment: m.div_ceil(segments).max(1) }
    }

    pub(crate) fn segments(&self) -> usize {
        self.m.div_ceil(self.segment).max(1)
    }
}

/// The factor of `a[m, c]` in the term of row `m`.
#[cube]
fn factor<N: Size>(
    b: Vector<f32, N>,
    rows: &Array<f32>,
    m: usize,
    total: usize,
    group: usize,
    #[comptime] term: Term,
) -> Vector<f32, N> {
    match term {
        Term::Value => Vector::new(1.0f32),
        Term::Patches => Vector::new(select(m.is_multiple_of(group), 0.0f32, 1.0f32)),
        Term::Masked => {
            let patch = m / group * (group - 1) + max(m % group, 1) - 1;
            Vector::new(select(m.is_multiple_of(group), 0.0f32, rows[patch]))
        }
        Term::Product => b,
        Term::ScaledProduct => b * Vector::new(rows[m / group]),
        Term::Normed => (b - Vector::new(rows[m])) * Vector::new(rows[total + m]),
    }
}

/// `partials [K, segments, C]`, K = 2 for [`Term::Normed`], else 1.
#[cube(launch_unchecked)]
fn sum_blocks<A: Float, B: Float, N: Size>(
    a: &Array<Vector<A, N>>,
    b: &Array<Vector<B, N>>,
    rows: &Array<f32>,
    partials: &mut Array<Vector<f32, N>>,
    m: usize,
    columns: usize,
    stride: usize,
    group: usize,
    segment: usize,
    scale: f32,
    #[comptime] term: Term,
    #[define(A, B)] _types: [ElemType; 2],
) {
    let column = own_column();
    let line = UNIT_POS_Y as usize;
    let first = CUBE_POS_Y as usize * segment;
    let end = min(first + segment, m);
    let mut sum = Vector::<f32, N>::new(0.0f32);
    let mut plain = Vector::<f32, N>::new(0.0f32);
    if column < columns {
        let mut row = first + line;
        while row < end {
            let i = row * stride + column;
            let value = Vector::<f32, N>::cast_from(a[i]);
            let other = Vector::<f32, N>::cast_from(b[i]);
            sum += value * factor::<N>(other, rows, row, m, group, term);
            if comptime!(term == Term::Normed) {
                plain += value;
            }
            row += ROWS_AT_ONCE as usize;
        }
    }
    let mut shared = SharedMemory::<Vector<f32, N>>::new(comptime!((LANES * ROWS_AT_ONCE) as usize));
    let at = CUBE_POS_Y as usize * columns + column;
    let total = block_column_sum::<N>(&mut shared, sum);
    if line == 0 && column < columns {
        partials[at] = total * Vector::new(scale);
    }
    if comptime!(term == Term::Normed) {
        let total = block_column_sum::<N>(&mut shared, plain);
        if line == 0 && column < columns {
            partials[CUBE_COUNT_Y as usize * columns + at] = total * Vector::new(scale);
        }
    }
}

/// The sum of `x` over the threads of a block that have the same column. It is complete in those of line 0 only.
#[cube]
pub(crate) fn block_column_sum<N: Size>(
    shared: &mut SharedMemory<Vector<f32, N>>,
    x: Vector<f32, N>,
) -> Vector<f32, N> {
    sync_cube();
    shared[UNIT_POS as usize] = x;
    sync_cube();
    let mut total = shared[UNIT_POS_X as usize];
    #[unroll]
    for line in 1..ROWS_AT_ONCE {
        total += shared[(line * LANES + UNIT_POS_X) as usize];
    }
    total
}

/// The column of this thread.
#[cube]
pub(crate) fn own_column() -> usize {
    CUBE_POS_X as usize * LANES as usize + UNIT_POS_X as usize
}

/// `Σ_p partials[skip + p]` of the column of this thread. It is complete in the threads of line 0 only.
#[cube]
pub(crate) fn sum_of_segments<N: Size>(
    partials: &Array<Vector<f32, N>>,
    skip: usize,
    segments: usize,
    columns: usize,
) -> Vector<f32, N> {
    let column = own_column();
    let mut sum = Vector::<f32, N>::new(0.0f32);
    if column < columns {
        let mut p = UNIT_POS_Y as usize;
        while p < segments {
            sum += partials[(skip + p) * columns + column];
            p += ROWS_AT_ONCE as usize;
        }
    }
    let mut shared = SharedMemory::<Vector<f32, N>>::new(comptime!((LANES * ROWS_AT_ONCE) as usize));
    block_column_sum::<N>(&mut shared, sum)
}

/// `into[c] += Σ_p partials[skip + p, c]`
#[cube(launch_unchecked)]
fn add_blocks<N: Size>(
    partials: &Array<Vector<f32, N>>,
    into: &mut Array<Vector<f32, N>>,
    skip: usize,
    segments: usize,
) {
    let total = sum_of_segments::<N>(partials, skip, segments, into.len());
    if UNIT_POS_Y == 0 && own_column() < into.len() {
        into[own_column()] += total;
    }
}

/// The partial sums `[K, segments, C]` of `scale · term`.
pub(crate) fn partial_sums<R: Runtime>(
    gpu: &Gpu<R>,
    term: Term,
    [a, b]: [&Tensor; 2],
    weights: &Tensor,
    rows: Rows,
    c: usize,
    scale: f32,
) -> Tensor {
    let outputs = if term == Term::Normed { 2 } else { 1 };
    let n = gpu.vector(&[c, rows.stride]);
    let columns = c / n;
    let partials = gpu.empty([outputs, rows.segments(), c], Dtype::F32);
    let count = CubeCount::Static(columns.div_ceil(LANES as usize) as u32, rows.segments() as u32, 1);
    let (m, stride) = (rows.m, rows.stride / n);
    let (weights, types) = (weights.arg(), [a.elem(), b.elem()]);
    launch!(sum_blocks(
        gpu,
        count,
        CubeDim::new_2d(LANES, ROWS_AT_ONCE),
        n,
        a.arg(),
        b.arg(),
        weights,
        partials.arg(),
        m,
        columns,
        stride,
        rows.group,
        rows.segment,
        scale,
        term,
        types,
    ));
    partials
}

/// `into [C] += Σ_p partials[k, p, C]`
pub(crate) fn add_partials<R: Runtime>(gpu: &Gpu<R>, partials: &Tensor, k: usize, into: &mut Tensor) {
    let &[_, segments, c] = &partials.shape[..] else { unreachable!("partial sums have three extents") };
    assert_eq!(into.len(), c, "{c} sums onto a gradient of shape {}", into.shape);
    let into = gpu.own(into);
    // With many columns, vectors leave enough threads. With few, each thread takes one column, so that more of them have work.
    let n = if c >= ENOUGH * LANES as usize { gpu.vector(&[c]) } else { 1 };
    let count = CubeCount::Static((c / n).div_ceil(LANES as usize) as u32, 1, 1);
    let dim = CubeDim::new_2d(LANES, ROWS_AT_ONCE);
    launch!(add_blocks(gpu, count, dim, n, partials.arg(), into.arg(), k * segments, segments));
}

/// `into [C] += Σ_m x[m, C]`
pub(crate) fn add_column_sums<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, into: &mut Tensor) {
    let c = into.len();
    add_sums_of_rows(gpu, x, Rows::all(gpu, x.len() / c, c), into);
}

/// `into [C] += Σ_m x[m, ..C]`, for longer rows `x`
pub(crate) fn add_first_column_sums<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, into: &mut Tensor) {
    let rows = Rows { stride: x.last(), ..Rows::all(gpu, x.rows(), into.len()) };
    add_sums_of_rows(gpu, x, rows, into);
}

fn add_sums_of_rows<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, rows: Rows, into: &mut Tensor) {
    let c = into.len();
    let partials = partial_sums(gpu, Term::Value, [x, x], x, rows, c, 1.0);
    add_partials(gpu, &partials, 0, into);
}
