//! Launching the attention of `cuda/attention_*.cu`: heads of 64 elements in bf16, scores in registers and nowhere else. What the other
//! kernels of this folder compute, on the instructions of a warp's tensor cores.

use super::Call;
use crate::gpu::Gpu;
use crate::kernels::native::Native;
use crate::tensor::{Dtype, Tensor};
use beit_ops::{QkvBias, QkvBiasGrad};
use cubecl::prelude::*;

macro_rules! source {
    ($file:literal) => {
        [
            include_str!("../cuda/mma.cuh"),
            include_str!("../cuda/attention.cuh"),
            include_str!(concat!("../cuda/", $file)),
        ]
    };
}
const FORWARD: [&str; 3] = source!("attention_forward.cu");
const BACKWARD: [&str; 3] = source!("attention_backward.cu");

/// Elements of a head.
const HEAD: usize = 64;
/// Bytes of 16 rows of queries, keys or values of a head: a tile.
const TILE: usize = 16 * 2 * HEAD;
/// Distances of columns that a warp has a lane for, besides those of [CLS].
const LANES: usize = 29;

/// How the forward is cut. Which is fastest was measured on an H200: docs/bench/gpu.md.
struct Cut {
    warps: usize,
    /// Tiles of queries that a warp has at once.
    row_tiles: usize,
    /// Tiles of keys that the softmax sees at once.
    chunk: usize,
    /// Tiles of keys that shared memory holds at once.
    stage: usize,
    /// Tiles of queries that a warp takes one after another.
    passes: usize,
    /// Blocks of a multiprocessor.
    blocks: usize,
}

/// The most tiles of keys that a block of the forward holds all at once: those of 197 tokens, which two rounds of seven warps go through.
const WHOLE: usize = 13;

impl Cut {
    fn new(tiles: usize) -> Self {
        if tiles <= WHOLE {
            Self { warps: 7, row_tiles: 1, chunk: 7, stage: tiles, passes: 2, blocks: 2 }
        } else {
            Self { warps: 4, row_tiles: 2, chunk: 4, stage: 4, passes: 1, blocks: 1 }
        }
    }
}

impl Call {
    /// Whether the kernels in CUDA C++ can do it.
    pub(super) fn native<R: Runtime>(&self, gpu: &Gpu<R>) -> bool {
        let [height, width] = self.form.window;
        let whole = !self.form.biased() || height * width + 1 == self.tokens;
        gpu.warp_products() && self.form.d == HEAD && whole
    }

    fn tiles(&self) -> usize {
        self.tokens.div_ceil(16)
    }

    /// Numbers that kernels are compiled for, besides their own.
    fn defines(&self, own: &[(&'static str, usize)]) -> Vec<(&'static str, usize)> {
        let [height, width] = self.form.window;
        let [table, shared] = self.form.tables.map(usize::from);
        let common = [
            ("HEAD_DIM", HEAD),
            ("TOKENS", self.tokens),
            ("WINDOW_H", height),
            ("WINDOW_W", width),
            ("TABLES", table + 2 * shared),
        ];
        [&common, own].concat()
    }

    /// `Params`
    fn numbers(&self, groups: usize, gradients: u32) -> [u32; 5] {
        [self.batch as u32, self.heads as u32, groups as u32, gradients, self.scale().to_bits()]
    }

    /// Bytes of the bias of a head in shared memory: `BIAS_KEPT` numbers.
    fn bias_bytes(&self) -> usize {
        let [height, width] = self.form.window;
        let span = (height - 1) * (2 * width - 1) + width;
        if self.form.biased() { 4 * (5 * span - 1) } else { 0 }
    }

    /// Bytes of the places of `tiles` tiles of tokens in the bias.
    fn places_bytes(&self, tiles: usize) -> usize {
        if self.form.biased() { 4 * 16 * tiles } else { 0 }
    }

    pub(super) fn forward_native<R: Runtime>(
        &self,
        gpu: &Gpu<R>,
        qkv: &Tensor,
        bias: &QkvBias<'_, Tensor>,
        [context, lse]: [&Tensor; 2],
    ) {
        let tiles = self.tiles();
        let cut = Cut::new(tiles);
        let defines = self.defines(&[
            ("WARPS", cut.warps),
            ("ROW_TILES", cut.row_tiles),
            ("CHUNK", cut.chunk),
            ("STAGE", cut.stage),
            ("PASSES", cut.passes),
            ("MIN_BLOCKS", cut.blocks),
        ]);
        // Two buffers of keys and of values where they come in stages.
        let buffers = if tiles > cut.stage { 2 } else { 1 };
        let shared = 2 * buffers * cut.stage * TILE + self.places_bytes(tiles) + self.bias_bytes();
        let units = 32 * cut.warps as u32;
        let kernel = Native { name: "attention_forward", source: &FORWARD, defines, units, shared };
        let blocks = tiles.div_ceil(cut.passes * cut.warps * cut.row_tiles);
        let count = CubeCount::Static(blocks as u32, self.heads as u32, self.batch as u32);
        let buffers =
            [Some(qkv), Some(bias.q), Some(bias.v), bias.table, bias.shared, Some(context), Some(lse)];
        kernel.launch(gpu, count, &buffers, &self.numbers(1, 0));
    }

    /// `d_qkv`, and what is added to the gradients of the tables.
    pub(super) fn backward_native<R: Runtime>(
        &self,
        gpu: &Gpu<R>,
        given: [&Tensor; 4],
        bias: &QkvBias<'_, Tensor>,
        d_qkv: &Tensor,
        d_bias: &mut QkvBiasGrad<'_, Tensor>,
    ) {
        let tables = [d_bias.table.as_deref_mut(), d_bias.shared.as_deref_mut()];
        let tables = tables.map(|table| table.map(|table| gpu.own(table)));
        let backward = Backward { gpu, call: self, given, bias, d_qkv, tables };
        let fits = self.resident_bytes() <= gpu.shared_memory();
        if fits && 2 * self.form.window[1] - 1 <= LANES { backward.resident() } else { backward.staged() }
    }

    /// Bytes of shared memory for all of a head: queries, the context's gradient, two images' keys, `dSᵀ`, terms of rows.
    fn resident_bytes(&self) -> usize {
        let (tiles, rows) = (self.tiles(), 16 * self.tiles());
        4 * tiles * TILE + rows * (2 * rows + 16) + 8 * rows + self.places_bytes(tiles) + self.bias_bytes()
    }
}

/// A backward pass.
struct Backward<'a, R: Runtime> {
    gpu: &'a Gpu<R>,
    call: &'a Call,
    /// The gradient of the context, queries with keys and values, the context, log-sum-exp.
    given: [&'a Tensor; 4],
    bias: &'a QkvBias<'a, Tensor>,
    d_qkv: &'a Tensor,
    /// Gradients of the tables.
    tables: [Option<&'a Tensor>; 2],
}

impl<R: Runtime> Backward<'_, R> {
    fn gradients(&self) -> u32 {
        let [table, shared] = self.tables.map(|table| u32::from(table.is_some()));
        table + 2 * shared
    }

    fn kernel(
        &self,
        name: &'static str,
        own: &[(&'static str, usize)],
        units: usize,
        shared: usize,
    ) -> Native {
        Native { name, source: &BACKWARD, defines: self.call.defines(own), units: units as u32, shared }
    }

    /// All of a head of an image in the shared memory of a block, which takes several images in turn.
    fn resident(&self) {
        const WARPS: usize = 8;
        let Call { batch, heads, form, .. } = *self.call;
        let groups = (self.gpu.processors() / heads).clamp(1, batch);
        let own = [("RESIDENT", 1), ("WARPS", WARPS), ("ROW_TILES", 1), ("KEEP_KEYS", 1), ("MIN_BLOCKS", 1)];
        let rows = if form.biased() { form.bias_rows() } else { 1 };
        let partials = self.gpu.empty([groups, heads, rows], Dtype::F32);
        let [d_context, qkv, context, lse] = self.given;
        let first = [qkv, d_context, context, lse, self.bias.q, self.bias.v].map(Some);
        let rest = [self.bias.table, self.bias.shared, Some(self.d_qkv), Some(&partials)];
        let numbers = self.call.numbers(groups, self.gradients());
        let kernel = self.kernel("attention_backward", &own, 32 * WARPS, self.call.resident_bytes());
        let count = CubeCount::Static(groups as u32, heads as u32, 1);
        kernel.launch(self.gpu, count, &[&first[..], &rest].concat(), &numbers);
        self.fold(&partials, &own, numbers, (rows * heads).div_ceil(256));
    }

    /// Four tiles of tokens at a time.
    fn staged(&self) {
        const WARPS: usize = 4;
        const STAGE: usize = 4;
        let Call { batch, heads, tokens, .. } = *self.call;
        let tiles = self.call.tiles();
        let own = [("RESIDENT", 0), ("WARPS", WARPS), ("MIN_BLOCKS", 3)];
        // Two operands, then a pair of terms and a place for each row.
        let shared = 2 * STAGE * TILE + (8 + 4) * 16 * STAGE + self.call.bias_bytes();
        let numbers = self.call.numbers(1, self.gradients());
        let launch = |name, count: [usize; 3], buffers: &[Option<&Tensor>]| {
            let [x, y, z] = count.map(|extent| extent as u32);
            let kernel = self.kernel(name, &own, 32 * WARPS, shared);
            kernel.launch(self.gpu, CubeCount::Static(x, y, z), buffers, &numbers);
        };
        let [d_context, qkv, context, lse] = self.given.map(Some);
        let [q, v] = [self.bias.q, self.bias.v].map(Some);
        let (table, shared_table) = (self.bias.table, self.bias.shared);
        let delta = self.gpu.empty([batch, heads, tokens], Dtype::F32);
        let (d_qkv, delta) = (Some(self.d_qkv), Some(&delta));
        let blocks = [tiles.div_ceil(WARPS), heads, batch];
        let buffers = [qkv, d_context, context, lse, q, v, table, shared_table, d_qkv, delta];
        launch("attention_backward_queries", blocks, &buffers);
        let buffers = [qkv, d_context, lse, delta, q, table, shared_table, d_qkv];
        launch("attention_backward_keys", blocks, &buffers);
        if self.gradients() == 0 {
            return;
        }
        let d_scores = self.gpu.empty([heads, tokens, tokens], Dtype::F32);
        let blocks = [tiles.div_ceil(WARPS), tiles.div_ceil(STAGE), heads];
        let buffers = [qkv, d_context, lse, delta, q, table, shared_table, Some(&d_scores)];
        launch("attention_backward_scores", blocks, &buffers);
        self.fold(&d_scores, &own, numbers, (self.call.form.bias_rows() * heads).div_ceil(8));
    }

    /// Adds to the gradients of the tables.
    fn fold(&self, sums: &Tensor, own: &[(&'static str, usize)], numbers: [u32; 5], blocks: usize) {
        if self.gradients() == 0 {
            return;
        }
        let [table, shared] = self.tables;
        let kernel = self.kernel("attention_fold", own, 256, 16);
        kernel.launch(
            self.gpu,
            CubeCount::Static(blocks as u32, 1, 1),
            &[Some(sums), table, shared],
            &numbers,
        );
    }
}
