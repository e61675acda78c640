//! The entry point: parameters checked once, masks filled many times.

use rand::Rng;

use crate::block_wise::BlockWise;
use crate::config::{BlockShape, Config, Strategy};
use crate::error::Error;
use crate::fit::fitting_block;
use crate::paper::Paper;
use crate::random;
use crate::rect::Rect;

/// Makes masks of one kind. Its parameters are known to work, so [`fill`](Self::fill) always ends and a mask never covers
/// nothing or everything.
#[derive(Clone, Copy, Debug)]
pub struct Masker {
    config: Config,
    cells: usize,
    method: Method,
}

#[derive(Clone, Copy, Debug)]
enum Method {
    BlockWise(BlockWise),
    BlockWiseExact(BlockWise),
    Paper(Paper),
    Random,
}

impl Masker {
    /// Checks the parameters.
    ///
    /// # Errors
    ///
    /// Any [`Error`]: a grid without cells, a target that masks nothing or everything, or block limits that no block
    /// smaller than the grid can meet.
    pub fn new(config: Config) -> Result<Self, Error> {
        let Config { grid, target, strategy, block } = config;
        let cells = grid.cells().filter(|&cells| cells > 0).ok_or(Error::Grid(grid))?;
        check_target(target, strategy, cells)?;
        let block_wise = || {
            check_block(block, target)?;
            let limit = target.min(block.max_cells.unwrap_or(target));
            let no_fit = Error::NoBlockFits { grid, min_cells: block.min_cells, aspect: block.aspect };
            let fitting = fitting_block(grid, block, limit).ok_or(no_fit)?;
            Ok(BlockWise::new(grid, target, block, fitting))
        };
        let method = match strategy {
            Strategy::BlockWise => Method::BlockWise(block_wise()?),
            Strategy::BlockWiseExact => Method::BlockWiseExact(block_wise()?),
            Strategy::PaperBlockWise => {
                check_block(block, target)?;
                Method::Paper(Paper::new(grid, target, block))
            }
            Strategy::Random => Method::Random,
        };
        Ok(Self { config, cells, method })
    }

    /// The parameters.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Number of cells N = rows · cols of a mask.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.cells
    }

    /// Overwrites `mask [rows, cols]`, row by row, with a new mask (`true` = masked); returns the number of masked cells.
    ///
    /// # Panics
    ///
    /// If `mask` does not have exactly [`cells`](Self::cells) elements.
    pub fn fill<R: Rng + ?Sized>(&self, rng: &mut R, mask: &mut [bool]) -> usize {
        self.fill_with(rng, mask, |_| {})
    }

    /// [`fill`](Self::fill) that also reports each block, in order, as it is placed. Single cells are not reported.
    ///
    /// # Panics
    ///
    /// If `mask` does not have exactly [`cells`](Self::cells) elements.
    pub fn fill_with<R, F>(&self, rng: &mut R, mask: &mut [bool], on_block: F) -> usize
    where
        R: Rng + ?Sized,
        F: FnMut(Rect),
    {
        assert_eq!(mask.len(), self.cells, "mask length does not match the grid {:?}", self.config.grid);
        let target = self.config.target;
        match &self.method {
            Method::BlockWise(blocks) => blocks.fill(rng, mask, on_block),
            Method::Paper(paper) => paper.fill(rng, mask, on_block),
            Method::BlockWiseExact(blocks) => {
                let count = blocks.fill(rng, mask, on_block);
                random::top_up(rng, mask, target - count);
                target
            }
            Method::Random => {
                random::fill(rng, mask, target);
                target
            }
        }
    }
}

fn check_target(target: usize, strategy: Strategy, cells: usize) -> Result<(), Error> {
    // Algorithm 1 goes at least one cell beyond its target.
    let overshoot = usize::from(strategy == Strategy::PaperBlockWise);
    let most = cells.saturating_sub(1 + overshoot);
    match target {
        0 => Err(Error::NothingMasked),
        _ if target > most => Err(Error::EverythingMasked { target, most }),
        _ => Ok(()),
    }
}

fn check_block(block: BlockShape, target: usize) -> Result<(), Error> {
    let BlockShape { min_cells, max_cells, aspect } = block;
    if min_cells == 0 {
        return Err(Error::EmptyBlock);
    }
    if min_cells > target {
        return Err(Error::MinAboveTarget { min_cells, target });
    }
    if let Some(max_cells) = max_cells.filter(|&max_cells| max_cells < min_cells) {
        return Err(Error::MaxBelowMin { min_cells, max_cells });
    }
    let [low, high] = aspect;
    let valid = low > 0.0 && low <= high && high.is_finite();
    if valid { Ok(()) } else { Err(Error::Aspect(aspect)) }
}
