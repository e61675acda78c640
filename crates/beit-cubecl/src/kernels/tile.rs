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
    /// Whether they are Hopper's: the kernels of `cuda/product.cu` and `cuda/product_persistent.cu`.
    pub hopper: Option<Hopper>,
}

/// What the kernel for Hopper is compiled for, besides the extents of its tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hopper {
    /// Buffers in shared memory, each for one step of both operands.
    pub stages: usize,
    /// Blocks that a multiprocessor runs at a time.
    pub blocks: usize,
    /// Whether blocks take one tile after another, with a warpgroup that only copies: the kernel of `cuda/product_persistent.cu`.
    pub persistent: bool,
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
///
/// No measurement of the last, the persistent one, has been entered: it is taken where it is asked for.
pub const HOPPER: [Tile; 5] =
    [hopper(256, 4, 1), hopper(128, 3, 2), hopper(128, 6, 1), hopper(64, 3, 3), persistent(256, 4)];

const fn hopper(n: usize, stages: usize, blocks: usize) -> Tile {
    on_hopper(n, Hopper { stages, blocks, persistent: false })
}

const fn persistent(n: usize, stages: usize) -> Tile {
    on_hopper(n, Hopper { stages, blocks: 1, persistent: true })
}

const fn on_hopper(n: usize, hopper: Hopper) -> Tile {
    Tile { m: 128, n, k: 64, warps: [1, 1], tensor_cores: true, hopper: Some(hopper) }
}

/// The largest candidate that is taken without a measurement: two blocks of it fit a multiprocessor.
const DEFAULT: usize = 1;

/// Shapes for which a candidate was measured to be best: `([least rows, columns, summed over], candidate)`. Empty: none has been
/// measured (`bench gpu --only products` with `BEIT_CUDA_TILE`).
const MEASURED: [([usize; 3], usize); 0] = [];

impl Tile {
    /// The tile of this name: `portable-1` is the second of [`CANDIDATES`], `hopper-4` the fifth of [`HOPPER`].
    pub fn named(name: &str) -> Option<Self> {
        let (list, number) = name.split_once('-')?;
        let tiles: &[Self] = match list {
            "portable" => &CANDIDATES,
            "hopper" => &HOPPER,
            _ => return None,
        };
        tiles.get(number.parse::<usize>().ok()?).copied()
    }

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

    /// The tile for a product `[m, n]` over `k` on Hopper's tensor cores. `windows`: A is the patches of a feature map.
    pub(crate) fn pick_hopper([_, n, k]: [usize; 3], windows: bool) -> Self {
        HOPPER[match () {
            () if n <= 64 => 3,
            // However long their sums are, two blocks were faster: copies of patches wait for each other more.
            () if windows => 1,
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

    /// The grid for a result `[m, n]` whose sums are cut into `splits`, where y counts at most `most` blocks.
    ///
    /// ```text
    /// block x + y · (blocks along x) has tile         0   1   2         x counts the tiles of one row
    ///                                                 3   4   5         or, where those of a column are more than `most`,
    ///                                                 :   :   :         of several rows
    /// ```
    pub(crate) fn grid(&self, [m, n]: [usize; 2], splits: usize, most: usize) -> [u32; 3] {
        let (rows, columns) = (m.div_ceil(self.m), n.div_ceil(self.n));
        let rows_along_x = rows.div_ceil(most).max(1);
        [columns * rows_along_x, rows.div_ceil(rows_along_x), splits].map(|extent| extent as u32)
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
    fn names() {
        assert_eq!(Tile::named("portable-1"), Some(CANDIDATES[1]));
        assert_eq!(Tile::named("hopper-4"), Some(HOPPER[4]));
        assert!(
            ["", "hopper", "hopper-5", "hopper--1", "portable-x", "volta-0"]
                .iter()
                .all(|name| Tile::named(name).is_none())
        );
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
        let tile = Tile::pick_hopper([768, 768, rows], false);
        assert_eq!(tile.count([768, 768]), 36);
        // Seven parts of 36 tiles are two rounds of 132 blocks, eight are three.
        assert_eq!(rows.div_ceil(tile.k_per_block([768, 768], rows, H100)), 7);
        assert_eq!(tile.k_per_block([rows, 3072], 768, H100), 768);
    }

    /// The tokenizer's filters of 3 x 3 from 112 x 112 down to 14 x 14, and products of matrices.
    #[test]
    fn windows_take_two_blocks_however_long_their_sums_are() {
        let picked =
            |n, k, windows| Tile::pick_hopper([25_088, n, k], windows).hopper.map(|h| (h.stages, h.blocks));
        for (n, k) in [(128, 1152), (256, 2304), (512, 4608), (2048, 4608)] {
            assert_eq!(picked(n, k, true), Some((3, 2)), "{n} columns over {k}");
        }
        assert_eq!(picked(64, 576, true), Some((3, 3)), "64 columns have a tile of their own");
        assert_eq!(picked(768, 3072, false), Some((6, 1)), "matrices with long sums");
        assert_eq!(picked(768, 768, false), Some((3, 2)), "matrices with short sums");
    }

    /// The tiles of the blocks of a grid, as kernels compute them.
    fn tiles_of_blocks(tile: &Tile, [m, n]: [usize; 2], [x, y, _]: [u32; 3]) -> Vec<u8> {
        let (rows, columns) = (m.div_ceil(tile.m), n.div_ceil(tile.n));
        let mut taken = vec![0; rows * columns];
        for block in 0..x as usize * y as usize {
            if block / columns < rows {
                taken[block] += 1;
            }
        }
        taken
    }

    /// The most blocks of a grid of CUDA along y and z.
    const MOST: usize = 65_535;

    #[test]
    fn grids_of_large_batches_keep_to_the_limits_of_cuda() {
        let tile = HOPPER[3];
        for batch in [1, 128, 668, 669, 700, 5000] {
            let extents = [batch * 112 * 112, 64];
            let grid = tile.grid(extents, 1, MOST);
            assert!(
                grid[0] <= i32::MAX as u32 && grid[1] as usize <= MOST && grid[2] == 1,
                "{batch}: {grid:?}"
            );
            let spare = grid[0] as usize * grid[1] as usize - tile.count(extents);
            assert!(spare < grid[0] as usize, "{batch}: {spare} blocks without a tile");
            assert!(
                tiles_of_blocks(&tile, extents, grid).iter().all(|&blocks| blocks == 1),
                "{batch}: {grid:?}"
            );
        }
        assert_eq!(tile.grid([700 * 112 * 112, 64], 1, MOST), [2, 34_300, 1]);
        assert_eq!(
            HOPPER[1].grid([25_216, 2304], 3, MOST),
            [18, 197, 3],
            "as they lie where nothing is too large"
        );
        assert_eq!(HOPPER[1].grid([300, 300], 1, 2), [6, 2, 1], "three rows, two along x");
    }
}
