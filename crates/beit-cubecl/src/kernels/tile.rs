//! How large the tiles of a matrix product are.

/// Side of the fragments that tensor cores multiply.
pub(crate) const CORE: usize = 16;

/// The tile of the result that a cube computes, and how far it goes along the axis that is summed over at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Rows.
    pub m: usize,
    /// Columns.
    pub n: usize,
    /// Along the axis that is summed over.
    pub k: usize,
    /// Planes along m and n; only with tensor cores.
    pub planes: [usize; 2],
    /// Whether tensor cores multiply.
    pub cores: bool,
    /// Whether they are Hopper's: the kernel of `cuda/product.cu`.
    pub hopper: Option<Hopper>,
}

/// What the kernel for Hopper is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hopper {
    /// Buffers for tiles of the operands.
    pub stages: usize,
    /// Blocks that a multiprocessor runs at a time.
    pub blocks: usize,
}

/// Plain multiply-adds: each of 16 x 16 units has 4 x 4 sums.
const PLAIN: Tile = Tile { m: 64, n: 64, k: 16, planes: [1, 1], cores: false, hopper: None };

/// What tensor cores may use, from the largest to the smallest: a plane has 4 x 4, 2 x 4, 2 x 2 or 1 x 2 fragments. The larger
/// the part of a plane, the fewer bytes of shared memory it reads for each multiplication; the smaller the tile, the more
/// cubes there are.
pub const CANDIDATES: [Tile; 4] =
    [planes(128, 256, [2, 4]), planes(128, 128, [4, 2]), planes(128, 64, [4, 2]), planes(64, 64, [4, 2])];

const fn planes(m: usize, n: usize, planes: [usize; 2]) -> Tile {
    Tile { m, n, k: 32, planes, cores: true, hopper: None }
}

/// What Hopper's tensor cores may use: two warpgroups, each with 64 rows of the tile.
pub const HOPPER: [Tile; 4] = [hopper(256, 4, 1), hopper(128, 3, 2), hopper(128, 6, 1), hopper(64, 3, 3)];

const fn hopper(n: usize, stages: usize, blocks: usize) -> Tile {
    Tile { m: 128, n, k: 64, planes: [1, 1], cores: true, hopper: Some(Hopper { stages, blocks }) }
}

/// The largest candidate that is taken without a measurement that asks for a larger one: two cubes of it fit a multiprocessor.
const USUAL: usize = 1;

/// Shapes for which a candidate was measured to be best: `([rows at least, columns, summed over], candidate)`. Empty until a
/// device has measured them with `cargo xtask bench gpu`; see docs/bench/gpu.md.
const MEASURED: [([usize; 3], usize); 0] = [];

impl Tile {
    /// The tile for a product `[m, n]` over `k`, on a device of `processors` multiprocessors.
    pub(crate) fn pick([m, n, k]: [usize; 3], processors: usize, cores: bool) -> Self {
        if !cores {
            return PLAIN;
        }
        let measured = MEASURED.iter().find(|(shape, _)| m >= shape[0] && [n, k] == shape[1..]);
        let by_rule = || {
            // With less than one tile for each multiprocessor, smaller ones fill more of the device.
            let enough = |&i: &usize| CANDIDATES[i].count([m, n]) >= processors;
            (USUAL..CANDIDATES.len()).find(enough).unwrap_or(CANDIDATES.len() - 1)
        };
        CANDIDATES[measured.map_or_else(by_rule, |&(_, candidate)| candidate)]
    }

    /// The tile for a product `[m, n]` over `k` that Hopper's tensor cores can do.
    pub(crate) fn pick_hopper([_, n, k]: [usize; 3]) -> Self {
        HOPPER[match () {
            () if n <= 64 => 3,
            // Blocks with a long way to go need no other that computes while they write.
            () if k > 1024 => 2,
            () => 1,
        }]
    }

    /// How many tiles cover a result `[m, n]`.
    pub(crate) fn count(&self, [m, n]: [usize; 2]) -> usize {
        m.div_ceil(self.m) * n.div_ceil(self.n)
    }

    /// How far the sum over `k` goes in one cube, a multiple of the tile's, at least eight steps long.
    pub(crate) fn span(&self, extents: [usize; 2], k: usize, processors: usize) -> usize {
        let most = (k / (8 * self.k)).max(1);
        let pieces = match self.hopper {
            Some(hopper) => self.pieces(extents, k, processors * hopper.blocks).min(most),
            // Short enough for two cubes on each multiprocessor where the result alone has fewer.
            None => (2 * processors).div_ceil(self.count(extents)).min(most),
        };
        k.div_ceil(pieces).next_multiple_of(self.k)
    }

    /// Into how many pieces the sum is best cut where `places` tiles are computed at a time. Blocks take turns, each turn as long as a
    /// piece; another piece is another result to write and to add.
    fn pieces(&self, [m, n]: [usize; 2], k: usize, places: usize) -> usize {
        /// What a tile takes besides its products, in steps along the sum.
        const BESIDES: usize = 6;
        /// Numbers that are written and added again in the time of such a step.
        const ADDED: usize = 250_000;
        let cost = |&pieces: &usize| {
            let turns = (self.count([m, n]) * pieces).div_ceil(places);
            turns * (k.div_ceil(pieces * self.k) + BESIDES) + pieces * m * n / ADDED
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
    fn tiles_fit_planes_and_units() {
        for tile in CANDIDATES {
            assert_eq!(tile.planes[0] * tile.planes[1], 8, "eight planes of 32 units");
            assert!(tile.m % (CORE * tile.planes[0]) == 0 && tile.n % (CORE * tile.planes[1]) == 0);
            assert!(tile.k % CORE == 0);
        }
    }

    #[test]
    fn small_results_take_small_tiles_and_long_sums_are_cut() {
        let rows = 128 * 197;
        assert_eq!(Tile::pick([rows, 3072, 768], H100, true), CANDIDATES[1]);
        assert_eq!(Tile::pick([197, 768, 768], H100, true), CANDIDATES[3]);
        assert_eq!(Tile::pick([rows, 3072, 768], H100, false), PLAIN);
        let gradient = Tile::pick([768, 768, rows], H100, true);
        assert_eq!((gradient, gradient.span([768, 768], rows, H100)), (CANDIDATES[3], rows / 2));
        assert_eq!(CANDIDATES[1].span([rows, 3072], 768, H100), 768);
    }

    #[test]
    fn long_sums_fill_hopper() {
        let rows = 128 * 197;
        let tile = Tile::pick_hopper([768, 768, rows]);
        assert_eq!(tile.count([768, 768]), 36);
        // Seven pieces of 36 tiles are two turns of 132 blocks, eight are three.
        assert_eq!(rows.div_ceil(tile.span([768, 768], rows, H100)), 7);
        assert_eq!(tile.span([rows, 3072], 768, H100), 768);
    }
}
