//! Forward: the log-sum-exp of every row, then the values mixed.

use super::rows::{Source, load, load_bias, score};
use super::{Call, Form};
use crate::gpu::Gpu;
use crate::kernels::multiply::NOTHING;
use crate::kernels::sums::Sums;
use crate::launch::{UNITS, launch};
use crate::tensor::{Dtype, Probs, Tensor, array};
use beit_ops::{AttentionShape, QkvBias};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// Stands for minus infinity where a row has not met a key: `exp` of a difference to it is 0, and nothing is not a number.
const LOWEST: f32 = -1e30;

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
    #[comptime] form: Form,
    #[define(X, S)] _types: [ElemType; 2],
) {
    let wide = N::value();
    let head = CUBE_POS_Y as usize;
    let image = CUBE_POS_Z as usize;
    let first_q = CUBE_POS_X as usize * comptime!(form.tile);
    let width = heads * comptime!(form.d);

    let mut q = SharedMemory::<Vector<S, N>>::new_aligned(comptime!(form.tile * form.row() / wide), 32usize);
    let mut kv = SharedMemory::<Vector<S, N>>::new_aligned(comptime!(form.tile * form.row() / wide), 32usize);
    let mut probs =
        SharedMemory::<Vector<S, N>>::new_aligned(comptime!(form.tile * form.probs() / wide), 32usize);
    let mut scores = SharedMemory::<f32>::new_aligned(comptime!(form.tile * form.staged()), 32usize);
    let mut bias = SharedMemory::<f32>::new_aligned(comptime!(form.bias_kept()), 32usize);
    let mut row_lse = SharedMemory::<f32>::new_aligned(comptime!(form.tile), 32usize);
    let mut row_max = SharedMemory::<f32>::new_aligned(comptime!(UNITS as usize), 32usize);
    let mut row_sum = SharedMemory::<f32>::new_aligned(comptime!(UNITS as usize), 32usize);

    let part = head * comptime!(form.d);
    let source =
        Source { first: first_q, tokens, image: image * tokens, row: 3 * width, column: part, bias: part };
    load::<X, S, N>(qkv, q_bias, &mut q, source, scale, true, form);
    load_bias((table, shared_table), &mut bias, head, heads, form);

    // A unit follows every few-th column of its row.
    let row = UNIT_POS as usize / comptime!(form.sharers());
    let lane = UNIT_POS as usize % comptime!(form.sharers());
    let mut largest = f32::new(comptime!(LOWEST));
    let mut total = 0.0f32;
    let tiles = (tokens + comptime!(form.tile) - 1) / comptime!(form.tile);
    for tile in 0..tiles {
        let first_k = tile * comptime!(form.tile);
        sync_cube();
        let keys = Source {
            first: first_k,
            tokens,
            image: image * tokens,
            row: 3 * width,
            column: width + part,
            bias: part,
        };
        load::<X, S, N>(qkv, q_bias, &mut kv, keys, 1.0f32, false, form);
        sync_cube();
        let mut sums = Sums::<N>::new(comptime!(form.scores()));
        sums.multiply::<S, N, N>(&q, 0usize, &kv, 0usize, comptime!(form.scores()));
        sums.share(&mut scores, comptime!(form.scores_row()), comptime!(form.scores()));
        sync_cube();
        let end = min(comptime!(form.tile), tokens - first_k);
        let mut column = lane;
        while column < end {
            let value = score(
                &scores,
                &bias,
                (table, shared_table),
                head,
                heads,
                (row, column),
                (min(first_q + row, tokens - 1), first_k + column),
                form,
            );
            let now = max(largest, value);
            total = total * f32::exp(largest - now) + f32::exp(value - now);
            largest = now;
            column += comptime!(form.sharers());
        }
    }
    row_max[UNIT_POS as usize] = largest;
    row_sum[UNIT_POS as usize] = total;
    sync_cube();
    if UNIT_POS < comptime!(form.tile as u32) {
        let first = UNIT_POS as usize * comptime!(form.sharers());
        let mut most = row_max[first];
        #[unroll]
        for i in 1..comptime!(form.sharers()) {
            most = max(most, row_max[first + i]);
        }
        let mut all = 0.0f32;
        #[unroll]
        for i in 0..comptime!(form.sharers()) {
            all += row_sum[first + i] * f32::exp(row_max[first + i] - most);
        }
        let value = most + f32::ln(all);
        row_lse[UNIT_POS as usize] = value;
        let token = first_q + UNIT_POS as usize;
        if token < tokens {
            lse[(image * heads + head) * tokens + token] = value;
        }
    }

    let mut mixed = Sums::<N>::new(comptime!(form.mix()));
    for tile in 0..tiles {
        let first_k = tile * comptime!(form.tile);
        sync_cube();
        let keys = Source {
            first: first_k,
            tokens,
            image: image * tokens,
            row: 3 * width,
            column: width + part,
            bias: part,
        };
        load::<X, S, N>(qkv, q_bias, &mut kv, keys, 1.0f32, false, form);
        sync_cube();
        let mut sums = Sums::<N>::new(comptime!(form.scores()));
        sums.multiply::<S, N, N>(&q, 0usize, &kv, 0usize, comptime!(form.scores()));
        sums.share(&mut scores, comptime!(form.scores_row()), comptime!(form.scores()));
        sync_cube();
        // The keys have been read: the values take their place.
        let values = Source {
            first: first_k,
            tokens,
            image: image * tokens,
            row: 3 * width,
            column: 2 * width + part,
            bias: part,
        };
        load::<X, S, N>(qkv, v_bias, &mut kv, values, 1.0f32, true, form);
        let per_row = comptime!(form.tile / wide);
        let mut e = UNIT_POS as usize;
        while e < comptime!(form.tile * per_row) {
            let row = e / per_row;
            let mut p = Vector::<f32, N>::new(0.0f32);
            #[unroll]
            for l in 0..wide {
                let column = e % per_row * N::value() + l;
                if first_k + column < tokens {
                    let value = score(
                        &scores,
                        &bias,
                        (table, shared_table),
                        head,
                        heads,
                        (row, column),
                        (min(first_q + row, tokens - 1), first_k + column),
                        form,
                    );
                    p[l] = f32::exp(value - row_lse[row]);
                }
            }
            probs[row * comptime!(form.probs() / wide) + e % per_row] = Vector::cast_from(p);
            e += UNITS as usize;
        }
        sync_cube();
        mixed.multiply::<S, N, N>(&probs, 0usize, &kv, 0usize, comptime!(form.mix()));
    }
    sync_cube();
    mixed.share(&mut scores, comptime!(form.staged()), comptime!(form.mix()));
    sync_cube();
    let mut e = UNIT_POS as usize;
    while e < comptime!(form.tile * form.d) {
        let token = first_q + e / comptime!(form.d);
        let element = e % comptime!(form.d);
        if token < tokens {
            let value = scores[e / comptime!(form.d) * comptime!(form.staged()) + element];
            context[(image * tokens + token) * width + part + element] = X::cast_from(value);
        }
        e += UNITS as usize;
    }
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
    if call.native(gpu) {
        call.forward_native(gpu, &qkv, bias, [&context, &lse]);
        return (context.clone(), Probs { lse, context });
    }
    let table = |table: Option<&Tensor>| table.map_or_else(|| array(&gpu.nothing, NOTHING), Tensor::arg);
    launch!(attend(
        gpu,
        call.cubes(),
        CubeDim::new_1d(UNITS),
        call.width,
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
        call.form,
        [qkv.elem(), gpu.activation().elem()],
    ));
    (context.clone(), Probs { lse, context })
}
