//! What to mask: the grid, how many cells, and in which way.

/// The share of cells that the paper says it masks: "approximately 40 %" (BEiT §2.3). The released code masks
/// 75 of 196, which is 38.3 %; [`Config::scaled`] takes the paper's number and gives the code's.
pub const OFFICIAL_RATIO: f64 = 0.4;

/// Grid of the released pre-training: 224-pixel images in patches of 16.
const OFFICIAL_GRID: Grid = Grid { rows: 14, cols: 14 };
/// `--num_mask_patches` of the released pre-training.
const OFFICIAL_TARGET: usize = 75;
/// `--min_mask_patches_per_block` of the released pre-training; BEiT §2.3, Algorithm 1.
const OFFICIAL_MIN_CELLS: usize = 16;
/// Narrowest block, height / width; BEiT §2.3, Algorithm 1. The widest is its inverse.
const OFFICIAL_MIN_ASPECT: f64 = 0.3;

/// A grid of patches, read row by row: cell (row, col) is element `row * cols + col` of a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grid {
    /// Patches from top to bottom.
    pub rows: usize,
    /// Patches from left to right.
    pub cols: usize,
}

impl Grid {
    /// Number of cells N, or `None` where it does not fit a `usize`.
    #[must_use]
    pub const fn cells(self) -> Option<usize> {
        self.rows.checked_mul(self.cols)
    }
}

/// Limits on one rectangular block. [`Strategy::Random`] ignores them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BlockShape {
    /// Least area that is drawn, in cells. A block near the end of a mask may be smaller: its area is then drawn between
    /// the cells still missing and this number, as in the released code.
    pub min_cells: usize,
    /// Most cells one block may add. `None`: as many as are still missing.
    pub max_cells: Option<usize>,
    /// Least and greatest height / width.
    pub aspect: [f64; 2],
}

/// How cells are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Strategy {
    /// The generator of the released BEiT code: rectangles until the target is reached or ten attempts in a row
    /// fail, so the count differs from mask to mask and never exceeds the target.
    BlockWise,
    /// BEiT v2: block-wise, then single cells drawn uniformly from the rest until the count is exactly the target.
    BlockWiseExact,
    /// BEiT §2.3, Algorithm 1, as printed: stops when the count *exceeds* the target, so it overshoots by up to a block.
    /// Where the page is silent, sides are rounded half to even and cut to the grid.
    PaperBlockWise,
    /// Exactly the target, uniformly without replacement: the ablation "w/o blockwise masking" (BEiT §3.3).
    Random,
}

/// A description of masks, checked by [`Masker::new`](crate::Masker::new).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// The grid of patches.
    pub grid: Grid,
    /// How many cells to mask, in 1..N.
    pub target: usize,
    /// How they are chosen.
    pub strategy: Strategy,
    /// What a block may look like.
    pub block: BlockShape,
}

impl Config {
    /// The released pre-training: grid 14 x 14, 75 cells, blocks from 16 cells, aspect 0.3 to 1/0.3.
    #[must_use]
    pub const fn official() -> Self {
        let aspect = [OFFICIAL_MIN_ASPECT, 1.0 / OFFICIAL_MIN_ASPECT];
        let block = BlockShape { min_cells: OFFICIAL_MIN_CELLS, max_cells: None, aspect };
        Self { grid: OFFICIAL_GRID, target: OFFICIAL_TARGET, strategy: Strategy::BlockWise, block }
    }

    /// The official parameters carried over to another grid of N cells and another ratio:
    ///
    /// - target = round(75 · N/196 · ratio/0.4), so that the paper's 0.4 gives the code's 38.3 %;
    /// - least block = round(16 · N/196), at least 1 and at most the target;
    /// - the aspect range stays.
    ///
    /// 14 x 14 at 0.4 gives 75 and 16, 7 x 7 gives 19 and 4, 24 x 24 gives 220 and 47.
    #[must_use]
    pub fn scaled(grid: Grid, ratio: f64) -> Self {
        let official = Self::official();
        let scale = grid.rows as f64 * grid.cols as f64 / (OFFICIAL_GRID.rows * OFFICIAL_GRID.cols) as f64;
        let target = libm::rint(OFFICIAL_TARGET as f64 * scale * (ratio / OFFICIAL_RATIO)) as usize;
        let min_cells = (libm::rint(OFFICIAL_MIN_CELLS as f64 * scale) as usize).min(target).max(1);
        Self { grid, target, block: BlockShape { min_cells, ..official.block }, ..official }
    }
}
