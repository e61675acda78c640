//! Reductions along rows: a plane for each row, or a whole cube where rows are long.

use crate::gpu::Gpu;
use crate::launch::{UNITS, cubes, launch, row_cubes, width};
use crate::tensor::{Dtype, Tensor};
use cubecl::prelude::*;

/// Rows longer than this take a whole cube: a plane of 32 would load more than eight vectors a unit.
const LONG: usize = 1024;
/// Elements that a unit loads at once.
pub(crate) const WIDE: usize = 4;

/// How a kernel over the rows of `[M, C]` is launched.
pub(crate) struct RowLaunch {
    /// Elements of a vector.
    pub(crate) n: usize,
    pub(crate) count: CubeCount,
    pub(crate) dim: CubeDim,
    /// Whether a whole cube works on each row.
    pub(crate) whole: bool,
}

impl RowLaunch {
    pub(crate) fn new<R: Runtime>(gpu: &Gpu<R>, m: usize, c: usize) -> Self {
        let whole = c > LONG;
        let count = if whole { cubes(m, 1) } else { row_cubes(&gpu.client, m) };
        Self { n: width(WIDE, &[c]), count, dim: CubeDim::new_1d(UNITS), whole }
    }
}

/// The first row of this unit's plane or cube.
#[cube]
pub(crate) fn first_row(#[comptime] whole: bool) -> usize {
    if whole {
        CUBE_POS
    } else {
        CUBE_POS * (CUBE_DIM / PLANE_DIM) as usize + (UNIT_POS / PLANE_DIM) as usize
    }
}

/// The distance to its next row.
#[cube]
pub(crate) fn row_step(#[comptime] whole: bool) -> usize {
    if whole { CUBE_COUNT } else { CUBE_COUNT * (CUBE_DIM / PLANE_DIM) as usize }
}

/// This unit among those that work on the row.
#[cube]
pub(crate) fn lane(#[comptime] whole: bool) -> usize {
    if whole { UNIT_POS as usize } else { (UNIT_POS % PLANE_DIM) as usize }
}

/// How many units work on the row.
#[cube]
pub(crate) fn lanes(#[comptime] whole: bool) -> usize {
    if whole { CUBE_DIM as usize } else { PLANE_DIM as usize }
}

/// The sum of `x` over the units of a row, for all of them.
#[cube]
pub(crate) fn row_sum(x: f32, #[comptime] whole: bool) -> f32 {
    let mut total = plane_sum(x);
    if whole {
        let mut shared = SharedMemory::<f32>::new(comptime!(UNITS as usize));
        share::<f32>(&mut shared, total);
        total = shared[0];
        for plane in 1..planes() {
            total += shared[plane as usize];
        }
        sync_cube();
    }
    total
}

/// The largest `x` of the units of a row, for all of them.
#[cube]
pub(crate) fn row_max(x: f32, #[comptime] whole: bool) -> f32 {
    let mut largest = plane_max(x);
    if whole {
        let mut shared = SharedMemory::<f32>::new(comptime!(UNITS as usize));
        share::<f32>(&mut shared, largest);
        largest = shared[0];
        for plane in 1..planes() {
            largest = max(largest, shared[plane as usize]);
        }
        sync_cube();
    }
    largest
}

/// The smallest `x` of the units of a row, for all of them.
#[cube]
pub(crate) fn row_min(x: u32, #[comptime] whole: bool) -> u32 {
    let mut smallest = plane_min(x);
    if whole {
        let mut shared = SharedMemory::<u32>::new(comptime!(UNITS as usize));
        share::<u32>(&mut shared, smallest);
        smallest = shared[0];
        for plane in 1..planes() {
            smallest = min(smallest, shared[plane as usize]);
        }
        sync_cube();
    }
    smallest
}

/// Planes of a cube.
#[cube]
fn planes() -> u32 {
    CUBE_DIM / PLANE_DIM
}

/// Each plane's `x` at the plane's place.
#[cube]
fn share<E: Numeric>(shared: &mut SharedMemory<E>, x: E) {
    if UNIT_POS.is_multiple_of(PLANE_DIM) {
        shared[(UNIT_POS / PLANE_DIM) as usize] = x;
    }
    sync_cube();
}

/// The sum of a vector's elements.
#[cube]
pub(crate) fn sum_of<N: Size>(x: Vector<f32, N>) -> f32 {
    let mut sum = x[0];
    #[unroll]
    for i in 1..N::value() {
        sum += x[i];
    }
    sum
}

/// The largest of a vector's elements.
#[cube]
pub(crate) fn max_of<N: Size>(x: Vector<f32, N>) -> f32 {
    let mut largest = x[0];
    #[unroll]
    for i in 1..N::value() {
        largest = max(largest, x[i]);
    }
    largest
}

/// The position of the first element of a vector that equals its largest.
#[cube]
pub(crate) fn argmax_of<N: Size>(x: Vector<f32, N>, largest: f32) -> u32 {
    let mut at = u32::cast_from(N::value());
    #[unroll]
    for i in 0..N::value() {
        at = min(at, select(x[i] == largest, u32::cast_from(i), at));
    }
    at
}

/// The sum of `exp(x - largest)` after another vector, where `sum` was relative to `before`: a softmax in one pass.
#[cube]
pub(crate) fn rescaled<N: Size>(sum: f32, before: f32, largest: f32, x: Vector<f32, N>) -> f32 {
    sum * (before - largest).exp() + sum_of(Vector::exp(x - Vector::new(largest)))
}

/// One cube for each `k`: `out[k] = scales[k] Σ_m x[k, m]`
#[cube(launch_unchecked)]
fn total(x: &Array<f32>, out: &mut Array<f32>, m: usize, first: f32, rest: f32) {
    let mut sum = 0.0f32;
    let mut i = UNIT_POS as usize;
    while i < m {
        sum += x[CUBE_POS * m + i];
        i += CUBE_DIM as usize;
    }
    let sum = row_sum(sum, true);
    if UNIT_POS == 0 {
        out[CUBE_POS] = sum * select(CUBE_POS == 0, first, rest);
    }
}

/// `x [K, M] -> [K]`: the sum of each row, times the first of `scales` for the first row, the second for the others.
pub(crate) fn totals<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, scales: [f64; 2]) -> Tensor {
    let m = x.last();
    let out = gpu.empty([x.rows()], Dtype::F32);
    let count = CubeCount::Static(x.rows() as u32, 1, 1);
    let [first, rest] = scales.map(|scale| scale as f32);
    launch!(total(gpu, count, CubeDim::new_1d(UNITS), x.arg(), out.arg(), m, first, rest));
    out
}
