//! Reductions along rows: a warp for each row, or a whole block where rows are long.
//!
//! ```text
//! rows up to 1,024 elements                        longer rows
//!
//! row 0  |warp 0, 32 vectors at a time  ->  |      row 0  |block 0, 256 vectors at a time  ->  |
//! row 1  |warp 1                            |      row 1  |block 1                             |
//!  ...   |                                  |       ...   |                                    |
//! row 8  |warp 0 of the next block          |
//!
//! each thread adds up its vectors in registers; then a warp adds them up by shuffles,
//! and a block adds the sums of its warps through shared memory
//! ```
//!
//! Up to 1,024 elements a row is at most eight vectors of 4 (four of 8) for each of 32 threads, and a warp needs no barrier. Longer rows,
//! such as the logits of 8,192 visual tokens, take blocks.

use crate::gpu::Gpu;
use crate::launch::{THREADS, grid, launch, row_grid};
use crate::tensor::{Dtype, Tensor};
use cubecl::prelude::*;

/// Rows longer than this take a whole block: a warp of 32 threads would load more than eight vectors a thread.
const LONG: usize = 1024;
/// Elements of a row that a warp loads at once must divide it where vectors are wider than this: else some of its threads would wait.
const NARROW: usize = 4;
/// Threads of a warp of NVIDIA's devices.
const WARP: usize = 32;

/// How a kernel over the rows of `[M, C]` is launched.
pub(crate) struct RowLaunch {
    /// Elements of a vector.
    pub(crate) n: usize,
    pub(crate) count: CubeCount,
    pub(crate) dim: CubeDim,
    /// Whether a whole block works on each row.
    pub(crate) block_per_row: bool,
}

impl RowLaunch {
    pub(crate) fn new<R: Runtime>(gpu: &Gpu<R>, m: usize, c: usize) -> Self {
        let block_per_row = c > LONG;
        let count = if block_per_row { grid(m, 1) } else { row_grid(&gpu.client, m) };
        let wide = gpu.vector(&[c]);
        let n = if c.is_multiple_of(wide * WARP) { wide } else { wide.min(NARROW) };
        Self { n, count, dim: CubeDim::new_1d(THREADS), block_per_row }
    }
}

/// The first row of this thread's warp or block.
#[cube]
pub(crate) fn first_row(#[comptime] block_per_row: bool) -> usize {
    if block_per_row {
        CUBE_POS
    } else {
        CUBE_POS * (CUBE_DIM / PLANE_DIM) as usize + (UNIT_POS / PLANE_DIM) as usize
    }
}

/// How many rows further its next row is.
#[cube]
pub(crate) fn row_step(#[comptime] block_per_row: bool) -> usize {
    if block_per_row { CUBE_COUNT } else { CUBE_COUNT * (CUBE_DIM / PLANE_DIM) as usize }
}

/// The number of this thread among those that work on the row.
#[cube]
pub(crate) fn lane(#[comptime] block_per_row: bool) -> usize {
    if block_per_row { UNIT_POS as usize } else { (UNIT_POS % PLANE_DIM) as usize }
}

/// How many threads work on the row.
#[cube]
pub(crate) fn lanes(#[comptime] block_per_row: bool) -> usize {
    if block_per_row { CUBE_DIM as usize } else { PLANE_DIM as usize }
}

/// The sum of `x` over the threads of a row, in all of them.
#[cube]
pub(crate) fn row_sum(x: f32, #[comptime] block_per_row: bool) -> f32 {
    let mut total = plane_sum(x);
    if block_per_row {
        let mut shared = SharedMemory::<f32>::new(comptime!(THREADS as usize));
        store_per_warp::<f32>(&mut shared, total);
        total = shared[0];
        for warp in 1..warps() {
            total += shared[warp as usize];
        }
        sync_cube();
    }
    total
}

/// The largest `x` of the threads of a row, in all of them.
#[cube]
pub(crate) fn row_max(x: f32, #[comptime] block_per_row: bool) -> f32 {
    let mut largest = plane_max(x);
    if block_per_row {
        let mut shared = SharedMemory::<f32>::new(comptime!(THREADS as usize));
        store_per_warp::<f32>(&mut shared, largest);
        largest = shared[0];
        for warp in 1..warps() {
            largest = max(largest, shared[warp as usize]);
        }
        sync_cube();
    }
    largest
}

/// The smallest `x` of the threads of a row, in all of them.
#[cube]
pub(crate) fn row_min(x: u32, #[comptime] block_per_row: bool) -> u32 {
    let mut smallest = plane_min(x);
    if block_per_row {
        let mut shared = SharedMemory::<u32>::new(comptime!(THREADS as usize));
        store_per_warp::<u32>(&mut shared, smallest);
        smallest = shared[0];
        for warp in 1..warps() {
            smallest = min(smallest, shared[warp as usize]);
        }
        sync_cube();
    }
    smallest
}

/// Warps of a block.
#[cube]
fn warps() -> u32 {
    CUBE_DIM / PLANE_DIM
}

/// Writes each warp's `x` to the element of its number.
#[cube]
fn store_per_warp<E: Numeric>(shared: &mut SharedMemory<E>, x: E) {
    if UNIT_POS.is_multiple_of(PLANE_DIM) {
        shared[(UNIT_POS / PLANE_DIM) as usize] = x;
    }
    sync_cube();
}

/// The sum of a vector's elements.
#[cube]
pub(crate) fn vector_sum<N: Size>(x: Vector<f32, N>) -> f32 {
    let mut sum = x[0];
    #[unroll]
    for i in 1..N::value() {
        sum += x[i];
    }
    sum
}

/// The largest of a vector's elements.
#[cube]
pub(crate) fn vector_max<N: Size>(x: Vector<f32, N>) -> f32 {
    let mut largest = x[0];
    #[unroll]
    for i in 1..N::value() {
        largest = max(largest, x[i]);
    }
    largest
}

/// The position of the first element of a vector that equals its largest.
#[cube]
pub(crate) fn vector_argmax<N: Size>(x: Vector<f32, N>, largest: f32) -> u32 {
    let mut at = u32::cast_from(N::value());
    #[unroll]
    for i in 0..N::value() {
        at = min(at, select(x[i] == largest, u32::cast_from(i), at));
    }
    at
}

/// One step of a softmax in one pass: a sum of exponentials relative to `before` becomes one relative to `largest`, and those
/// of the vector `x` are added.
#[cube]
pub(crate) fn add_exponentials<N: Size>(sum: f32, before: f32, largest: f32, x: Vector<f32, N>) -> f32 {
    sum * (before - largest).exp() + vector_sum(Vector::exp(x - Vector::new(largest)))
}

/// One block for each `k`: `out[k] = scales[k] Σ_m x[k, m]`
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
    launch!(total(gpu, count, CubeDim::new_1d(THREADS), x.arg(), out.arg(), m, first, rest));
    out
}
