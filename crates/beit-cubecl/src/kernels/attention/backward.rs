//! Backward: with `P` the softmax and `delta = rowsum(dO ⊙ O)`,
//! `dV = Pᵀ dO`, `dS = P ⊙ (dO Vᵀ - delta)`, `dQ = D^-1/2 dS K`, `dK = D^-1/2 dSᵀ (Q + q_bias)`.

use super::bias::add_bias_gradient;
use super::rows::{Source, load, load_bias, score};
use super::{Call, Form};
use crate::gpu::Gpu;
use crate::kernels::columns::add_column_sums;
use crate::kernels::multiply::NOTHING;
use crate::kernels::sums::Sums;
use crate::launch::{UNITS, cubes, launch};
use crate::tensor::{Dtype, Probs, Tensor, array};
use beit_ops::{AttentionShape, QkvBias, QkvBiasGrad};
use cubecl::ir::ElemType;
use cubecl::prelude::*;

/// `delta [B, H, T] = rowsum(dO ⊙ O)`, for rows `[B·T·H, D]`; a unit a row.
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

/// What all kernels of the backward pass read.
#[derive(CubeType, CubeLaunch)]
pub(crate) struct Given<X: Float, N: Size> {
    /// `[B·T, 3C]`
    pub(crate) qkv: Array<Vector<X, N>>,
    /// `[B·T, C]`
    pub(crate) d_context: Array<Vector<X, N>>,
    /// `[C]`
    pub(crate) q_bias: Array<Vector<f32, N>>,
    /// `[C]`
    pub(crate) v_bias: Array<Vector<f32, N>>,
    /// `[R, H]`
    pub(crate) table: Array<f32>,
    /// `[R, H]`
    pub(crate) shared_table: Array<f32>,
    /// `[B, H, T]`
    pub(crate) lse: Array<f32>,
    /// `[B, H, T]`
    pub(crate) delta: Array<f32>,
    pub(crate) tokens: usize,
    pub(crate) heads: usize,
    pub(crate) scale: f32,
}

/// One head of one image.
#[derive(CubeType, Clone, Copy)]
pub(crate) struct Head {
    pub(crate) head: usize,
    pub(crate) image: usize,
    /// Elements of a row of the context: C.
    pub(crate) width: usize,
    /// Where the head begins in it.
    pub(crate) column: usize,
}

#[cube]
impl Head {
    pub(crate) fn new(head: usize, image: usize, heads: usize, #[comptime] form: Form) -> Self {
        Head { head, image, width: heads * comptime!(form.d), column: head * comptime!(form.d) }
    }

    /// Rows of the queries (0), keys (1) or values (2) from token `first` on.
    pub(crate) fn part(self, first: usize, tokens: usize, #[comptime] part: usize) -> Source {
        Source {
            first,
            tokens,
            image: self.image * tokens,
            row: 3 * self.width,
            column: part * self.width + self.column,
            bias: self.column,
        }
    }

    /// Rows of the gradient of the context from token `first` on.
    pub(crate) fn d_context(self, first: usize, tokens: usize) -> Source {
        Source {
            first,
            tokens,
            image: self.image * tokens,
            row: self.width,
            column: self.column,
            bias: self.column,
        }
    }
}

/// The tiles of both operands of both products: queries and keys, the context's gradient and values.
#[derive(CubeType)]
pub(crate) struct Tiles<S: Float, N: Size> {
    pub(crate) q: SharedMemory<Vector<S, N>>,
    pub(crate) k: SharedMemory<Vector<S, N>>,
    pub(crate) v: SharedMemory<Vector<S, N>>,
    pub(crate) d_context: SharedMemory<Vector<S, N>>,
    /// Scores, then their gradients before the softmax: `[TILE, TILE]`.
    pub(crate) scores: SharedMemory<f32>,
    pub(crate) d_probs: SharedMemory<f32>,
    /// `[R]`
    pub(crate) bias: SharedMemory<f32>,
    /// Log-sum-exp and delta of the queries.
    pub(crate) lse: SharedMemory<f32>,
    pub(crate) delta: SharedMemory<f32>,
}

#[cube]
impl<S: Float, N: Size> Tiles<S, N> {
    pub(crate) fn new(#[comptime] form: Form) -> Self {
        let wide = N::value();
        let size = comptime!(form.tile * form.row() / wide);
        Tiles::<S, N> {
            q: SharedMemory::new_aligned(size, 32usize),
            k: SharedMemory::new_aligned(size, 32usize),
            v: SharedMemory::new_aligned(size, 32usize),
            d_context: SharedMemory::new_aligned(size, 32usize),
            scores: SharedMemory::new_aligned(comptime!(form.tile * form.staged()), 32usize),
            d_probs: SharedMemory::new_aligned(comptime!(form.tile * form.staged()), 32usize),
            bias: SharedMemory::new_aligned(comptime!(form.bias_kept()), 32usize),
            lse: SharedMemory::new_aligned(comptime!(form.tile), 32usize),
            delta: SharedMemory::new_aligned(comptime!(form.tile), 32usize),
        }
    }

    /// Queries, the gradient of their context, and what is known of their rows.
    pub(crate) fn load_queries<X: Float>(
        &mut self,
        given: &Given<X, N>,
        head: Head,
        first: usize,
        #[comptime] form: Form,
    ) {
        let tokens = given.tokens;
        let q = head.part(first, tokens, 0usize);
        load::<X, S, N>(&given.qkv, &given.q_bias, &mut self.q, q, given.scale, true, form);
        let d_context = head.d_context(first, tokens);
        load::<X, S, N>(&given.d_context, &given.q_bias, &mut self.d_context, d_context, 1.0f32, false, form);
        if UNIT_POS < comptime!(form.tile as u32) {
            let row = (head.image * given.heads + head.head) * tokens;
            let token = min(first + UNIT_POS as usize, tokens - 1);
            self.lse[UNIT_POS as usize] = given.lse[row + token];
            self.delta[UNIT_POS as usize] = given.delta[row + token];
        }
    }

    /// Keys and values.
    pub(crate) fn load_keys<X: Float>(
        &mut self,
        given: &Given<X, N>,
        head: Head,
        first: usize,
        #[comptime] form: Form,
    ) {
        let tokens = given.tokens;
        let k = head.part(first, tokens, 1usize);
        load::<X, S, N>(&given.qkv, &given.q_bias, &mut self.k, k, 1.0f32, false, form);
        let v = head.part(first, tokens, 2usize);
        load::<X, S, N>(&given.qkv, &given.v_bias, &mut self.v, v, 1.0f32, true, form);
    }

    /// `scores = Q Kᵀ`, `d_probs = dO Vᵀ`
    pub(crate) fn products(&mut self, #[comptime] form: Form) {
        let block = comptime!(form.scores());
        let mut sums = Sums::<N>::new(block);
        sums.multiply::<S, N, N>(&self.q, 0usize, &self.k, 0usize, block);
        sums.share(&mut self.scores, comptime!(form.scores_row()), block);
        let mut d_sums = Sums::<N>::new(block);
        d_sums.multiply::<S, N, N>(&self.d_context, 0usize, &self.v, 0usize, block);
        d_sums.share(&mut self.d_probs, comptime!(form.scores_row()), block);
    }

    /// `(P, dS)` at (`row`, `column`) for the queries from `first_q` and the keys from `first_k` on; zeros beyond the tokens.
    pub(crate) fn softmax<X: Float>(
        &self,
        given: &Given<X, N>,
        head: usize,
        place: (usize, usize),
        first: (usize, usize),
        #[comptime] form: Form,
    ) -> (f32, f32) {
        let tokens = given.tokens;
        let tables = (&given.table, &given.shared_table);
        let q = first.0 + place.0;
        let k = first.1 + place.1;
        let mut p = 0.0f32;
        let mut d_score = 0.0f32;
        if q < tokens && k < tokens {
            let value = score(&self.scores, &self.bias, tables, head, given.heads, place, (q, k), form);
            p = f32::exp(value - self.lse[place.0]);
            d_score =
                p * (self.d_probs[place.0 * comptime!(form.scores_row()) + place.1] - self.delta[place.0]);
        }
        (p, d_score)
    }
}

/// `sums [TILE, D] · scale` of one head, into the part `part` of `d_qkv`, through `staged`.
#[cube]
#[allow(clippy::too_many_arguments)]
fn write<X: Float, N: Size>(
    sums: &Sums<N>,
    staged: &mut SharedMemory<f32>,
    d_qkv: &mut Array<X>,
    head: Head,
    first: usize,
    tokens: usize,
    scale: f32,
    #[comptime] part: usize,
    #[comptime] form: Form,
) {
    sync_cube();
    sums.share(staged, comptime!(form.staged()), comptime!(form.mix()));
    sync_cube();
    let mut e = UNIT_POS as usize;
    while e < comptime!(form.tile * form.d) {
        let row = e / comptime!(form.d);
        let element = e % comptime!(form.d);
        if first + row < tokens {
            let at = (head.image * tokens + first + row) * (3 * head.width) + part * head.width + head.column;
            d_qkv[at + element] = X::cast_from(staged[row * comptime!(form.staged()) + element] * scale);
        }
        e += UNITS as usize;
    }
}

/// `dK` and `dV` of one tile of keys of one head of one image, over all queries.
#[cube(launch_unchecked)]
fn backward_keys<X: Float, S: Float, N: Size>(
    given: &Given<X, N>,
    d_qkv: &mut Array<X>,
    #[comptime] form: Form,
    #[define(X, S)] _types: [ElemType; 2],
) {
    let wide = N::value();
    let tokens = given.tokens;
    let head = Head::new(CUBE_POS_Y as usize, CUBE_POS_Z as usize, given.heads, form);
    let first_k = CUBE_POS_X as usize * comptime!(form.tile);
    let mut tiles = Tiles::<S, N>::new(form);
    let mut probs =
        SharedMemory::<Vector<S, N>>::new_aligned(comptime!(form.tile * form.probs() / wide), 32usize);
    let mut d_scores =
        SharedMemory::<Vector<S, N>>::new_aligned(comptime!(form.tile * form.probs() / wide), 32usize);
    let block = comptime!(form.mix_transposed());
    let mut d_k = Sums::<N>::new(block);
    let mut d_v = Sums::<N>::new(block);
    tiles.load_keys::<X>(given, head, first_k, form);
    load_bias((&given.table, &given.shared_table), &mut tiles.bias, head.head, given.heads, form);
    for tile in 0..(tokens + comptime!(form.tile) - 1) / comptime!(form.tile) {
        let first_q = tile * comptime!(form.tile);
        sync_cube();
        tiles.load_queries::<X>(given, head, first_q, form);
        sync_cube();
        tiles.products(form);
        sync_cube();
        let per_row = comptime!(form.tile / wide);
        let mut e = UNIT_POS as usize;
        while e < comptime!(form.tile * per_row) {
            let row = e / per_row;
            let mut p = Vector::<f32, N>::new(0.0f32);
            let mut d = Vector::<f32, N>::new(0.0f32);
            #[unroll]
            for l in 0..wide {
                let column = e % per_row * N::value() + l;
                let (p_one, d_one) =
                    tiles.softmax::<X>(given, head.head, (row, column), (first_q, first_k), form);
                p[l] = p_one;
                d[l] = d_one;
            }
            let at = row * comptime!(form.probs() / wide) + e % per_row;
            probs[at] = Vector::cast_from(p);
            d_scores[at] = Vector::cast_from(d);
            e += UNITS as usize;
        }
        sync_cube();
        d_v.multiply::<S, N, N>(&probs, 0usize, &tiles.d_context, 0usize, block);
        d_k.multiply::<S, N, N>(&d_scores, 0usize, &tiles.q, 0usize, block);
    }
    // The queries carry the scale already.
    write::<X, N>(&d_k, &mut tiles.scores, d_qkv, head, first_k, tokens, 1.0f32, 1usize, form);
    write::<X, N>(&d_v, &mut tiles.d_probs, d_qkv, head, first_k, tokens, 1.0f32, 2usize, form);
}

/// `dQ` of one tile of queries of one head of one image, over all keys.
#[cube(launch_unchecked)]
fn backward_queries<X: Float, S: Float, N: Size>(
    given: &Given<X, N>,
    d_qkv: &mut Array<X>,
    #[comptime] form: Form,
    #[define(X, S)] _types: [ElemType; 2],
) {
    let wide = N::value();
    let tokens = given.tokens;
    let head = Head::new(CUBE_POS_Y as usize, CUBE_POS_Z as usize, given.heads, form);
    let first_q = CUBE_POS_X as usize * comptime!(form.tile);
    let mut tiles = Tiles::<S, N>::new(form);
    let mut d_scores =
        SharedMemory::<Vector<S, N>>::new_aligned(comptime!(form.tile * form.probs() / wide), 32usize);
    let block = comptime!(form.mix());
    let mut d_q = Sums::<N>::new(block);
    tiles.load_queries::<X>(given, head, first_q, form);
    load_bias((&given.table, &given.shared_table), &mut tiles.bias, head.head, given.heads, form);
    for tile in 0..(tokens + comptime!(form.tile) - 1) / comptime!(form.tile) {
        let first_k = tile * comptime!(form.tile);
        sync_cube();
        tiles.load_keys::<X>(given, head, first_k, form);
        sync_cube();
        tiles.products(form);
        sync_cube();
        let per_row = comptime!(form.tile / wide);
        let mut e = UNIT_POS as usize;
        while e < comptime!(form.tile * per_row) {
            let row = e / per_row;
            let mut d = Vector::<f32, N>::new(0.0f32);
            #[unroll]
            for l in 0..wide {
                let column = e % per_row * N::value() + l;
                let (_, d_one) =
                    tiles.softmax::<X>(given, head.head, (row, column), (first_q, first_k), form);
                d[l] = d_one;
            }
            d_scores[row * comptime!(form.probs() / wide) + e % per_row] = Vector::cast_from(d);
            e += UNITS as usize;
        }
        sync_cube();
        d_q.multiply::<S, N, N>(&d_scores, 0usize, &tiles.k, 0usize, block);
    }
    write::<X, N>(&d_q, &mut tiles.scores, d_qkv, head, first_q, tokens, given.scale, 0usize, form);
}

/// `q [C] += sums[..C]`, `v [C] += sums[2C..]`; the keys' part has no bias to go to.
#[cube(launch_unchecked)]
fn add_parts(sums: &Array<f32>, q: &mut Array<f32>, v: &mut Array<f32>) {
    let mut i = ABSOLUTE_POS;
    while i < q.len() {
        q[i] += sums[i];
        v[i] += sums[2 * q.len() + i];
        i += CUBE_COUNT * CUBE_DIM as usize;
    }
}

/// The tensors that the kernels of the backward pass read.
pub(crate) struct Saved<'a> {
    qkv: &'a Tensor,
    d_context: &'a Tensor,
    bias: &'a QkvBias<'a, Tensor>,
    lse: &'a Tensor,
    delta: &'a Tensor,
}

impl Saved<'_> {
    /// The arguments, of whatever types a kernel names `X` and `N`.
    pub(crate) fn given<X: Float, N: Size, R: Runtime>(
        &self,
        gpu: &Gpu<R>,
        call: &Call,
    ) -> GivenLaunch<X, N, R> {
        let table = |table: Option<&Tensor>| table.map_or_else(|| array(&gpu.nothing, NOTHING), Tensor::arg);
        GivenLaunch::new(
            self.qkv.arg(),
            self.d_context.arg(),
            self.bias.q.arg(),
            self.bias.v.arg(),
            table(self.bias.table),
            table(self.bias.shared),
            self.lse.arg(),
            self.delta.arg(),
            call.tokens,
            call.heads,
            call.scale(),
        )
    }
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
    if call.native(gpu) {
        call.backward_native(gpu, [&d_context, &qkv, &probs.context, &probs.lse], bias, &d_qkv, d_bias);
    } else {
        backward_by_tiles(gpu, &call, [&d_context, &qkv], bias, probs, &d_qkv, d_bias);
    }

    let mut sums = gpu.empty([qkv.last()], Dtype::F32);
    crate::kernels::elementwise::set(gpu, &sums, 0.0);
    add_column_sums(gpu, &d_qkv, &mut sums);
    let (q, v) = (gpu.own(d_bias.q), gpu.own(d_bias.v));
    let dim = CubeDim::new_1d(UNITS);
    launch!(add_parts(gpu, cubes(q.len(), UNITS as usize), dim, sums.arg(), q.arg(), v.arg()));
    d_qkv
}

/// Writes `d_qkv` and adds to the gradients of the tables, tile by tile.
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
    let count = cubes(delta.len(), UNITS as usize);
    let dim = CubeDim::new_1d(UNITS);
    launch!(row_products(
        gpu,
        count,
        dim,
        call.width,
        d_context.arg(),
        probs.context.arg(),
        delta.arg(),
        call.tokens,
        call.heads,
        call.form.d,
        types,
    ));
    let saved = Saved { qkv, d_context, bias, lse: &probs.lse, delta: &delta };
    let types = [qkv.elem(), gpu.activation().elem()];
    let (form, width) = (call.form, call.width);
    launch!(backward_keys(gpu, call.cubes(), dim, width, saved.given(gpu, call), d_qkv.arg(), form, types));
    launch!(backward_queries(
        gpu,
        call.cubes(),
        dim,
        width,
        saved.given(gpu, call),
        d_qkv.arg(),
        form,
        types
    ));
    add_bias_gradient(gpu, call, &saved, types, d_bias);
}
