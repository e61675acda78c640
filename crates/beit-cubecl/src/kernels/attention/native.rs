//! Launching the attention of `cuda/attention_*.cu`: heads of 64 elements in bf16 on tensor cores, an image's head a block. Everything
//! that the kernels of this folder compute, in one pass forward and one backward.

use super::Call;
use crate::gpu::Gpu;
use crate::kernels::native::Native;
use crate::tensor::{Dtype, Tensor};
use beit_ops::{QkvBias, QkvBiasGrad};
use cubecl::prelude::*;

const FORWARD: [&str; 3] = [
    include_str!("../cuda/mma.cuh"),
    include_str!("../cuda/attention.cuh"),
    include_str!("../cuda/attention_forward.cu"),
];
const BACKWARD: [&str; 3] = [
    include_str!("../cuda/mma.cuh"),
    include_str!("../cuda/attention.cuh"),
    include_str!("../cuda/attention_backward.cu"),
];
const TABLES: [&str; 3] = [
    include_str!("../cuda/mma.cuh"),
    include_str!("../cuda/attention.cuh"),
    include_str!("../cuda/attention_tables.cu"),
];

/// Elements of a head.
const HEAD: usize = 64;

/// Bytes of a row of queries, keys or values of a head.
const LINE: usize = 128;

/// Rows that a warp takes, and keys of a fragment.
const SIDE: usize = 16;

/// Warps of a block: 13 tiles of 16 queries, those of 197 tokens, are two rounds of seven.
const WARPS: usize = 7;

/// Tiles of 16 keys whose scores a warp has in registers at a time, at most.
const TILES: usize = 7;

/// Registers of a thread: two blocks a multiprocessor. More, without spills, was slower on an H200 (docs/bench/gpu.md).
const REGISTERS: usize = 128;

impl Call {
    /// Whether the kernels in CUDA C++ can do it.
    pub(super) fn native<R: Runtime>(&self, gpu: &Gpu<R>) -> bool {
        gpu.warp_products() && self.form.d == HEAD
    }

    /// Numbers that kernels are compiled for, besides their own.
    fn defines(&self) -> Vec<(&'static str, usize)> {
        let [height, width] = self.form.window;
        let [table, shared] = self.form.tables.map(usize::from);
        vec![
            ("TOKENS", self.tokens),
            ("WINDOW_H", height),
            ("WINDOW_W", width),
            ("TABLES", table + 2 * shared),
            ("REGISTERS", REGISTERS),
        ]
    }

    /// `Params`
    fn numbers(&self) -> [u32; 4] {
        [self.tokens as u32, self.heads as u32, self.batch as u32, self.scale().to_bits()]
    }

    /// Bytes of a number for each row of the bias table in shared memory.
    fn bias_bytes(&self) -> usize {
        if self.form.biased() { 4 * self.form.bias_rows().next_multiple_of(4) } else { 0 }
    }

    /// Bytes of a number for each of `rows` tokens, where there is a bias to find.
    fn places_bytes(&self, rows: usize) -> usize {
        if self.form.biased() { 4 * rows } else { 0 }
    }

    pub(super) fn forward_native<R: Runtime>(
        &self,
        gpu: &Gpu<R>,
        qkv: &Tensor,
        bias: &QkvBias<'_, Tensor>,
        [context, lse]: [&Tensor; 2],
    ) {
        let shared = |keys: usize| 2 * keys * LINE + self.bias_bytes() + self.places_bytes(keys);
        let tiles = self.tokens.div_ceil(SIDE);
        let chunk = SIDE * tiles.div_ceil(tiles.div_ceil(TILES));
        let whole = self.tokens.next_multiple_of(chunk);
        // All keys at once where shared memory has room for them, else two chunks.
        let (chunk, keys) = if shared(whole) <= gpu.shared_memory() {
            (chunk, whole)
        } else {
            (SIDE * TILES, 2 * SIDE * TILES)
        };
        let steps = self.tokens.div_ceil(keys);
        let blocks = if steps == 1 { 1 } else { self.tokens.div_ceil(SIDE * WARPS) };
        let mut defines = self.defines();
        defines.extend([("PADDED", keys), ("CHUNK", chunk), ("STEPS", steps)]);
        let units = 32 * WARPS as u32;
        let kernel =
            Native { name: "attention_forward", source: &FORWARD, defines, units, shared: shared(keys) };
        let count = CubeCount::Static(blocks as u32, self.heads as u32, self.batch as u32);
        let buffers =
            [Some(qkv), Some(bias.q), Some(bias.v), bias.table, bias.shared, Some(context), Some(lse)];
        kernel.launch(gpu, count, &buffers, &self.numbers());
    }

    /// Bytes of shared memory of the backward.
    fn backward_bytes(&self) -> usize {
        let rows = self.tokens.next_multiple_of(SIDE);
        4 * rows * LINE + 2 * 4 * rows + 16 + 2 * self.bias_bytes() + 2 * self.places_bytes(rows)
    }

    /// Whether a block can have all of a head.
    pub(super) fn native_backward<R: Runtime>(&self, gpu: &Gpu<R>) -> bool {
        self.native(gpu) && self.backward_bytes() <= gpu.shared_memory()
    }

    /// `d_qkv`, and what is added to the gradients of the tables.
    pub(super) fn backward_native<R: Runtime>(
        &self,
        gpu: &Gpu<R>,
        [d_context, qkv, context, lse]: [&Tensor; 4],
        bias: &QkvBias<'_, Tensor>,
        d_qkv: &Tensor,
        d_bias: &mut QkvBiasGrad<'_, Tensor>,
    ) {
        let rows = self.form.bias_rows();
        let biased = self.form.biased();
        let d_rows = biased.then(|| gpu.empty([self.batch, self.heads, rows], Dtype::F32));
        let mut defines = self.defines();
        defines.push(("PADDED", self.tokens.next_multiple_of(SIDE)));
        let (units, shared) = (32 * WARPS as u32, self.backward_bytes());
        let kernel =
            Native { name: "attention_backward", source: &BACKWARD, defines: defines.clone(), units, shared };
        let given = [qkv, context, d_context, bias.q, bias.v].map(Some);
        let rest = [bias.table, bias.shared, Some(lse), Some(d_qkv), d_rows.as_ref()];
        let count = CubeCount::Static(self.heads as u32, self.batch as u32, 1);
        kernel.launch(gpu, count, &[given, rest].concat(), &self.numbers());

        let tables = [d_bias.table.as_deref_mut(), d_bias.shared.as_deref_mut()];
        let [table, shared] = tables.map(|table| table.map(|table| gpu.own(table)));
        if table.is_none() && shared.is_none() {
            return;
        }
        let units = 128;
        let kernel = Native { name: "attention_tables", source: &TABLES, defines, units, shared: 16 };
        let count = CubeCount::Static(rows.div_ceil(units as usize) as u32, self.heads as u32, 1);
        kernel.launch(gpu, count, &[d_rows.as_ref(), table, shared], &self.numbers());
    }
}
