//! Launching the attention of `cuda/attention_*.cu`: heads of up to 128 elements, multiples of 8, in bf16 on the `mma` instructions of
//! a warp's tensor cores. Scores are in registers and nowhere else. The tilings are drawn in those files.
//!
//! ```text
//! forward                    7 warps, all keys and values of a head in shared memory      up to 208 tokens, as long as it fits
//!                            4 warps, 64 keys and values at a time                        beyond
//! backward, resident         8 warps, all of a head in shared memory, images in turn      heads of 64, as long as it fits
//! backward, staged           4 warps, 64 tokens at a time, one kernel for each gradient   all others
//! ```

use super::call::Call;
use crate::gpu::Gpu;
use crate::kernels::native::{Native, Source};
use crate::tensor::{Dtype, Tensor};
use beit_ops::{QkvBias, QkvBiasGrad};
use cubecl::prelude::*;

/// A function of CUDA C++ and its files.
#[derive(Clone, Copy)]
struct Function {
    name: &'static str,
    source: Source,
}

macro_rules! function {
    ($name:literal: $($file:literal),+) => {
        Function {
            name: $name,
            source: Source::new(&[
                include_str!("../cuda/mma.cuh"),
                include_str!("../cuda/attention.cuh"),
                $(include_str!(concat!("../cuda/", $file))),+
            ]),
        }
    };
}
const FORWARD: Function = function!("attention_forward": "attention_forward.cu");
const RESIDENT: Function =
    function!("attention_backward": "attention_backward.cuh", "attention_table.cuh", "attention_resident.cu");
const FOLD_PARTIALS: Function = function!("attention_fold_partials": "attention_fold_partials.cu");
const QUERIES: Function = function!("attention_backward_queries": "attention_backward.cuh", "attention_staged.cuh", "attention_queries.cu");
const KEYS: Function = function!("attention_backward_keys": "attention_backward.cuh", "attention_staged.cuh", "attention_keys.cu");
const SCORES: Function = function!("attention_backward_scores": "attention_backward.cuh", "attention_staged.cuh", "attention_scores.cu");
const FOLD_SCORES: Function = function!("attention_fold_scores": "attention_fold_scores.cu");

/// Elements of the heads that the backward pass with all of a head in shared memory is written for.
const RESIDENT_HEAD: usize = 64;
/// The most elements of a head: with more, the sums of its gradients do not fit the registers.
const MOST_ELEMENTS: usize = 128;
/// Threads of a block that adds up the gradient of a table.
const FOLD_THREADS: usize = 256;
/// Distances between columns of patches that a warp has a lane for. Three lanes are left for the rows of [CLS].
const COLUMN_LANES: usize = 29;

/// How the work of the forward pass is divided. Which is fastest was measured on an H200: docs/bench/gpu.md.
struct Division {
    warps: usize,
    /// Tiles of queries that a warp has in registers at once.
    row_tiles: usize,
    /// Tiles of keys that the softmax sees at once.
    softmax_tiles: usize,
    /// Tiles of keys that shared memory holds at once.
    stage: usize,
    /// Tiles of queries that a warp takes one after another.
    passes: usize,
    /// Blocks that a multiprocessor runs at a time.
    blocks: usize,
}

/// The most tiles of keys that a block of the forward pass holds all at once: those of 197 tokens. Seven warps take their
/// queries in two passes.
const MOST_RESIDENT: usize = 13;

impl Division {
    /// With all `tiles` tiles of keys of heads of `d` elements in shared memory. Larger heads leave fewer registers for scores. Only
    /// those of heads of 64 were measured; the others are what the assembler makes of the registers without spilling them.
    fn resident(tiles: usize, d: usize) -> Self {
        let (softmax_tiles, blocks) = match d {
            ..=64 => (7, 2),
            65..=96 => (3, 2),
            _ => (4, 1),
        };
        Self { warps: 7, row_tiles: 1, softmax_tiles, stage: tiles, passes: 2, blocks }
    }

    /// With four tiles of keys at a time.
    fn in_stages(d: usize) -> Self {
        let row_tiles = if d > 64 { 1 } else { 2 };
        Self { warps: 4, row_tiles, softmax_tiles: 4, stage: 4, passes: 1, blocks: 1 }
    }
}

impl Call {
    /// Whether the kernels in CUDA C++ can compute this call.
    pub(super) fn has_native<R: Runtime>(&self, gpu: &Gpu<R>) -> bool {
        let [height, width] = self.variant.window;
        let fits_table = !self.variant.biased() || height * width + 1 == self.tokens;
        let whole_chunks = self.variant.d.is_multiple_of(8) && self.variant.d <= MOST_ELEMENTS;
        gpu.has_mma() && whole_chunks && fits_table
    }

    /// Bytes of 16 rows of queries, keys or values of a head in shared memory: `ROW` of `cuda/attention.cuh`.
    fn tile_bytes(&self) -> usize {
        let padded = self.variant.d.next_multiple_of(32);
        16 * (2 * padded + if padded.is_multiple_of(64) { 0 } else { 16 })
    }

    fn tiles(&self) -> usize {
        self.tokens.div_ceil(16)
    }

    /// What a kernel is compiled for: what all of them have, and its own.
    fn defines(&self, own: &[(&'static str, usize)]) -> Vec<(&'static str, usize)> {
        let [height, width] = self.variant.window;
        let [table, shared] = self.variant.tables.map(usize::from);
        let common = [
            ("HEAD_DIM", self.variant.d),
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

    /// Bytes of the bias of a head in shared memory: `BIAS_LEN` numbers.
    fn bias_bytes(&self) -> usize {
        let [height, width] = self.variant.window;
        let span = (height - 1) * (2 * width - 1) + width;
        if self.variant.biased() { 4 * (5 * span - 1) } else { 0 }
    }

    /// Bytes of the offsets into the bias of `tiles` tiles of tokens.
    fn offsets_bytes(&self, tiles: usize) -> usize {
        if self.variant.biased() { 4 * 16 * tiles } else { 0 }
    }

    /// Of the forward pass on a device with so many bytes of shared memory a block.
    fn division(&self, shared_memory: usize) -> Division {
        let resident = Division::resident(self.tiles(), self.variant.d);
        if self.tiles() <= MOST_RESIDENT && self.forward_bytes(&resident) <= shared_memory {
            resident
        } else {
            Division::in_stages(self.variant.d)
        }
    }

    /// Bytes of shared memory of a block of the forward pass.
    fn forward_bytes(&self, division: &Division) -> usize {
        // Two buffers of keys and of values where they come in stages.
        let buffers = if self.tiles() > division.stage { 2 } else { 1 };
        2 * buffers * division.stage * self.tile_bytes()
            + self.offsets_bytes(self.tiles())
            + self.bias_bytes()
    }

    pub(super) fn forward_native<R: Runtime>(
        &self,
        gpu: &Gpu<R>,
        qkv: &Tensor,
        bias: &QkvBias<'_, Tensor>,
        [context, lse]: [&Tensor; 2],
    ) {
        let tiles = self.tiles();
        let division = self.division(gpu.shared_memory());
        let defines = self.defines(&[
            ("WARPS", division.warps),
            ("ROW_TILES", division.row_tiles),
            ("SOFTMAX_TILES", division.softmax_tiles),
            ("STAGE", division.stage),
            ("PASSES", division.passes),
            ("MIN_BLOCKS", division.blocks),
        ]);
        let shared = self.forward_bytes(&division);
        let threads = 32 * division.warps as u32;
        let kernel = Native { name: FORWARD.name, source: FORWARD.source, defines, threads, shared };
        let blocks = tiles.div_ceil(division.passes * division.warps * division.row_tiles);
        let count = CubeCount::Static(blocks as u32, self.heads as u32, self.batch as u32);
        let buffers =
            [Some(qkv), Some(bias.q), Some(bias.v), bias.table, bias.shared, Some(context), Some(lse)];
        kernel.launch(gpu, count, &buffers, &self.numbers(1, 0));
    }

    /// Writes `d_qkv` and adds to the gradients of the tables.
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
        let fits = self.variant.d == RESIDENT_HEAD && self.resident_bytes() <= gpu.shared_memory();
        if fits && 2 * self.variant.window[1] - 1 <= COLUMN_LANES {
            backward.resident()
        } else {
            backward.staged()
        }
    }

    /// Bytes of shared memory for all of a head: queries, the context's gradient, the keys of two images, `dSᵀ`, log-sum-exp
    /// and delta.
    fn resident_bytes(&self) -> usize {
        let (tiles, rows) = (self.tiles(), 16 * self.tiles());
        4 * tiles * self.tile_bytes()
            + rows * (2 * rows + 16)
            + 8 * rows
            + self.offsets_bytes(tiles)
            + self.bias_bytes()
    }
}

/// What kernels that share their tiling are compiled for and launched with.
struct Family<'a> {
    own: &'a [(&'static str, usize)],
    warps: usize,
    /// Bytes of shared memory.
    shared: usize,
}

/// A backward pass.
struct Backward<'a, R: Runtime> {
    gpu: &'a Gpu<R>,
    call: &'a Call,
    /// The gradient of the context, queries with keys and values, the context, log-sum-exp.
    given: [&'a Tensor; 4],
    bias: &'a QkvBias<'a, Tensor>,
    d_qkv: &'a Tensor,
    /// The gradients of the tables that have one.
    tables: [Option<&'a Tensor>; 2],
}

impl<R: Runtime> Backward<'_, R> {
    /// Bit 0: the table has a gradient. Bit 1: the shared table has one.
    fn gradients(&self) -> u32 {
        let [table, shared] = self.tables.map(|table| u32::from(table.is_some()));
        table + 2 * shared
    }

    fn kernel(&self, family: &Family<'_>, Function { name, source }: Function) -> Native {
        let &Family { own, warps, shared } = family;
        Native { name, source, defines: self.call.defines(own), threads: 32 * warps as u32, shared }
    }

    /// A block has all of a head of an image in shared memory, and takes the images of its group in turn.
    fn resident(&self) {
        const WARPS: usize = 8;
        let Call { batch, heads, variant, .. } = *self.call;
        let groups = (self.gpu.multiprocessors() / heads).clamp(1, batch);
        let own = [("WARPS", WARPS), ("ROW_TILES", 1), ("KEYS_IN_REGISTERS", 1), ("MIN_BLOCKS", 1)];
        let shared = self.call.resident_bytes();
        let family = Family { own: &own, warps: WARPS, shared };
        let rows = if variant.biased() { variant.bias_rows() } else { 1 };
        let partials = self.gpu.empty([groups, heads, rows], Dtype::F32);
        let [d_context, qkv, context, lse] = self.given;
        let first = [qkv, d_context, context, lse, self.bias.q, self.bias.v].map(Some);
        let rest = [self.bias.table, self.bias.shared, Some(self.d_qkv), Some(&partials)];
        let numbers = self.call.numbers(groups, self.gradients());
        let count = CubeCount::Static(groups as u32, heads as u32, 1);
        let kernel = self.kernel(&family, RESIDENT);
        kernel.launch(self.gpu, count, &[&first[..], &rest].concat(), &numbers);
        let blocks = (rows * heads).div_ceil(FOLD_THREADS);
        self.fold(&family, FOLD_PARTIALS, &partials, numbers, blocks);
    }

    /// A block has four tiles of tokens in shared memory at a time.
    fn staged(&self) {
        const WARPS: usize = 4;
        const STAGE: usize = 4;
        let Call { batch, heads, tokens, .. } = *self.call;
        let tiles = self.call.tiles();
        // Larger heads need more registers than three blocks have.
        let least = if self.call.variant.d > 64 { 2 } else { 3 };
        let own = [("WARPS", WARPS), ("MIN_BLOCKS", least)];
        // Two operands; then log-sum-exp, delta and an offset for each row.
        let shared = 2 * STAGE * self.call.tile_bytes() + (8 + 4) * 16 * STAGE + self.call.bias_bytes();
        let family = Family { own: &own, warps: WARPS, shared };
        let numbers = self.call.numbers(1, self.gradients());
        let launch = |function, count: [usize; 3], buffers: &[Option<&Tensor>]| {
            let [x, y, z] = count.map(|extent| extent as u32);
            let kernel = self.kernel(&family, function);
            kernel.launch(self.gpu, CubeCount::Static(x, y, z), buffers, &numbers);
        };
        let [d_context, qkv, context, lse] = self.given.map(Some);
        let [q, v] = [self.bias.q, self.bias.v].map(Some);
        let (table, shared_table) = (self.bias.table, self.bias.shared);
        let delta = self.gpu.empty([batch, heads, tokens], Dtype::F32);
        let (d_qkv, delta) = (Some(self.d_qkv), Some(&delta));
        let blocks = [tiles.div_ceil(WARPS), heads, batch];
        let buffers = [qkv, d_context, context, lse, q, v, table, shared_table, d_qkv, delta];
        launch(QUERIES, blocks, &buffers);
        let buffers = [qkv, d_context, lse, delta, q, table, shared_table, d_qkv];
        launch(KEYS, blocks, &buffers);
        if self.gradients() == 0 {
            return;
        }
        let d_scores = self.gpu.empty([heads, tokens, tokens], Dtype::F32);
        let blocks = [tiles.div_ceil(WARPS), tiles.div_ceil(STAGE), heads];
        let buffers = [qkv, d_context, lse, delta, q, table, shared_table, Some(&d_scores)];
        launch(SCORES, blocks, &buffers);
        let blocks = (self.call.variant.bias_rows() * heads).div_ceil(FOLD_THREADS / 32);
        self.fold(&family, FOLD_SCORES, &d_scores, numbers, blocks);
    }

    /// Adds `sums` to the gradients of the tables.
    fn fold(&self, family: &Family<'_>, function: Function, sums: &Tensor, numbers: [u32; 5], blocks: usize) {
        if self.gradients() == 0 {
            return;
        }
        let [table, shared] = self.tables;
        let kernel = Native { threads: FOLD_THREADS as u32, shared: 16, ..self.kernel(family, function) };
        let count = CubeCount::Static(blocks as u32, 1, 1);
        kernel.launch(self.gpu, count, &[Some(sums), table, shared], &numbers);
    }
}
