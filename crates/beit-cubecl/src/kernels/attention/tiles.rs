//! What the kernels of the backward pass share: their arguments, the tiles in shared memory, and the softmax computed again.
//!
//! ```text
//! shared memory of a block         q          k          v          dO         scores      d_probs     bias   lse   delta
//!                                  [tile, D]  [tile, D]  [tile, D]  [tile, D]  [tile, tile] [tile, tile]  [R]  [tile] [tile]
//!
//! for a tile of queries and one of keys:
//!   scores  = Q Kᵀ                 P  = exp(scores + bias - lse)
//!   d_probs = dO Vᵀ                dS = P ⊙ (d_probs - delta)
//! ```
//!
//! Where four operands are more than a block can have, q and dO are one buffer, k and v another: `Variant::turns`. Then dO and v
//! are loaded between the two products, and who reads q or k after them loads it once more.

use super::call::Call;
use super::rows::{Head, load, score};
use super::variant::Variant;
use crate::gpu::{Gpu, PLACEHOLDER_LEN};
use crate::kernels::sums::Accumulators;
use crate::tensor::{Tensor, array};
use beit_ops::QkvBias;
use cubecl::prelude::*;

/// The arguments that all kernels of the backward pass read.
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

/// A block's tiles: the operands of both products, and their results.
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
    pub(crate) fn new(#[comptime] variant: Variant) -> Self {
        let wide = N::value();
        let size = comptime!(variant.tile * variant.tile_stride() / wide);
        let q = SharedMemory::<Vector<S, N>>::new_aligned(size, 32usize);
        let k = SharedMemory::<Vector<S, N>>::new_aligned(size, 32usize);
        let v = if comptime!(variant.turns) { k } else { SharedMemory::new_aligned(size, 32usize) };
        let d_context = if comptime!(variant.turns) { q } else { SharedMemory::new_aligned(size, 32usize) };
        Tiles::<S, N> {
            q,
            k,
            v,
            d_context,
            scores: SharedMemory::new_aligned(comptime!(variant.tile * variant.staging_stride()), 32usize),
            d_probs: SharedMemory::new_aligned(comptime!(variant.tile * variant.scores_stride()), 32usize),
            bias: SharedMemory::new_aligned(comptime!(variant.bias_len()), 32usize),
            lse: SharedMemory::new_aligned(comptime!(variant.tile), 32usize),
            delta: SharedMemory::new_aligned(comptime!(variant.tile), 32usize),
        }
    }

    /// Queries.
    pub(crate) fn load_q<X: Float>(
        &mut self,
        given: &Given<X, N>,
        head: Head,
        first: usize,
        #[comptime] variant: Variant,
    ) {
        let q = head.part(first, given.tokens, 0usize);
        load::<X, S, N>(&given.qkv, &given.q_bias, &mut self.q, q, given.scale, true, variant);
    }

    /// Keys.
    pub(crate) fn load_k<X: Float>(
        &mut self,
        given: &Given<X, N>,
        head: Head,
        first: usize,
        #[comptime] variant: Variant,
    ) {
        let k = head.part(first, given.tokens, 1usize);
        load::<X, S, N>(&given.qkv, &given.q_bias, &mut self.k, k, 1.0f32, false, variant);
    }

    /// Values.
    fn load_v<X: Float>(
        &mut self,
        given: &Given<X, N>,
        head: Head,
        first: usize,
        #[comptime] variant: Variant,
    ) {
        let v = head.part(first, given.tokens, 2usize);
        load::<X, S, N>(&given.qkv, &given.v_bias, &mut self.v, v, 1.0f32, true, variant);
    }

    /// The gradient of the queries' context.
    fn load_d_context<X: Float>(
        &mut self,
        given: &Given<X, N>,
        head: Head,
        first: usize,
        #[comptime] variant: Variant,
    ) {
        let rows = head.d_context(first, given.tokens);
        load::<X, S, N>(&given.d_context, &given.q_bias, &mut self.d_context, rows, 1.0f32, false, variant);
    }

    /// Queries, their log-sum-exp and delta; the gradient of their context too, unless it takes turns with them.
    pub(crate) fn load_queries<X: Float>(
        &mut self,
        given: &Given<X, N>,
        head: Head,
        first: usize,
        #[comptime] variant: Variant,
    ) {
        self.load_q::<X>(given, head, first, variant);
        if comptime!(!variant.turns) {
            self.load_d_context::<X>(given, head, first, variant);
        }
        if UNIT_POS < comptime!(variant.tile as u32) {
            let row = (head.image * given.heads + head.head) * given.tokens;
            let token = min(first + UNIT_POS as usize, given.tokens - 1);
            self.lse[UNIT_POS as usize] = given.lse[row + token];
            self.delta[UNIT_POS as usize] = given.delta[row + token];
        }
    }

    /// Keys; values too, unless they take turns.
    pub(crate) fn load_keys<X: Float>(
        &mut self,
        given: &Given<X, N>,
        head: Head,
        first: usize,
        #[comptime] variant: Variant,
    ) {
        self.load_k::<X>(given, head, first, variant);
        if comptime!(!variant.turns) {
            self.load_v::<X>(given, head, first, variant);
        }
    }

    /// `scores = Q Kᵀ`, `d_probs = dO Vᵀ` of the queries from `first.0` and the keys from `first.1` on, which are loaded.
    pub(crate) fn products<X: Float>(
        &mut self,
        given: &Given<X, N>,
        head: Head,
        first: (usize, usize),
        #[comptime] variant: Variant,
    ) {
        let shape = comptime!(variant.scores());
        let mut sums = Accumulators::<N>::new(shape);
        sums.multiply::<S, N, N>(&self.q, 0usize, &self.k, 0usize, shape);
        sums.store_shared(&mut self.scores, comptime!(variant.scores_stride()), shape);
        if comptime!(variant.turns) {
            sync_cube();
            self.load_d_context::<X>(given, head, first.0, variant);
            self.load_v::<X>(given, head, first.1, variant);
            sync_cube();
        }
        let mut d_sums = Accumulators::<N>::new(shape);
        d_sums.multiply::<S, N, N>(&self.d_context, 0usize, &self.v, 0usize, shape);
        d_sums.store_shared(&mut self.d_probs, comptime!(variant.scores_stride()), shape);
    }

    /// `(P, dS)` at `at`, (row, column) of the tile of the queries from `first.0` and the keys from `first.1` on; zeros beyond
    /// the last token.
    pub(crate) fn softmax<X: Float>(
        &self,
        given: &Given<X, N>,
        head: usize,
        at: (usize, usize),
        first: (usize, usize),
        #[comptime] variant: Variant,
    ) -> (f32, f32) {
        let tokens = given.tokens;
        let tables = (&given.table, &given.shared_table);
        let q = first.0 + at.0;
        let k = first.1 + at.1;
        let mut p = 0.0f32;
        let mut d_score = 0.0f32;
        if q < tokens && k < tokens {
            let value = score(&self.scores, &self.bias, tables, head, given.heads, at, (q, k), variant);
            p = f32::exp(value - self.lse[at.0]);
            d_score = p * (self.d_probs[at.0 * comptime!(variant.scores_stride()) + at.1] - self.delta[at.0]);
        }
        (p, d_score)
    }
}

/// The tensors that the kernels of the backward pass read.
pub(crate) struct Saved<'a> {
    pub(super) qkv: &'a Tensor,
    pub(super) d_context: &'a Tensor,
    pub(super) bias: &'a QkvBias<'a, Tensor>,
    pub(super) lse: &'a Tensor,
    pub(super) delta: &'a Tensor,
}

impl Saved<'_> {
    /// The arguments of a kernel with element type `X` and vectors of `N`.
    pub(crate) fn given<X: Float, N: Size, R: Runtime>(
        &self,
        gpu: &Gpu<R>,
        call: &Call,
    ) -> GivenLaunch<X, N, R> {
        let table = |table: Option<&Tensor>| {
            table.map_or_else(|| array(&gpu.placeholder, PLACEHOLDER_LEN), Tensor::arg)
        };
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
