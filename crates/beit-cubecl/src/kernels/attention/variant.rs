//! What the kernels of an attention are compiled for: sizes of tiles, and how they lie in shared memory.

use crate::kernels::sums::{SharedLayout, TileShape};
use crate::launch::THREADS;
use beit_ops::relative_position_rows;

/// Queries, or keys, of a tile on tensor cores: two rows of fragments for each of the four warps along it.
const LARGE: usize = 64;

/// Queries, or keys, of a tile of plain multiply-adds. Four tiles of 16 x 64 elements leave room for the rest in 32 KiB, all
/// the shared memory that a Vulkan device is sure to have.
const SMALL: usize = 16;

/// Bytes of shared memory that the relative position bias may take without tensor cores.
const SMALL_BIAS: usize = 4096;

/// Everything about an attention that its kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Variant {
    /// Elements of a head.
    pub(crate) d: usize,
    /// Height and width of the patch grid.
    pub(crate) window: [usize; 2],
    /// Whether there is a table of the layer, and one of all layers.
    pub(crate) tables: [bool; 2],
    /// Whether the bias of a head is copied to shared memory.
    pub(crate) bias_shared: bool,
    /// Queries, or keys, of a tile.
    pub(crate) tile: usize,
    /// Whether tensor cores multiply.
    pub(crate) tensor_cores: bool,
}

impl Variant {
    pub(super) fn new(d: usize, window: [usize; 2], tables: [bool; 2], tensor_cores: bool) -> Self {
        let bytes = 4 * relative_position_rows(window);
        let tile = if tensor_cores { LARGE } else { SMALL };
        Self { d, window, tables, bias_shared: tensor_cores || bytes <= SMALL_BIAS, tile, tensor_cores }
    }

    /// Whether there is a relative position bias.
    pub(crate) fn biased(&self) -> bool {
        self.tables[0] || self.tables[1]
    }

    /// Stride of the rows of a tile of scores in shared memory, in f32; 16 bytes of it against bank conflicts.
    pub(crate) fn scores_stride(&self) -> usize {
        self.tile + 4
    }

    /// Threads that share a row of scores.
    pub(crate) fn threads_per_row(&self) -> usize {
        THREADS as usize / self.tile
    }

    /// Elements of a head in shared memory: padded to whole fragments for every warp.
    pub(crate) fn padded(&self) -> usize {
        self.d.next_multiple_of(if self.tensor_cores { 32 } else { 16 })
    }

    /// Elements between rows against bank conflicts: 16 bytes of bf16, or one f32.
    fn padding(&self) -> usize {
        if self.tensor_cores { 8 } else { 1 }
    }

    /// Stride of the rows of a tile of queries, keys or values.
    pub(crate) fn tile_stride(&self) -> usize {
        self.padded() + self.padding()
    }

    /// Stride of the rows of a tile of probabilities.
    pub(crate) fn probs_stride(&self) -> usize {
        self.tile + self.padding()
    }

    /// Stride of the rows, in f32, of shared memory that holds a tile of scores first and a tile of results afterwards.
    pub(crate) fn staging_stride(&self) -> usize {
        self.scores_stride().max(self.padded() + 4)
    }

    /// Rows of the bias table.
    pub(crate) fn bias_rows(&self) -> usize {
        relative_position_rows(self.window)
    }

    /// Elements of shared memory for the bias.
    pub(crate) fn bias_len(&self) -> usize {
        if self.biased() && self.bias_shared { self.bias_rows() } else { 1 }
    }

    fn shape(&self, n: usize, k: usize, a: SharedLayout, b: SharedLayout) -> TileShape {
        TileShape { m: self.tile, n, k, a, b, warps: [4, 2], tensor_cores: self.tensor_cores }
    }

    /// `[queries, D] · [keys, D]ᵀ`
    pub(crate) fn scores(&self) -> TileShape {
        let layout = SharedLayout { k_contiguous: true, stride: self.tile_stride() };
        self.shape(self.tile, self.padded(), layout, layout)
    }

    /// `[queries, keys] · [keys, D]`
    pub(crate) fn mix(&self) -> TileShape {
        let probs = SharedLayout { k_contiguous: true, stride: self.probs_stride() };
        let values = SharedLayout { k_contiguous: false, stride: self.tile_stride() };
        self.shape(self.padded(), self.tile, probs, values)
    }

    /// `[queries, keys]ᵀ · [queries, D]`
    pub(crate) fn mix_transposed(&self) -> TileShape {
        let probs = SharedLayout { k_contiguous: false, stride: self.probs_stride() };
        let queries = SharedLayout { k_contiguous: false, stride: self.tile_stride() };
        self.shape(self.padded(), self.tile, probs, queries)
    }
}
