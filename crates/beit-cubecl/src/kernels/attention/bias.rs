//! The gradient of the relative position tables: `dS` summed over images, then over the pairs of tokens that read one row.

use super::backward::{Given, Head, Saved, Tiles};
use super::rows::load_bias;
use super::{Call, Form};
use crate::gpu::Gpu;
use crate::launch::{UNITS, cubes, launch};
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
    #[comptime] form: Form,
    #[define(X, S)] _types: [ElemType; 2],
) {
    let tokens = given.tokens;
    let first_q = CUBE_POS_X as usize * comptime!(form.tile);
    let first_k = CUBE_POS_Y as usize * comptime!(form.tile);
    let head = CUBE_POS_Z as usize;
    let mut tiles = Tiles::<S, N>::new(form);
    load_bias((&given.table, &given.shared_table), &mut tiles.bias, head, given.heads, form);
    let share = comptime!(form.tile * form.tile / UNITS as usize);
    let mut sums = Array::<f32>::new(share);
    #[unroll]
    for i in 0..share {
        sums[i] = 0.0f32;
    }
    for image in 0..batch {
        let here = Head::new(head, image, given.heads, form);
        sync_cube();
        tiles.load_queries::<X>(given, here, first_q, form);
        tiles.load_keys::<X>(given, here, first_k, form);
        sync_cube();
        tiles.products(form);
        sync_cube();
        #[unroll]
        for i in 0..share {
            let e = UNIT_POS as usize + i * UNITS as usize;
            let (_, d_score) = tiles.softmax::<X>(
                given,
                head,
                (e / comptime!(form.tile), e % comptime!(form.tile)),
                (first_q, first_k),
                form,
            );
            sums[i] += d_score;
        }
    }
    #[unroll]
    for i in 0..share {
        let e = UNIT_POS as usize + i * UNITS as usize;
        let q = first_q + e / comptime!(form.tile);
        let k = first_k + e % comptime!(form.tile);
        if q < tokens && k < tokens {
            d_scores[(head * tokens + q) * tokens + k] = sums[i];
        }
    }
}

/// `d_table [R, H]`: a unit visits the pairs of tokens that read its row, in the order of the keys.
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
    let Call { batch, heads, tokens, form, width } = *call;
    let tiles = tokens.div_ceil(form.tile) as u32;
    let count = CubeCount::Static(tiles, tiles, heads as u32);
    let dim = CubeDim::new_1d(UNITS);
    let d_scores = gpu.empty([heads, tokens, tokens], Dtype::F32);
    launch!(sum_over_images(
        gpu,
        count,
        dim,
        width,
        saved.given(gpu, call),
        d_scores.arg(),
        batch,
        form,
        types
    ));
    for table in tables.into_iter().flatten() {
        let table = gpu.own(table);
        let (count, rows) = (cubes(table.len(), UNITS as usize), table.len() / heads);
        launch!(fold(gpu, count, dim, d_scores.arg(), table.arg(), heads, rows, form.window));
    }
}
