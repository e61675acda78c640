//! BEiT §2.3, Algorithm 1, as printed.

use rand::Rng;

use crate::cells::{Cells, Mask};
use crate::config::{BlockShape, Grid};
use crate::draw::between;
use crate::random::top_up;
use crate::rect::{Rect, sides};

/// Blocks that are drawn before single cells complete the mask. The page has no limit; about ten blocks are usual.
const MAX_BLOCKS: usize = 1000;

/// Algorithm 1 with parameters that are known to work.
///
/// Unlike the released code: the aspect is uniform, not log-uniform; overlaps are not refused; a block may span the grid;
/// the mask ends when the count exceeds the target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Paper {
    grid: Grid,
    target: usize,
    block: BlockShape,
}

impl Paper {
    pub(crate) fn new(grid: Grid, target: usize, block: BlockShape) -> Self {
        Self { grid, target, block }
    }

    /// Overwrites a mask with a new one of more than `target` cells but not all; returns how many.
    pub(crate) fn fill<R, F>(&self, rng: &mut R, mask: &mut [bool], mut on_block: F) -> usize
    where
        R: Rng + ?Sized,
        F: FnMut(Rect),
    {
        mask.fill(false);
        let cells = mask.len();
        let mut count = 0;
        let mut masked = Mask::new(self.grid, mask);
        for _ in 0..MAX_BLOCKS {
            let rect = self.draw(rng, self.target - count);
            let new = masked.uncovered(rect);
            if count + new == cells {
                continue;
            }
            masked.cover(rect);
            on_block(rect);
            count += new;
            if count > self.target {
                return count;
            }
        }
        top_up(rng, mask, self.target + 1 - count);
        self.target + 1
    }

    /// Draws area, aspect, top and left.
    fn draw<R: Rng + ?Sized>(&self, rng: &mut R, missing: usize) -> Rect {
        let limit = missing.min(self.block.max_cells.unwrap_or(missing));
        let area = between(rng, self.block.min_cells as f64, limit as f64);
        let aspect = between(rng, self.block.aspect[0], self.block.aspect[1]);
        let (height, width) = sides(area, aspect);
        let size = (height.clamp(1, self.grid.rows), width.clamp(1, self.grid.cols));
        Rect::place(rng, self.grid, size)
    }
}
