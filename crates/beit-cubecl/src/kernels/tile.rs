//! The sizes of the tiles of a matrix product, and which of them a product gets.
//!
//! ```text
//!                n                                       one block computes one tile of the result
//!        +-----------------+
//!        |  w0  |  w1  |...|      portable tensor cores: 8 warps on a grid of `warps[0]` x `warps[1]`; a warp has
//!      m |------+------+---|      4 x 4, 2 x 4, 2 x 2 or 1 x 2 fragments of 16 x 16
//!        |  ..  |  ..  |   |
//!        +-----------------+      the sum over k goes in steps of `k`: 32 here, 64 on Hopper, 16 without tensor cores
//! ```
//!
//! A larger tile reads fewer bytes for each multiplication. A smaller one makes more blocks, so that all multiprocessors have
//! work. The choices below are measured where a measurement is named (docs/bench/gpu.md) and follow that rule elsewhere.

/// Side of the fragments that tensor cores multiply.
pub(crate) const FRAGMENT: usize = 16;

/// The tile of the result that a block computes, and how far it goes along the summed axis at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Rows.
    pub m: usize,
    /// Columns.
    pub n: usize,
    /// Elements along the summed axis.
    pub k: usize,
    /// Warps along m and n; only with tensor cores.
    pub warps: [usize; 2],
    /// Whether tensor cores multiply.
    pub tensor_cores: bool,
    /// Whether they are Hopper's: the kernel of `cuda/product.cu`.
    pub hopper: Option<Hopper>,
}

/// What the kernel for Hopper is compiled for, besides the extents of its tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hopper {
    /// Buffers in shared memory, each for one step of both operands.
    pub stages: usize,
    /// Blocks that a multiprocessor runs at a time.
    pub blocks: usize,
}

/// Without tensor cores: each of 16 x 16 threads has 4 x 4 sums.
const PLAIN: Tile = Tile { m: 64, n: 64, k: 16, warps: [1, 1], tensor_cores: false, hopper: None };

/// Tiles for portable tensor cores, from the largest to the smallest.
pub const CANDIDATES: [Tile; 4] = [
    portable(128, 256, [2, 4]),
    portable(128, 128, [4, 2]),
    portable(128, 64, [4, 2]),
    portable(64, 64, [4, 2]),
];

const fn portable(m: usize, n: usize, warps: [usize; 2]) -> Tile {
    Tile { m, n, k: 32, warps, tensor_cores: true, hopper: None }
}

/// Tiles for Hopper's tensor cores: two warpgroups of 128 threads, each with 64 rows.
///
/// Shared memory limits the number of buffers, registers the number of blocks. Two blocks of 128 columns were faster than one
/// of 256 at most of the models' products: while one block writes its result the other computes.
pub const HOPPER: [Tile; 4] = [hopper(256, 4, 1), hopper(128, 3, 2), hopper(128, 6, 1), hopper(64, 3, 3)];

const fn hopper(n: usize, stages: usize, blocks: usize) -> Tile {
    Tile { m: 128, n, k: 64, warps: [1, 1], tensor_cores: true, hopper: Some(Hopper { stages, blocks }) }
}

/// The largest candidate that is taken without a measurement: two blocks of it fit a multiprocessor.
const DEFAULT: usize = 1;

/// Shapes for which a candidate was measured to be best: `([least rows, columns, summed over], candidate)`. Empty: no measurement
/// of `examples/candidates.rs` has been entered.
const MEASURED: [([usize; 3], usize); 0] = [];

impl Tile {
    /// The tile for a product `[m, n]` over `k`, on a device with so many multiprocessors.
    pub(crate) fn pick([m, n, k]: [usize; 3], multiprocessors: usize, tensor_cores: bool) -> Self {
        if !tensor_cores {
            return PLAIN;
        }
        let measured = MEASURED.iter().find(|(shape, _)| m >= shape[0] && [n, k] == shape[1..]);
        let by_rule = || {
            // With fewer tiles than multiprocessors, some would have nothing to do.
            let enough = |&i: &usize| CANDIDATES[i].count([m, n]) >= multiprocessors;
            (DEFAULT..CANDIDATES.len()).find(enough).unwrap_or(CANDIDATES.len() - 1)
        };
        CANDIDATES[measured.map_or_else(by_rule, |&(_, candidate)| candidate)]
    }

    /// The tile for a product `[m, n]` over `k` on Hopper's tensor cores.
    pub(crate) fn pick_hopper([_, n, k]: [usize; 3]) -> Self {
        HOPPER[match () {
            () if n <= 64 => 3,
            // The longer the sum, the smaller the part of the time in which a block writes, and in which a second block would
            // help.
            () if k > 1024 => 2,
            () => 1,
        }]
    }

    /// How many tiles cover a result `[m, n]`.
    pub(crate) fn count(&self, [m, n]: [usize; 2]) -> usize {
        m.div_ceil(self.m) * n.div_ceil(self.n)
    }

    /// How far the sum over `k` goes in one block: a multiple of the tile's k, at least eight steps. Less than `k` where the
    /// sum is split among blocks (split-K).
    pub(crate) fn k_per_block(&self, extents: [usize; 2], k: usize, multiprocessors: usize) -> usize {
        let most = (k / (8 * self.k)).max(1);
        let splits = match self.hopper {
            Some(hopper) => self.best_splits(extents, k, multiprocessors * hopper.blocks).min(most),
            // Enough for two blocks on each multiprocessor where the result alone has fewer.
            None => (2 * multiprocessors).div_ceil(self.count(extents)).min(most),
        };
        k.div_ceil(splits).next_multiple_of(self.k)
    }

    /// Into how many parts the sum is best split where `slots` blocks run at a time.
    ///
    /// Blocks run in rounds of `slots`, and a round takes as long as one part. Each further part is another partial result to
    /// write and to add.
    fn best_splits(&self, [m, n]: [usize; 2], k: usize, slots: usize) -> usize {
        /// What a tile takes besides its products, in steps along the sum.
        const OVERHEAD: usize = 6;
        /// Elements of partial results that are written and added in the time of one step.
        const ADDED_PER_STEP: usize = 250_000;
        let cost = |&splits: &usize| {
            let rounds = (self.count([m, n]) * splits).div_ceil(slots);
            rounds * (k.div_ceil(splits * self.k) + OVERHEAD) + splits * m * n / ADDED_PER_STEP
        };
        (1..=16).min_by_key(cost).unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The multiprocessors of an H100.
    const H100: usize = 132;

    #[test]
    fn tiles_fit_warps_and_fragments() {
        for tile in CANDIDATES {
            assert_eq!(tile.warps[0] * tile.warps[1], 8, "eight warps of 32 threads");
            assert!(tile.m % (FRAGMENT * tile.warps[0]) == 0 && tile.n % (FRAGMENT * tile.warps[1]) == 0);
            assert!(tile.k % FRAGMENT == 0);
        }
    }

    #[test]
    fn small_results_take_small_tiles_and_long_sums_are_split() {
        let rows = 128 * 197;
        assert_eq!(Tile::pick([rows, 3072, 768], H100, true), CANDIDATES[1]);
        assert_eq!(Tile::pick([197, 768, 768], H100, true), CANDIDATES[3]);
        assert_eq!(Tile::pick([rows, 3072, 768], H100, false), PLAIN);
        let gradient = Tile::pick([768, 768, rows], H100, true);
        assert_eq!((gradient, gradient.k_per_block([768, 768], rows, H100)), (CANDIDATES[3], rows / 2));
        assert_eq!(CANDIDATES[1].k_per_block([rows, 3072], 768, H100), 768);
    }

    #[test]
    fn long_sums_fill_hopper() {
        let rows = 128 * 197;
        let tile = Tile::pick_hopper([768, 768, rows]);
        assert_eq!(tile.count([768, 768]), 36);
        // Seven parts of 36 tiles are two rounds of 132 blocks, eight are three.
        assert_eq!(rows.div_ceil(tile.k_per_block([768, 768], rows, H100)), 7);
        assert_eq!(tile.k_per_block([rows, 3072], 768, H100), 768);
    }
}
