//! Forward: the log-sum-exp of every row, then the values mixed.
//!
//! ```text
//!                    T keys, `tile` at a time
//!              +---------+---------+- - -+
//!   tile of    | scores  |         |     |     pass 1, for each tile of keys:
//!   queries    | [tile,  |         |     |       k -> shared, scores = Q Kᵀ -> shared
//!   (one       |  tile]  |         |     |       each row of scores is shared by 256 / tile threads, which follow its maximum and
//!   block)     +---------+---------+- - -+       its sum of exponentials in registers; they are joined after the last tile
//!                                              pass 2, for each tile of keys:
//!                                                scores once more, v -> shared in place of k, P = exp(score - lse) -> shared,
//!                                                context += P V in the accumulators of `sums.rs`
//!
//!   shared memory    q [tile, D], k or v [tile, D], P [tile, tile], scores or context f32, bias [R], lse [tile], 2 x 256 f32
//! ```
//!
//! Keys and values take turns in one buffer, which leaves room for tiles of 64 tokens.

use super::call::Call;
use super::rows::{Head, load, load_bias, score};
use super::variant::Variant;
use crate::gpu::{Gpu, PLACEHOLDER_LEN};
use crate::kernels::sums::Accumulators;
use crate::launch::{THREADS, launch};
use crate::tensor::{Dtype, Probs, Tensor, array};
use beit_ops::{AttentionShape, QkvBias};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// Stands for minus infinity where a row has not met a key: `exp` of a difference to it is 0, and a difference of two of it is
/// not NaN.
const LOWEST: f32 = -1e30;

/// The shared memory of a block.
#[derive(CubeType)]
struct Tiles<S: Float, N: Size> {
    q: SharedMemory<Vector<S, N>>,
    /// Keys, then the values of the same tokens.
    kv: SharedMemory<Vector<S, N>>,
    probs: SharedMemory<Vector<S, N>>,
    /// `[tile, tile]`; at the end the context `[tile, D]`.
    scores: SharedMemory<f32>,
    /// `[R]`
    bias: SharedMemory<f32>,
    /// `[tile]`
    lse: SharedMemory<f32>,
    /// The largest score that each thread has met, and its sum of exponentials.
    largest: SharedMemory<f32>,
    total: SharedMemory<f32>,
}

#[cube]
impl<S: Float, N: Size> Tiles<S, N> {
    fn new(#[comptime] variant: Variant) -> Self {
        let wide = N::value();
        let size = comptime!(variant.tile * variant.tile_stride() / wide);
        Tiles::<S, N> {
            q: SharedMemory::new_aligned(size, 32usize),
            kv: SharedMemory::new_aligned(size, 32usize),
            probs: SharedMemory::new_aligned(
                comptime!(variant.tile * variant.probs_stride() / wide),
                32usize,
            ),
            scores: SharedMemory::new_aligned(comptime!(variant.tile * variant.staging_stride()), 32usize),
            bias: SharedMemory::new_aligned(comptime!(variant.bias_len()), 32usize),
            lse: SharedMemory::new_aligned(comptime!(variant.tile), 32usize),
            largest: SharedMemory::new_aligned(comptime!(THREADS as usize), 32usize),
            total: SharedMemory::new_aligned(comptime!(THREADS as usize), 32usize),
        }
    }

    /// The scores of the keys from token `first_k` on, without bias. Before it, all threads have read what it overwrites.
    fn score_keys<X: Float>(
        &mut self,
        qkv: &Array<Vector<X, N>>,
        q_bias: &Array<Vector<f32, N>>,
        head: Head,
        first_k: usize,
        tokens: usize,
        #[comptime] variant: Variant,
    ) {
        sync_cube();
        let keys = head.part(first_k, tokens, 1usize);
        load::<X, S, N>(qkv, q_bias, &mut self.kv, keys, 1.0f32, false, variant);
        sync_cube();
        let mut sums = Accumulators::<N>::new(comptime!(variant.scores()));
        sums.multiply::<S, N, N>(&self.q, 0usize, &self.kv, 0usize, comptime!(variant.scores()));
        sums.store_shared(&mut self.scores, comptime!(variant.scores_stride()), comptime!(variant.scores()));
        sync_cube();
    }

    /// Adds the scores of a tile of keys to a thread's maximum and sum of exponentials of its row. A thread takes each
    /// `threads_per_row`-th column.
    fn follow(
        &self,
        so_far: (f32, f32),
        tables: (&Array<f32>, &Array<f32>),
        head_of: (usize, usize),
        first: (usize, usize),
        tokens: usize,
        #[comptime] variant: Variant,
    ) -> (f32, f32) {
        let (head, heads) = head_of;
        let row = UNIT_POS as usize / comptime!(variant.threads_per_row());
        let query = min(first.0 + row, tokens - 1);
        let mut largest = so_far.0;
        let mut total = so_far.1;
        let end = min(comptime!(variant.tile), tokens - first.1);
        let mut column = UNIT_POS as usize % comptime!(variant.threads_per_row());
        while column < end {
            let tokens = (query, first.1 + column);
            let value = score(&self.scores, &self.bias, tables, head, heads, (row, column), tokens, variant);
            let next = max(largest, value);
            total = total * f32::exp(largest - next) + f32::exp(value - next);
            largest = next;
            column += comptime!(variant.threads_per_row());
        }
        (largest, total)
    }

    /// Joins what the threads of each row have followed, into the log-sum-exp `[B, H, T]` and its copy in shared memory.
    fn join(
        &mut self,
        followed: (f32, f32),
        lse: &mut Array<f32>,
        first_row: usize,
        first_q: usize,
        tokens: usize,
        #[comptime] variant: Variant,
    ) {
        self.largest[UNIT_POS as usize] = followed.0;
        self.total[UNIT_POS as usize] = followed.1;
        sync_cube();
        if UNIT_POS < comptime!(variant.tile as u32) {
            let first = UNIT_POS as usize * comptime!(variant.threads_per_row());
            let mut most = self.largest[first];
            #[unroll]
            for i in 1..comptime!(variant.threads_per_row()) {
                most = max(most, self.largest[first + i]);
            }
            let mut all = 0.0f32;
            #[unroll]
            for i in 0..comptime!(variant.threads_per_row()) {
                all += self.total[first + i] * f32::exp(self.largest[first + i] - most);
            }
            let value = most + f32::ln(all);
            self.lse[UNIT_POS as usize] = value;
            let token = first_q + UNIT_POS as usize;
            if token < tokens {
                lse[first_row + token] = value;
            }
        }
    }

    /// `probs = exp(scores - lse)`, zeros beyond the last token. A thread takes vectors along the keys.
    fn exponentiate(
        &mut self,
        tables: (&Array<f32>, &Array<f32>),
        head_of: (usize, usize),
        first: (usize, usize),
        tokens: usize,
        #[comptime] variant: Variant,
    ) {
        let (head, heads) = head_of;
        let wide = N::value();
        let per_row = comptime!(variant.tile / wide);
        let mut e = UNIT_POS as usize;
        while e < comptime!(variant.tile * per_row) {
            let row = e / per_row;
            let mut p = Vector::<f32, N>::new(0.0f32);
            #[unroll]
            for l in 0..wide {
                let column = e % per_row * N::value() + l;
                if first.1 + column < tokens {
                    let tokens = (min(first.0 + row, tokens - 1), first.1 + column);
                    let value =
                        score(&self.scores, &self.bias, tables, head, heads, (row, column), tokens, variant);
                    p[l] = f32::exp(value - self.lse[row]);
                }
            }
            self.probs[row * comptime!(variant.probs_stride() / wide) + e % per_row] = Vector::cast_from(p);
            e += THREADS as usize;
        }
    }

    /// Writes the tile of the context, through the memory of the scores.
    fn write<X: Float>(
        &mut self,
        sums: &Accumulators<N>,
        context: &mut Array<X>,
        head: Head,
        first_q: usize,
        tokens: usize,
        #[comptime] variant: Variant,
    ) {
        sync_cube();
        sums.store_shared(&mut self.scores, comptime!(variant.staging_stride()), comptime!(variant.mix()));
        sync_cube();
        let mut e = UNIT_POS as usize;
        while e < comptime!(variant.tile * variant.d) {
            let token = first_q + e / comptime!(variant.d);
            let element = e % comptime!(variant.d);
            if token < tokens {
                let value =
                    self.scores[e / comptime!(variant.d) * comptime!(variant.staging_stride()) + element];
                context[(head.image * tokens + token) * head.width + head.column + element] =
                    X::cast_from(value);
            }
            e += THREADS as usize;
        }
    }
}

/// `context [B·T, C]` and the log-sum-exp `[B, H, T]` of one tile of queries of one head of one image.
#[cube(launch_unchecked)]
#[allow(clippy::too_many_arguments)]
fn attend<X: Float, S: Float, N: Size>(
    qkv: &Array<Vector<X, N>>,
    q_bias: &Array<Vector<f32, N>>,
    v_bias: &Array<Vector<f32, N>>,
    table: &Array<f32>,
    shared_table: &Array<f32>,
    context: &mut Array<X>,
    lse: &mut Array<f32>,
    tokens: usize,
    heads: usize,
    scale: f32,
    #[comptime] variant: Variant,
    #[define(X, S)] _types: [ElemType; 2],
) {
    let head = Head::new(CUBE_POS_Y as usize, CUBE_POS_Z as usize, heads, variant);
    let head_of = (head.head, heads);
    let first_q = CUBE_POS_X as usize * comptime!(variant.tile);
    let count = (tokens + comptime!(variant.tile) - 1) / comptime!(variant.tile);
    let mut tiles = Tiles::<S, N>::new(variant);
    load::<X, S, N>(qkv, q_bias, &mut tiles.q, head.part(first_q, tokens, 0usize), scale, true, variant);
    load_bias((table, shared_table), &mut tiles.bias, head.head, heads, variant);

    let mut largest = f32::new(comptime!(LOWEST));
    let mut total = 0.0f32;
    for tile in 0..count {
        let first_k = tile * comptime!(variant.tile);
        tiles.score_keys::<X>(qkv, q_bias, head, first_k, tokens, variant);
        let tables = (table, shared_table);
        let followed = tiles.follow((largest, total), tables, head_of, (first_q, first_k), tokens, variant);
        largest = followed.0;
        total = followed.1;
    }
    let first_row = (head.image * heads + head.head) * tokens;
    tiles.join((largest, total), lse, first_row, first_q, tokens, variant);

    let mut sums = Accumulators::<N>::new(comptime!(variant.mix()));
    for tile in 0..count {
        let first_k = tile * comptime!(variant.tile);
        tiles.score_keys::<X>(qkv, q_bias, head, first_k, tokens, variant);
        // The scores are complete, so the keys are not read again.
        let values = head.part(first_k, tokens, 2usize);
        load::<X, S, N>(qkv, v_bias, &mut tiles.kv, values, 1.0f32, true, variant);
        tiles.exponentiate((table, shared_table), head_of, (first_q, first_k), tokens, variant);
        sync_cube();
        sums.multiply::<S, N, N>(&tiles.probs, 0usize, &tiles.kv, 0usize, comptime!(variant.mix()));
    }
    tiles.write::<X>(&sums, context, head, first_q, tokens, variant);
}

/// `qkv [B·T, 3C] -> context [B·T, C]`
pub(crate) fn forward<R: Runtime>(
    gpu: &Gpu<R>,
    qkv: &Tensor,
    bias: &QkvBias<'_, Tensor>,
    shape: AttentionShape,
) -> (Tensor, Probs) {
    let qkv = gpu.operand(qkv);
    let call = Call::new(gpu, &qkv, bias, shape);
    let context = gpu.empty([qkv.rows(), qkv.last() / 3], qkv.dtype);
    let lse = gpu.empty([call.batch, call.heads, call.tokens], Dtype::F32);
    if call.has_native(gpu) {
        call.forward_native(gpu, &qkv, bias, [&context, &lse]);
        return (context.clone(), Probs { lse, context });
    }
    let table =
        |table: Option<&Tensor>| table.map_or_else(|| array(&gpu.placeholder, PLACEHOLDER_LEN), Tensor::arg);
    launch!(attend(
        gpu,
        call.grid(),
        CubeDim::new_1d(THREADS),
        call.vector,
        qkv.arg(),
        bias.q.arg(),
        bias.v.arg(),
        table(bias.table),
        table(bias.shared),
        context.arg(),
        lse.arg(),
        call.tokens,
        call.heads,
        call.scale(),
        call.variant,
        [qkv.elem(), gpu.activation().elem()],
    ));
    (context.clone(), Probs { lse, context })
}
