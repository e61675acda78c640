//! Sums over the rows of a matrix, in two steps: blocks of rows into partial sums, partial sums onto the gradient. The
//! geometry depends on the shape alone, so the order of the additions does too.

use crate::gpu::Gpu;
use crate::launch::{launch, width};
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
    Kept,
    /// `a[m, c] · h` with `h = (b[m, c] - rows[m]) · rows[M + m]`; and `a[m, c]`, beside it.
    Normed,
}

/// Which rows: `m` of them, `pitch` elements apart, in groups of `group`, `block` for each partial sum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    pub(crate) m: usize,
    pub(crate) pitch: usize,
    pub(crate) group: usize,
    pub(crate) block: usize,
}

/// Units along a row: what they load lies side by side.
const LANES: u32 = 32;
/// Rows that a cube reads at a time.
const LINES: u32 = 8;
/// Cubes that keep a large device busy: eight for each of 128 multiprocessors.
const ENOUGH: usize = 1024;
/// Elements that a unit loads at once.
const WIDE: usize = 4;

impl Rows {
    /// All rows of a matrix, cut so that columns and blocks together fill the device.
    pub(crate) fn of(m: usize, c: usize) -> Self {
        let columns = c.div_ceil(LANES as usize * WIDE);
        let blocks = ENOUGH.div_ceil(columns).min(m.div_ceil(LINES as usize)).max(1);
        Self { m, pitch: c, group: 1, block: m.div_ceil(blocks).max(1) }
    }

    fn blocks(&self) -> usize {
        self.m.div_ceil(self.block).max(1)
    }
}

/// The term of row `m`: what is multiplied with `a[m, c]`.
#[cube]
fn weight<N: Size>(
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
        Term::Kept => b * Vector::new(rows[m / group]),
        Term::Normed => (b - Vector::new(rows[m])) * Vector::new(rows[total + m]),
    }
}

/// `partials [K, blocks, C]`, K = 2 for [`Term::Normed`], else 1.
#[cube(launch_unchecked)]
fn sum_blocks<A: Float, B: Float, N: Size>(
    a: &Array<Vector<A, N>>,
    b: &Array<Vector<B, N>>,
    rows: &Array<f32>,
    partials: &mut Array<Vector<f32, N>>,
    m: usize,
    columns: usize,
    pitch: usize,
    group: usize,
    block: usize,
    scale: f32,
    #[comptime] term: Term,
    #[define(A, B)] _types: [ElemType; 2],
) {
    let column = CUBE_POS_X as usize * LANES as usize + UNIT_POS_X as usize;
    let line = UNIT_POS_Y as usize;
    let first = CUBE_POS_Y as usize * block;
    let end = min(first + block, m);
    let mut sum = Vector::<f32, N>::new(0.0f32);
    let mut plain = Vector::<f32, N>::new(0.0f32);
    if column < columns {
        let mut row = first + line;
        while row < end {
            let i = row * pitch + column;
            let value = Vector::<f32, N>::cast_from(a[i]);
            let other = Vector::<f32, N>::cast_from(b[i]);
            sum += value * weight::<N>(other, rows, row, m, group, term);
            if comptime!(term == Term::Normed) {
                plain += value;
            }
            row += LINES as usize;
        }
    }
    let mut shared = SharedMemory::<Vector<f32, N>>::new(comptime!((LANES * LINES) as usize));
    let at = CUBE_POS_Y as usize * columns + column;
    let total = over_lines::<N>(&mut shared, sum);
    if line == 0 && column < columns {
        partials[at] = total * Vector::new(scale);
    }
    if comptime!(term == Term::Normed) {
        let total = over_lines::<N>(&mut shared, plain);
        if line == 0 && column < columns {
            partials[CUBE_COUNT_Y as usize * columns + at] = total * Vector::new(scale);
        }
    }
}

/// The sum of `x` over the lines of a cube; only line 0 may use it.
#[cube]
fn over_lines<N: Size>(shared: &mut SharedMemory<Vector<f32, N>>, x: Vector<f32, N>) -> Vector<f32, N> {
    sync_cube();
    shared[UNIT_POS as usize] = x;
    sync_cube();
    let mut total = shared[UNIT_POS_X as usize];
    #[unroll]
    for line in 1..LINES {
        total += shared[(line * LANES + UNIT_POS_X) as usize];
    }
    total
}

/// `into[c] += Σ_p partials[skip + p, c]`
#[cube(launch_unchecked)]
fn add_blocks<N: Size>(
    partials: &Array<Vector<f32, N>>,
    into: &mut Array<Vector<f32, N>>,
    skip: usize,
    blocks: usize,
) {
    let columns = into.len();
    let column = CUBE_POS_X as usize * LANES as usize + UNIT_POS_X as usize;
    let mut sum = Vector::<f32, N>::new(0.0f32);
    if column < columns {
        let mut p = UNIT_POS_Y as usize;
        while p < blocks {
            sum += partials[(skip + p) * columns + column];
            p += LINES as usize;
        }
    }
    let mut shared = SharedMemory::<Vector<f32, N>>::new(comptime!((LANES * LINES) as usize));
    let total = over_lines::<N>(&mut shared, sum);
    if UNIT_POS_Y == 0 && column < columns {
        into[column] += total;
    }
}

/// The partial sums `[K, blocks, C]` of `scale · term`.
pub(crate) fn blocks<R: Runtime>(
    gpu: &Gpu<R>,
    term: Term,
    [a, b]: [&Tensor; 2],
    weights: &Tensor,
    rows: Rows,
    c: usize,
    scale: f32,
) -> Tensor {
    let outputs = if term == Term::Normed { 2 } else { 1 };
    let n = width(WIDE, &[c, rows.pitch]);
    let columns = c / n;
    let partials = gpu.empty([outputs, rows.blocks(), c], Dtype::F32);
    let count = CubeCount::Static(columns.div_ceil(LANES as usize) as u32, rows.blocks() as u32, 1);
    let (m, pitch) = (rows.m, rows.pitch / n);
    let (weights, types) = (weights.arg(), [a.elem(), b.elem()]);
    launch!(sum_blocks(
        gpu,
        count,
        CubeDim::new_2d(LANES, LINES),
        n,
        a.arg(),
        b.arg(),
        weights,
        partials.arg(),
        m,
        columns,
        pitch,
        rows.group,
        rows.block,
        scale,
        term,
        types,
    ));
    partials
}

/// `into [C] += Σ_p partials[k, p, C]`
pub(crate) fn finish<R: Runtime>(gpu: &Gpu<R>, partials: &Tensor, k: usize, into: &mut Tensor) {
    let &[_, blocks, c] = &partials.shape[..] else { unreachable!("partial sums have three extents") };
    assert_eq!(into.len(), c, "{c} sums onto a gradient of shape {}", into.shape);
    let into = gpu.own(into);
    // Few partial sums of many columns load widely; many of few need the units.
    let n = if c >= ENOUGH * LANES as usize { width(WIDE, &[c]) } else { 1 };
    let count = CubeCount::Static((c / n).div_ceil(LANES as usize) as u32, 1, 1);
    let dim = CubeDim::new_2d(LANES, LINES);
    launch!(add_blocks(gpu, count, dim, n, partials.arg(), into.arg(), k * blocks, blocks));
}

/// `into [C] += Σ_m x[m, C]`
pub(crate) fn add_column_sums<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, into: &mut Tensor) {
    let c = into.len();
    let rows = Rows::of(x.len() / c, c);
    let partials = blocks(gpu, Term::Value, [x, x], x, rows, c, 1.0);
    finish(gpu, &partials, 0, into);
}
