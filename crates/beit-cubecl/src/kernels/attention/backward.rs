//! Backward: with `P` the softmax and `delta = rowsum(dO ⊙ O)`,
//! `dV = Pᵀ dO`, `dS = P ⊙ (dO Vᵀ - delta)`, `dQ = D^-1/2 dS K`, `dK = D^-1/2 dSᵀ (Q + q_bias)`.
//!
//! ```text
//!                     keys                                    keys
//!               +----+----+----+                        +----+----+----+
//!       queries | |  |    |    |                queries | -> | -> | -> |  backward_queries
//!               | v  |    |    |                        +----+----+----+  block = a tile of queries, all keys
//!               | |  |    |    |                        |    |    |    |  accumulates dQ
//!               | v  |    |    |                        +----+----+----+
//!               +----+----+----+
//!               backward_keys: block = a tile of keys, all queries; accumulates dK and dV
//! ```
//!
//! Two kernels, since a block can accumulate along one axis only: one kernel for all three gradients would give dQ several
//! writers. Scores and their gradients are computed in both. `tiles.rs` draws the shared memory of a block.

use super::bias::add_bias_gradient;
use super::call::Call;
use super::rows::{Head, load_bias};
use super::tiles::{Given, Saved, Tiles};
use super::variant::Variant;
use crate::gpu::Gpu;
use crate::kernels::columns::{add_column_sums, add_first_column_sums};
use crate::kernels::sums::Accumulators;
use crate::launch::{THREADS, grid, launch};
use crate::tensor::{Dtype, Probs, Tensor};
use beit_ops::{AttentionShape, QkvBias, QkvBiasGrad};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// `delta [B, H, T] = rowsum(dO ⊙ O)`, for rows `[B·T·H, D]`: a thread takes a row.
#[cube(launch_unchecked)]
fn row_products<X: Float, Y: Float, N: Size>(
    d_context: &Array<Vector<Y, N>>,
    context: &Array<Vector<X, N>>,
    delta: &mut Array<f32>,
    tokens: usize,
    heads: usize,
    #[comptime] d: usize,
    #[define(X, Y)] _types: [ElemType; 2],
) {
    let wide = N::value();
    let per_row = comptime!(d / wide);
    let mut r = ABSOLUTE_POS;
    while r < delta.len() {
        let mut sum = Vector::<f32, N>::new(0.0f32);
        for i in 0..per_row {
            let at = r * per_row + i;
            sum += Vector::<f32, N>::cast_from(d_context[at]) * Vector::cast_from(context[at]);
        }
        let mut total = 0.0f32;
        #[unroll]
        for l in 0..wide {
            total += sum[l];
        }
        let head = r % heads;
        let token = r / heads % tokens;
        let image = r / (heads * tokens);
        delta[(image * heads + head) * tokens + token] = total;
        r += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// Writes `sums [tile, D] · scale` of one head to part `part` of `d_qkv`, through shared memory.
#[cube]
#[allow(clippy::too_many_arguments)]
fn write<X: Float, N: Size>(
    sums: &Accumulators<N>,
    staging: &mut SharedMemory<f32>,
    d_qkv: &mut Array<X>,
    head: Head,
    first: usize,
    tokens: usize,
    scale: f32,
    #[comptime] part: usize,
    #[comptime] variant: Variant,
) {
    sync_cube();
    sums.store_shared(staging, comptime!(variant.staging_stride()), comptime!(variant.mix()));
    sync_cube();
    let mut e = UNIT_POS as usize;
    while e < comptime!(variant.tile * variant.d) {
        let row = e / comptime!(variant.d);
        let element = e % comptime!(variant.d);
        if first + row < tokens {
            let at = (head.image * tokens + first + row) * (3 * head.width) + part * head.width + head.column;
            d_qkv[at + element] =
                X::cast_from(staging[row * comptime!(variant.staging_stride()) + element] * scale);
        }
        e += THREADS as usize;
    }
}

/// `dK` and `dV` of one tile of keys of one head of one image, over all queries.
#[cube(launch_unchecked)]
fn backward_keys<X: Float, S: Float, N: Size>(
    given: &Given<X, N>,
    d_qkv: &mut Array<X>,
    #[comptime] variant: Variant,
    #[define(X, S)] _types: [ElemType; 2],
) {
    let wide = N::value();
    let tokens = given.tokens;
    let head = Head::new(CUBE_POS_Y as usize, CUBE_POS_Z as usize, given.heads, variant);
    let first_k = CUBE_POS_X as usize * comptime!(variant.tile);
    let mut tiles = Tiles::<S, N>::new(variant);
    let mut probs = SharedMemory::<Vector<S, N>>::new_aligned(
        comptime!(variant.tile * variant.probs_stride() / wide),
        32usize,
    );
    let mut d_scores = SharedMemory::<Vector<S, N>>::new_aligned(
        comptime!(variant.tile * variant.probs_stride() / wide),
        32usize,
    );
    let shape = comptime!(variant.mix_transposed());
    let mut d_k = Accumulators::<N>::new(shape);
    let mut d_v = Accumulators::<N>::new(shape);
    if comptime!(!variant.turns) {
        tiles.load_keys::<X>(given, head, first_k, variant);
    }
    load_bias((&given.table, &given.shared_table), &mut tiles.bias, head.head, given.heads, variant);
    for tile in 0..(tokens + comptime!(variant.tile) - 1) / comptime!(variant.tile) {
        let first_q = tile * comptime!(variant.tile);
        sync_cube();
        if comptime!(variant.turns) {
            tiles.load_keys::<X>(given, head, first_k, variant);
        }
        tiles.load_queries::<X>(given, head, first_q, variant);
        sync_cube();
        tiles.products::<X>(given, head, (first_q, first_k), variant);
        sync_cube();
        let per_row = comptime!(variant.tile / wide);
        let mut e = UNIT_POS as usize;
        while e < comptime!(variant.tile * per_row) {
            let row = e / per_row;
            let mut p = Vector::<f32, N>::new(0.0f32);
            let mut d = Vector::<f32, N>::new(0.0f32);
            #[unroll]
            for l in 0..wide {
                let column = e % per_row * N::value() + l;
                let (p_one, d_one) =
                    tiles.softmax::<X>(given, head.head, (row, column), (first_q, first_k), variant);
                p[l] = p_one;
                d[l] = d_one;
            }
            let at = row * comptime!(variant.probs_stride() / wide) + e % per_row;
            probs[at] = Vector::cast_from(p);
            d_scores[at] = Vector::cast_from(d);
            e += THREADS as usize;
        }
        sync_cube();
        d_v.multiply::<S, N, N>(&probs, 0usize, &tiles.d_context, 0usize, shape);
        if comptime!(variant.turns) {
            // In place of the gradient of the context, once all have read it.
            sync_cube();
            tiles.load_q::<X>(given, head, first_q, variant);
            sync_cube();
        }
        d_k.multiply::<S, N, N>(&d_scores, 0usize, &tiles.q, 0usize, shape);
    }
    // The queries were scaled when they were loaded.
    write::<X, N>(&d_k, &mut tiles.scores, d_qkv, head, first_k, tokens, 1.0f32, 1usize, variant);
    write::<X, N>(&d_v, &mut tiles.scores, d_qkv, head, first_k, tokens, 1.0f32, 2usize, variant);
}

/// `dQ` of one tile of queries of one head of one image, over all keys.
#[cube(launch_unchecked)]
fn backward_queries<X: Float, S: Float, N: Size>(
    given: &Given<X, N>,
    d_qkv: &mut Array<X>,
    #[comptime] variant: Variant,
    #[define(X, S)] _types: [ElemType; 2],
) {
    let wide = N::value();
    let tokens = given.tokens;
    let head = Head::new(CUBE_POS_Y as usize, CUBE_POS_Z as usize, given.heads, variant);
    let first_q = CUBE_POS_X as usize * comptime!(variant.tile);
    let mut tiles = Tiles::<S, N>::new(variant);
    let mut d_scores = SharedMemory::<Vector<S, N>>::new_aligned(
        comptime!(variant.tile * variant.probs_stride() / wide),
        32usize,
    );
    let shape = comptime!(variant.mix());
    let mut d_q = Accumulators::<N>::new(shape);
    if comptime!(!variant.turns) {
        tiles.load_queries::<X>(given, head, first_q, variant);
    }
    load_bias((&given.table, &given.shared_table), &mut tiles.bias, head.head, given.heads, variant);
    for tile in 0..(tokens + comptime!(variant.tile) - 1) / comptime!(variant.tile) {
        let first_k = tile * comptime!(variant.tile);
        sync_cube();
        if comptime!(variant.turns) {
            tiles.load_queries::<X>(given, head, first_q, variant);
        }
        tiles.load_keys::<X>(given, head, first_k, variant);
        sync_cube();
        tiles.products::<X>(given, head, (first_q, first_k), variant);
        sync_cube();
        if comptime!(variant.turns) {
            // In place of the values, which nobody reads again.
            tiles.load_k::<X>(given, head, first_k, variant);
        }
        let per_row = comptime!(variant.tile / wide);
        let mut e = UNIT_POS as usize;
        while e < comptime!(variant.tile * per_row) {
            let row = e / per_row;
            let mut d = Vector::<f32, N>::new(0.0f32);
            #[unroll]
            for l in 0..wide {
                let column = e % per_row * N::value() + l;
                let (_, d_one) =
                    tiles.softmax::<X>(given, head.head, (row, column), (first_q, first_k), variant);
                d[l] = d_one;
            }
            d_scores[row * comptime!(variant.probs_stride() / wide) + e % per_row] = Vector::cast_from(d);
            e += THREADS as usize;
        }
        sync_cube();
        d_q.multiply::<S, N, N>(&d_scores, 0usize, &tiles.k, 0usize, shape);
    }
    write::<X, N>(&d_q, &mut tiles.scores, d_qkv, head, first_q, tokens, given.scale, 0usize, variant);
}

/// Returns `d_qkv [B·T, 3C]`.
pub(crate) fn backward<R: Runtime>(
    gpu: &Gpu<R>,
    d_context: &Tensor,
    qkv: &Tensor,
    bias: &QkvBias<'_, Tensor>,
    probs: &Probs,
    shape: AttentionShape,
    d_bias: &mut QkvBiasGrad<'_, Tensor>,
) -> Tensor {
    let (qkv, d_context) = (gpu.operand(qkv), gpu.operand(d_context));
    let call = Call::new(gpu, &qkv, bias, shape);
    let d_qkv = gpu.empty(qkv.shape, qkv.dtype);
    if call.has_native(gpu) {
        call.backward_native(gpu, [&d_context, &qkv, &probs.context, &probs.lse], bias, &d_qkv, d_bias);
    } else {
        backward_by_tiles(gpu, &call, [&d_context, &qkv], bias, probs, &d_qkv, d_bias);
    }
    add_qkv_bias_gradient(gpu, &d_context, &d_qkv, d_bias);
    d_qkv
}

/// Adds to the gradients of the biases of queries and values. The probabilities of a query add up to 1, so that the sum of the values'
/// gradients over all keys is that of the context's over all queries.
fn add_qkv_bias_gradient<R: Runtime>(
    gpu: &Gpu<R>,
    d_context: &Tensor,
    d_qkv: &Tensor,
    d_bias: &mut QkvBiasGrad<'_, Tensor>,
) {
    add_first_column_sums(gpu, d_qkv, d_bias.q);
    add_column_sums(gpu, d_context, d_bias.v);
}

/// Writes `d_qkv` and adds to the gradients of the tables, with the kernels of this folder.
fn backward_by_tiles<R: Runtime>(
    gpu: &Gpu<R>,
    call: &Call,
    [d_context, qkv]: [&Tensor; 2],
    bias: &QkvBias<'_, Tensor>,
    probs: &Probs,
    d_qkv: &Tensor,
    d_bias: &mut QkvBiasGrad<'_, Tensor>,
) {
    let delta = gpu.empty(probs.lse.shape, Dtype::F32);
    let types = [probs.context.elem(), d_context.elem()];
    let count = grid(delta.len(), THREADS as usize);
    let dim = CubeDim::new_1d(THREADS);
    launch!(row_products(
        gpu,
        count,
        dim,
        call.vector,
        d_context.arg(),
        probs.context.arg(),
        delta.arg(),
        call.tokens,
        call.heads,
        call.variant.d,
        types,
    ));
    let saved = Saved { qkv, d_context, bias, lse: &probs.lse, delta: &delta };
    let types = [qkv.elem(), gpu.activation().elem()];
    let (variant, vector) = (call.variant, call.vector);
    launch!(backward_keys(
        gpu,
        call.grid(),
        dim,
        vector,
        saved.given(gpu, call),
        d_qkv.arg(),
        variant,
        types
    ));
    launch!(backward_queries(
        gpu,
        call.grid(),
        dim,
        vector,
        saved.given(gpu, call),
        d_qkv.arg(),
        variant,
        types
    ));
    add_bias_gradient(gpu, call, &saved, types, d_bias);
}
