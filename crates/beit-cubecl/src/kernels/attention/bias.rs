//! The gradient of the relative position tables: `dS` summed over images, then over the pairs of tokens that read one row.
//!
//! ```text
//! sum_over_images   grid [tiles of queries, tiles of keys, heads]
//!                   block = one tile of one head: loops over the images; a thread has tile² / 256 elements of the sum in registers
//!
//! fold              grid-stride: thread = one element (row, head) of the table
//!                   it adds the elements of d_scores [H, T, T] that lie on its diagonal of the grid of patches:
//!                   all pairs with one distance of lines and one of columns, or with [CLS]
//! ```
//!
//! Images are the inner loop, so that the sum over them has one writer and needs no atomics.

use super::call::Call;
use super::rows::{Head, load_bias};
use super::tiles::{Given, Saved, Tiles};
use super::variant::Variant;
use crate::gpu::Gpu;
use crate::launch::{THREADS, grid, launch};
use crate::tensor::{Dtype, Tensor};
use beit_ops::QkvBiasGrad;
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// `d_scores [H, T, T]`: the sum over images of `dS`, for one tile of queries by keys of one head.
#[cube(launch_unchecked)]
fn sum_over_images<X: Float, S: Float, N: Size>(
    given: &Given<X, N>,
    d_scores: &mut Array<f32>,
    batch: usize,
    #[comptime] variant: Variant,
    #[define(X, S)] _types: [ElemType; 2],
) {
    let tokens = given.tokens;
    let first_q = CUBE_POS_X as usize * comptime!(variant.tile);
    let first_k = CUBE_POS_Y as usize * comptime!(variant.tile);
    let head = CUBE_POS_Z as usize;
    let mut tiles = Tiles::<S, N>::new(variant);
    load_bias((&given.table, &given.shared_table), &mut tiles.bias, head, given.heads, variant);
    let per_thread = comptime!(variant.tile * variant.tile / THREADS as usize);
    let mut sums = Array::<f32>::new(per_thread);
    #[unroll]
    for i in 0..per_thread {
        sums[i] = 0.0f32;
    }
    for image in 0..batch {
        let part = Head::new(head, image, given.heads, variant);
        sync_cube();
        tiles.load_queries::<X>(given, part, first_q, variant);
        tiles.load_keys::<X>(given, part, first_k, variant);
        sync_cube();
        tiles.products::<X>(given, part, (first_q, first_k), variant);
        sync_cube();
        #[unroll]
        for i in 0..per_thread {
            let e = UNIT_POS as usize + i * THREADS as usize;
            let (_, d_score) = tiles.softmax::<X>(
                given,
                head,
                (e / comptime!(variant.tile), e % comptime!(variant.tile)),
                (first_q, first_k),
                variant,
            );
            sums[i] += d_score;
        }
    }
    #[unroll]
    for i in 0..per_thread {
        let e = UNIT_POS as usize + i * THREADS as usize;
        let q = first_q + e / comptime!(variant.tile);
        let k = first_k + e % comptime!(variant.tile);
        if q < tokens && k < tokens {
            d_scores[(head * tokens + q) * tokens + k] = sums[i];
        }
    }
}

/// `d_table [R, H]`: a thread visits the pairs of tokens that read its row, in the order of the keys.
#[cube(launch_unchecked)]
fn fold(
    d_scores: &Array<f32>,
    d_table: &mut Array<f32>,
    heads: usize,
    rows: usize,
    #[comptime] window: [usize; 2],
) {
    let [height, width] = comptime!(window);
    let tokens = comptime!(height * width + 1);
    let across = comptime!(2 * width - 1);
    let mut e = ABSOLUTE_POS;
    while e < d_table.len() {
        let row = e / heads;
        let base = e % heads * comptime!(tokens * tokens);
        let mut sum = 0.0f32;
        if row == rows - 1 {
            sum += d_scores[base];
        } else if row == rows - 2 {
            for q in 1..tokens {
                sum += d_scores[base + q * tokens];
            }
        } else if row == rows - 3 {
            for k in 1..tokens {
                sum += d_scores[base + k];
            }
        } else {
            let down = row / across;
            let right = row % across;
            for line in 0..height {
                // The query's line is `down + line - (height - 1)`.
                let from_line = down + line;
                if from_line >= comptime!(height - 1) && from_line < comptime!(2 * height - 1) {
                    for column in 0..width {
                        let from_column = right + column;
                        if from_column >= comptime!(width - 1) && from_column < comptime!(2 * width - 1) {
                            let q_line = from_line - comptime!(height - 1);
                            let q = q_line * width + from_column - comptime!(width - 1) + 1;
                            sum += d_scores[base + q * tokens + line * width + column + 1];
                        }
                    }
                }
            }
        }
        d_table[e] += sum;
        e += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// Adds to the gradients of both tables, which read the same scores.
pub(crate) fn add_bias_gradient<R: Runtime>(
    gpu: &Gpu<R>,
    call: &Call,
    saved: &Saved<'_>,
    types: [ElemType; 2],
    d_bias: &mut QkvBiasGrad<'_, Tensor>,
) {
    let tables = [d_bias.table.as_deref_mut(), d_bias.shared.as_deref_mut()];
    if tables.iter().all(Option::is_none) {
        return;
    }
    let Call { batch, heads, tokens, variant, vector } = *call;
    let tiles = tokens.div_ceil(variant.tile) as u32;
    let count = CubeCount::Static(tiles, tiles, heads as u32);
    let dim = CubeDim::new_1d(THREADS);
    let d_scores = gpu.empty([heads, tokens, tokens], Dtype::F32);
    launch!(sum_over_images(
        gpu,
        count,
        dim,
        vector,
        saved.given(gpu, call),
        d_scores.arg(),
        batch,
        variant,
        types
    ));
    for table in tables.into_iter().flatten() {
        let table = gpu.own(table);
        let (count, rows) = (grid(table.len(), THREADS as usize), table.len() / heads);
        launch!(fold(gpu, count, dim, d_scores.arg(), table.arg(), heads, rows, variant.window));
    }
}
