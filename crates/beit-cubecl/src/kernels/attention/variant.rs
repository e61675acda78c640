//! What the kernels of an attention are compiled for: sizes of tiles, and how they lie in shared memory.
//!
//! ```text
//! KiB of a block of the backward pass     f32, tiles of 16       bf16, tiles of 64
//! heads of                                64    88, 96   128     64    88, 96   128
//! four operands side by side              24    34       44      89    113      137
//! two, which take turns                   16    22       28      71    87       103
//! ```

use crate::kernels::sums::{SharedLayout, TileShape};
use crate::launch::THREADS;
use beit_ops::relative_position_rows;

/// Queries, or keys, of a tile on tensor cores: two rows of fragments for each of the four warps along it.
const LARGE: usize = 64;

/// Queries, or keys, of a tile of plain multiply-adds. Four tiles of 16 x 64 elements, or two of 16 x 128, leave room for the rest
/// in 32 KiB, all the shared memory that a Vulkan device is sure to have.
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
    /// Whether in the backward pass queries and the gradient of their context take turns in one tile, and keys and values in
    /// another: where four tiles are more than the device has. Costs a second load of each.
    pub(crate) turns: bool,
}

impl Variant {
    /// For a device with so many bytes of shared memory a block.
    pub(super) fn new(
        d: usize,
        window: [usize; 2],
        tables: [bool; 2],
        tensor_cores: bool,
        shared_memory: usize,
    ) -> Self {
        let bytes = 4 * relative_position_rows(window);
        let tile = if tensor_cores { LARGE } else { SMALL };
        let bias_shared = tensor_cores || bytes <= SMALL_BIAS;
        let all = Self { d, window, tables, bias_shared, tile, tensor_cores, turns: false };
        Self { turns: all.backward_bytes() > shared_memory, ..all }
    }

    /// Bytes of shared memory of a block of the backward pass: operands, scores and their gradients, what the second products read,
    /// the bias, log-sum-exp and delta.
    fn backward_bytes(&self) -> usize {
        let element = if self.tensor_cores { 2 } else { 4 };
        let operands = if self.turns { 2 } else { 4 };
        let elements = operands * self.tile_stride() + 2 * self.probs_stride();
        self.tile * (element * elements + 4 * (self.staging_stride() + self.scores_stride() + 2))
            + 4 * self.bias_len()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What Vulkan devices have at least, small NVIDIA devices, and an H100.
    const DEVICES: [usize; 3] = [32 << 10, 99 << 10, 227 << 10];

    /// Heads of 64 never take turns; those up to 128 in f32, and up to 96 in bf16, fit everywhere. The tables are the largest that
    /// shared memory is asked to hold.
    #[test]
    fn the_backward_pass_fits() {
        let window = [16, 16];
        for (d, tensor_cores, turns) in [
            (32, false, [false; 3]),
            (64, false, [false; 3]),
            (88, false, [true, false, false]),
            (96, false, [true, false, false]),
            (128, false, [true, false, false]),
            (64, true, [true, false, false]),
            (88, true, [true, true, false]),
            (96, true, [true, true, false]),
        ] {
            // There are no tensor cores where there are 32 KiB.
            for (device, turns) in DEVICES.into_iter().zip(turns).skip(usize::from(tensor_cores)) {
                let variant = Variant::new(d, window, [true, false], tensor_cores, device);
                assert_eq!(variant.turns, turns, "heads of {d}, {device} bytes");
                assert!(variant.backward_bytes() <= device, "{variant:?} takes {}", variant.backward_bytes());
            }
        }
    }
}
