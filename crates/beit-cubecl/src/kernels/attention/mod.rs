//! `softmax((q + q_bias) D^-1/2 · kᵀ + R) · (v + v_bias)`, fused: scores exist only in shared memory.
//!
//! Forward, for 64 queries of one head: the log-sum-exp of each row over all keys first, then `exp(score - lse)` tile by tile
//! times the values. Nothing has to be rescaled on the way, which fragments of tensor cores cannot do; the second product of
//! queries and keys costs a sixth of what the linear maps around the attention do not.
//!
//! Backward: the softmax comes back from the log-sum-exp. One kernel for the gradients of keys and values (over all queries),
//! one for that of the queries (over all keys), one for that of the relative position bias (over all images). Each result
//! has one writer and a fixed order of additions, so every run gives the same bits.
//!
//! Heads of 64 elements in bf16 on CUDA devices take the kernels of `native.rs`, which are CUDA C++ and several times as fast; the ones
//! here are for all other devices, types and heads.

mod backward;
mod bias;
mod forward;
mod native;
mod rows;

pub(crate) use backward::backward;
pub(crate) use forward::forward;

use super::sums::{Block, Stage};
use crate::gpu::Gpu;
use crate::launch::{UNITS, width};
use crate::tensor::{Probs, Tensor};
use beit_ops::{
    AttentionOps, AttentionShape, AttentionTraining, QkvBias, QkvBiasGrad, relative_position_rows,
};
use cubecl::prelude::*;

/// Queries, or keys, of a tile on tensor cores: a fragment by two for each of eight planes.
const LARGE: usize = 64;

/// Queries, or keys, of a tile of plain multiply-adds: four tiles of 64 elements a row leave room for the rest in 32 KiB, all the
/// shared memory that Vulkan's devices can be counted on to have.
const SMALL: usize = 16;

/// Bytes of shared memory that the relative position bias may take without tensor cores.
const SMALL_BIAS: usize = 4096;

/// Everything about an attention that its kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Form {
    /// Elements of a head.
    pub(crate) d: usize,
    /// Height and width of the patch grid.
    pub(crate) window: [usize; 2],
    /// Whether there is a table of the layer, and one of all layers.
    pub(crate) tables: [bool; 2],
    /// Whether the bias of a head is kept in shared memory.
    pub(crate) bias_shared: bool,
    /// Queries, or keys, of a tile.
    pub(crate) tile: usize,
    /// Whether tensor cores multiply.
    pub(crate) cores: bool,
}

impl Form {
    fn new(d: usize, window: [usize; 2], tables: [bool; 2], cores: bool) -> Self {
        let bytes = 4 * relative_position_rows(window);
        let tile = if cores { LARGE } else { SMALL };
        Self { d, window, tables, bias_shared: cores || bytes <= SMALL_BIAS, tile, cores }
    }

    /// Whether there is a relative position bias.
    pub(crate) fn biased(&self) -> bool {
        self.tables[0] || self.tables[1]
    }

    /// Distance of the rows of a tile of scores in shared memory, in f32.
    pub(crate) fn scores_row(&self) -> usize {
        self.tile + 4
    }

    /// Units that share a row of scores.
    pub(crate) fn sharers(&self) -> usize {
        UNITS as usize / self.tile
    }

    /// Elements of a head in shared memory: whole fragments for every plane.
    pub(crate) fn padded(&self) -> usize {
        self.d.next_multiple_of(if self.cores { 32 } else { 16 })
    }

    fn padding(&self) -> usize {
        if self.cores { 8 } else { 1 }
    }

    /// Distance of the rows of a tile of queries, keys or values.
    pub(crate) fn row(&self) -> usize {
        self.padded() + self.padding()
    }

    /// Distance of the rows of a tile of probabilities.
    pub(crate) fn probs(&self) -> usize {
        self.tile + self.padding()
    }

    /// Distance of the rows, in f32, of shared memory that takes a tile of scores first and a tile of results afterwards.
    pub(crate) fn staged(&self) -> usize {
        self.scores_row().max(self.padded() + 4)
    }

    /// Rows of the bias table.
    pub(crate) fn bias_rows(&self) -> usize {
        relative_position_rows(self.window)
    }

    /// Elements of shared memory for the bias.
    pub(crate) fn bias_kept(&self) -> usize {
        if self.biased() && self.bias_shared { self.bias_rows() } else { 1 }
    }

    fn block(&self, n: usize, k: usize, a: Stage, b: Stage) -> Block {
        Block { m: self.tile, n, k, a, b, planes: [4, 2], cores: self.cores }
    }

    /// `[queries, D] · [keys, D]ᵀ`
    pub(crate) fn scores(&self) -> Block {
        let stage = Stage { k_fast: true, distance: self.row() };
        self.block(self.tile, self.padded(), stage, stage)
    }

    /// `[queries, keys] · [keys, D]`
    pub(crate) fn mix(&self) -> Block {
        let probs = Stage { k_fast: true, distance: self.probs() };
        self.block(self.padded(), self.tile, probs, Stage { k_fast: false, distance: self.row() })
    }

    /// `[queries, keys]ᵀ · [queries, D]`
    pub(crate) fn mix_transposed(&self) -> Block {
        let probs = Stage { k_fast: false, distance: self.probs() };
        self.block(self.padded(), self.tile, probs, Stage { k_fast: false, distance: self.row() })
    }
}

/// The extents of one call, and what its kernels are compiled for.
#[derive(Clone, Copy)]
pub(crate) struct Call {
    pub(crate) batch: usize,
    pub(crate) heads: usize,
    pub(crate) tokens: usize,
    pub(crate) form: Form,
    /// Elements that are loaded at once.
    pub(crate) width: usize,
}

impl Call {
    fn new<R: Runtime>(
        gpu: &Gpu<R>,
        qkv: &Tensor,
        bias: &QkvBias<'_, Tensor>,
        shape: AttentionShape,
    ) -> Self {
        let AttentionShape { heads, tokens, window } = shape;
        let d = qkv.last() / 3 / heads;
        let tables = [bias.table.is_some(), bias.shared.is_some()];
        let window = if tables[0] || tables[1] { window } else { [1, 1] };
        let form = Form::new(d, window, tables, gpu.cores());
        let width = if form.cores { width(8, &[d]) } else { 1 };
        Self { batch: qkv.rows() / tokens, heads, tokens, form, width }
    }

    /// `D^-1/2`
    fn scale(&self) -> f32 {
        1.0 / (self.form.d as f32).sqrt()
    }

    /// One cube for each tile of tokens, head and image.
    fn cubes(&self) -> CubeCount {
        CubeCount::Static(self.tokens.div_ceil(self.form.tile) as u32, self.heads as u32, self.batch as u32)
    }
}

impl<R: Runtime> AttentionOps for Gpu<R> {
    fn attention(&self, qkv: &Tensor, bias: &QkvBias<'_, Tensor>, shape: AttentionShape) -> Tensor {
        forward(self, qkv, bias, shape).0
    }
}

impl<R: Runtime> AttentionTraining for Gpu<R> {
    type Probs = Probs;

    fn attention_forward(
        &self,
        qkv: &Tensor,
        bias: &QkvBias<'_, Tensor>,
        shape: AttentionShape,
    ) -> (Tensor, Probs) {
        forward(self, qkv, bias, shape)
    }
    fn attention_backward(
        &self,
        d_context: &Tensor,
        qkv: &Tensor,
        bias: &QkvBias<'_, Tensor>,
        probs: &Probs,
        shape: AttentionShape,
        d_bias: &mut QkvBiasGrad<'_, Tensor>,
    ) -> Tensor {
        backward(self, d_context, qkv, bias, probs, shape, d_bias)
    }
}
