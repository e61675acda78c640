//! The gradients of a residual sum and of the norm after it, in one kernel.
//!
//! ```text
//! row [C]   | v0 | v1 | ... | v31 | v32 | ...      warp w takes rows w, w + W, ... for W warps of the grid; lane l vectors l, l + 32, ...
//!
//! pass 1    reads d_normed and y: the means of g and of g h (layer_norm.rs)
//! pass 2    reads them again from the cache, dy and the branch: writes dx and d_branch, adds to the sums of its columns
//!
//! sums      of d_normed h, of d_normed, of the gradient of gamma and of d_branch: each lane has those of its columns in registers, over
//!           all rows of its warp; in the end a block adds up its warps in shared memory, and a second kernel the blocks (columns.rs)
//! ```
//!
//! Apart, the norm's column sums would read d_normed and y once more, what follows dx twice, and the gradient of a bias d_branch.

use super::columns;
use super::layer_norm::{self, gradient_means};
use super::residual;
use super::rows::{RowLaunch, first_row, lane, row_step};
use crate::gpu::Gpu;
use crate::launch::{THREADS, launch};
use crate::tensor::{Dtype, Tensor};
use beit_ops::{BranchGrads, Norm, SumNorm, SumNormGrads};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// What a variant of the kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Variant {
    /// Whether the branch is scaled for each channel, and for each image.
    scaled: bool,
    dropped: bool,
    /// Whether the sums of `d_branch` are wanted.
    biased: bool,
    /// Threads of a warp.
    warp: usize,
    /// Vectors of a row for each thread of a warp.
    vectors: usize,
}

impl Variant {
    /// Sums over rows: the gradients of the norm's weight and bias, of gamma, and of the bias in the branch.
    fn sums(self) -> usize {
        if self.biased { 4 } else { 3 }
    }
}

/// Elements of a row for each thread of a warp: four sums of each have to stay in registers.
const MOST_ELEMENTS: usize = 32;

/// Buffers of a launch, with that of its numbers. Devices for graphics may allow eight.
const BINDINGS: u32 = 12;

/// `dx = dy + rstd (g - mean(g) - h mean(g h))`, `d_branch = keep · gamma ⊙ dx`, `partials [3 or 4, blocks, C]`.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn sum_norm_backward<D: Float, X: Float, P: Float, Z: Float, N: Size>(
    d_normed: &Array<Vector<D, N>>,
    y: &Array<Vector<X, N>>,
    dy: &Array<Vector<P, N>>,
    branch: &Array<Vector<Z, N>>,
    weight: &Array<Vector<f32, N>>,
    gamma: &Array<Vector<f32, N>>,
    keep: &Array<f32>,
    stats: &Array<f32>,
    dx: &mut Array<Vector<X, N>>,
    d_branch: &mut Array<Vector<Z, N>>,
    partials: &mut Array<Vector<f32, N>>,
    m: usize,
    rows_per_image: usize,
    #[comptime] variant: Variant,
    #[define(D, X, P, Z)] _types: [ElemType; 4],
) {
    let columns = weight.len();
    let each = comptime!(variant.sums());
    let mut sums = Array::<Vector<f32, N>>::new(comptime!(each * variant.vectors));
    #[unroll]
    for i in 0..comptime!(each * variant.vectors) {
        sums[i] = Vector::new(0.0f32);
    }
    let mut row = first_row(false);
    while row < m {
        let base = row * columns;
        let mean = Vector::<f32, N>::new(stats[row]);
        let rstd = Vector::<f32, N>::new(stats[m + row]);
        let (mean_g, mean_gh) = gradient_means::<D, X, N>(d_normed, y, weight, base, mean, rstd, false);
        #[unroll]
        for i in 0..comptime!(variant.vectors) {
            let c = lane(false) + comptime!(i * variant.warp);
            if c < columns {
                let d = Vector::<f32, N>::cast_from(d_normed[base + c]);
                let h = (Vector::<f32, N>::cast_from(y[base + c]) - mean) * rstd;
                let mut v = rstd * (d * weight[c] - mean_g - h * mean_gh) + Vector::cast_from(dy[base + c]);
                dx[base + c] = Vector::cast_from(v);
                if comptime!(variant.dropped) {
                    v *= Vector::new(keep[row / rows_per_image]);
                }
                if comptime!(variant.scaled) {
                    sums[comptime!(each * i + 2)] += v * Vector::cast_from(branch[base + c]);
                    v *= gamma[c];
                }
                d_branch[base + c] = Vector::cast_from(v);
                sums[comptime!(each * i)] += d * h;
                sums[comptime!(each * i + 1)] += d;
                if comptime!(variant.biased) {
                    sums[comptime!(each * i + 3)] += v;
                }
            }
        }
        row += row_step(false);
    }
    add_warps::<N>(&sums, partials, columns, variant);
}

/// Adds up the sums of a block's warps, in their order.
#[cube]
fn add_warps<N: Size>(
    sums: &Array<Vector<f32, N>>,
    partials: &mut Array<Vector<f32, N>>,
    columns: usize,
    #[comptime] variant: Variant,
) {
    let row = comptime!(variant.vectors * variant.warp);
    let warps = comptime!(THREADS as usize / variant.warp);
    let mut shared = SharedMemory::<Vector<f32, N>>::new(comptime!(warps * row));
    let each = comptime!(variant.sums());
    let own = UNIT_POS as usize / comptime!(variant.warp) * row + lane(false);
    #[unroll]
    for k in 0..each {
        sync_cube();
        #[unroll]
        for i in 0..comptime!(variant.vectors) {
            shared[own + comptime!(i * variant.warp)] = sums[comptime!(each * i + k)];
        }
        sync_cube();
        let mut c = UNIT_POS as usize;
        while c < columns {
            let mut total = shared[c];
            #[unroll]
            for warp in 1..warps {
                total += shared[comptime!(warp * row) + c];
            }
            partials[(k * CUBE_COUNT + CUBE_POS) * columns + c] = total;
            c += CUBE_DIM as usize;
        }
    }
}

/// How many threads a warp has and how many vectors of a row each takes, where the kernel can do it: warps have one size, rows are short.
fn division<R: Runtime>(gpu: &Gpu<R>, c: usize, rows: &RowLaunch) -> Option<(usize, usize)> {
    let hardware = &gpu.client.properties().hardware;
    let warp = hardware.plane_size_max as usize;
    let vectors = (c / rows.n).div_ceil(warp.max(1));
    let shared = THREADS as usize * vectors * rows.n * size_of::<f32>();
    let fits = vectors * rows.n <= MOST_ELEMENTS && shared <= gpu.shared_memory();
    let enough_bindings = hardware.max_bindings >= BINDINGS;
    let one_size = warp > 0 && hardware.plane_size_min as usize == warp;
    (one_size && enough_bindings && fits && !rows.block_per_row).then_some((warp, vectors))
}

/// Returns `dx [M, C]` in the type of the sum and `d_branch [M, C]` in that of the branch; adds to the gradients of the norm, and to
/// `into`.
pub(crate) fn backward<R: Runtime>(
    gpu: &Gpu<R>,
    grads: &SumNormGrads<'_, Tensor>,
    given: &SumNorm<'_, Tensor, Tensor>,
    dp: &mut Norm<Tensor>,
    into: BranchGrads<'_, Tensor>,
) -> (Tensor, Tensor) {
    let SumNorm { y, stats, branch, scale, norm } = given;
    let (m, c) = (y.rows(), y.last());
    let rows = RowLaunch::new(gpu, m, c);
    let Some((warp, vectors)) = division(gpu, c, &rows) else {
        let dx = layer_norm::backward(gpu, grads.normed, y, norm, stats, dp, Some(grads.y));
        let d_branch = residual::backward(gpu, &dx, branch, scale, into);
        return (dx, d_branch);
    };
    let (dx, d_branch) = (gpu.empty(y.shape, y.dtype), gpu.empty(branch.shape, branch.dtype));
    // Few blocks, since each has sums to add up. A multiprocessor runs two at a time, of variants with most registers one.
    let blocks = m.div_ceil(THREADS as usize / warp).clamp(1, 2 * gpu.multiprocessors());
    let rows_per_image = scale.keep.map_or(1, |keep| m / keep.len());
    let (gamma, keep) = (scale.gamma.unwrap_or(&norm.weight), scale.keep.unwrap_or(&norm.weight));
    let (scaled, dropped, biased) = (scale.gamma.is_some(), scale.keep.is_some(), into.bias.is_some());
    let variant = Variant { scaled, dropped, biased, warp, vectors };
    let partials = gpu.empty([variant.sums(), blocks, c], Dtype::F32);
    launch!(sum_norm_backward(
        gpu,
        CubeCount::Static(blocks as u32, 1, 1),
        rows.dim,
        rows.n,
        grads.normed.arg(),
        y.arg(),
        grads.y.arg(),
        branch.arg(),
        norm.weight.arg(),
        gamma.arg(),
        keep.arg(),
        stats.arg(),
        dx.arg(),
        d_branch.arg(),
        partials.arg(),
        m,
        rows_per_image,
        variant,
        [grads.normed.elem(), y.elem(), grads.y.elem(), branch.elem()],
    ));
    let into = [Some(&mut dp.weight), Some(&mut dp.bias), into.gamma, into.bias];
    for (k, into) in into.into_iter().enumerate() {
        if let Some(into) = into {
            columns::add_partials(gpu, &partials, k, into);
        }
    }
    (dx, d_branch)
}
