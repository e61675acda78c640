//! How large the tiles of a matrix product are.

/// Side of the fragments that tensor cores multiply.
pub(crate) const CORE: usize = 16;

/// The tile of the result that a cube computes, and how far it goes along the axis that is summed over at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Tile {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    /// Planes along m and n; only with tensor cores.
    pub(crate) planes: [usize; 2],
    /// Whether tensor cores multiply.
    pub(crate) cores: bool,
}

/// Plain multiply-adds: each of 16 x 16 units has 4 x 4 sums.
const PLAIN: Tile = Tile { m: 64, n: 64, k: 16, planes: [1, 1], cores: false };

/// For results with many tiles: each of 4 x 2 planes has 2 x 4 fragments.
const LARGE: Tile = Tile { m: 128, n: 128, k: 32, planes: [4, 2], cores: true };

/// For results of few columns or few rows: each of 4 x 2 planes has 1 x 2 fragments.
const SMALL: Tile = Tile { m: 64, n: 64, k: 32, planes: [4, 2], cores: true };

impl Tile {
    /// The tile for a result `[m, n]`, on a device of `processors` multiprocessors.
    pub(crate) fn pick([m, n]: [usize; 2], processors: usize, cores: bool) -> Self {
        if !cores {
            return PLAIN;
        }
        // Below one large tile for each multiprocessor, small ones fill more of the device.
        if LARGE.count([m, n]) < processors { SMALL } else { LARGE }
    }

    /// How many tiles cover a result `[m, n]`.
    pub(crate) fn count(&self, [m, n]: [usize; 2]) -> usize {
        m.div_ceil(self.m) * n.div_ceil(self.n)
    }

    /// Into how many pieces the sum over `k` is cut, so that there are two cubes for each multiprocessor where the result alone
    /// has fewer; each piece is at least eight steps long.
    pub(crate) fn pieces(&self, extents: [usize; 2], k: usize, processors: usize) -> usize {
        let wanted = (2 * processors).div_ceil(self.count(extents));
        wanted.min(k / (8 * self.k)).max(1)
    }
}
