//! The generator of the released BEiT code (`masking_generator.py`).

use rand::Rng;

use crate::aspect::Aspects;
use crate::cells::{Bits, Cells, Mask};
use crate::config::{BlockShape, Grid};
use crate::draw::{between, bits};
use crate::rect::Rect;

/// Attempts to place one block before the mask is left as it is.
const ATTEMPTS: usize = 10;
/// Block steps on a mask that is still empty before a block that is known to fit is placed. With the official parameters a
/// first step fails once in about 10^12 masks.
const FIRST_STEPS: usize = 100;

/// Block-wise masking with parameters that are known to work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockWise {
    grid: Grid,
    target: usize,
    min_area: f64,
    max_cells: usize,
    aspects: Aspects,
    /// Sides of a block that fits.
    fitting: (usize, usize),
}

impl BlockWise {
    pub(crate) fn new(grid: Grid, target: usize, block: BlockShape, fitting: (usize, usize)) -> Self {
        Self {
            grid,
            target,
            min_area: block.min_cells as f64,
            max_cells: block.max_cells.unwrap_or(target),
            aspects: Aspects::new(block.aspect),
            fitting,
        }
    }

    /// Overwrites a mask with a new one of 1 to `target` cells; returns how many.
    pub(crate) fn fill<R, F>(&self, rng: &mut R, mask: &mut [bool], on_block: F) -> usize
    where
        R: Rng + ?Sized,
        F: FnMut(Rect),
    {
        if let Some(mut bits) = Bits::empty(self.grid) {
            let count = self.fill_cells(rng, &mut bits, on_block);
            bits.write(self.grid, mask);
            return count;
        }
        mask.fill(false);
        self.fill_cells(rng, &mut Mask::new(self.grid, mask), on_block)
    }

    /// Masks 1 to `target` cells of an empty mask; returns how many.
    fn fill_cells<R, F>(&self, rng: &mut R, mask: &mut impl Cells, mut on_block: F) -> usize
    where
        R: Rng + ?Sized,
        F: FnMut(Rect),
    {
        let mut count = self.first_block(rng, mask, &mut on_block);
        while count < self.target {
            let Some((rect, new)) = self.step(rng, mask, self.target - count) else { break };
            mask.cover(rect);
            on_block(rect);
            count += new;
        }
        count
    }

    /// The first block. Where the released code would return an empty mask, and the loss of an image would be 0 / 0,
    /// this one tries again.
    fn first_block<R, F>(&self, rng: &mut R, mask: &mut impl Cells, on_block: &mut F) -> usize
    where
        R: Rng + ?Sized,
        F: FnMut(Rect),
    {
        let drawn = (0..FIRST_STEPS).find_map(|_| self.step(rng, mask, self.target));
        let (rect, new) = drawn.unwrap_or_else(|| {
            let rect = Rect::place(rng, self.grid, self.fitting);
            (rect, rect.height * rect.width)
        });
        mask.cover(rect);
        on_block(rect);
        new
    }

    /// One block step: a rectangle that adds 1 to min(`missing`, largest block) cells, and how many it adds; `None` after
    /// ten failed attempts.
    #[inline(always)]
    fn step<R: Rng + ?Sized>(&self, rng: &mut R, mask: &impl Cells, missing: usize) -> Option<(Rect, usize)> {
        let limit = missing.min(self.max_cells);
        (0..ATTEMPTS).find_map(|_| {
            let rect = self.attempt(rng, limit)?;
            let new = mask.uncovered(rect);
            (0 < new && new <= limit).then_some((rect, new))
        })
    }

    /// Draws area, log-aspect, top and left. A block must be strictly smaller than the grid in both sides.
    #[inline(always)]
    fn attempt<R: Rng + ?Sized>(&self, rng: &mut R, limit: usize) -> Option<Rect> {
        let area = between(rng, self.min_area, limit as f64);
        let (height, width) = self.aspects.sides(area, bits(rng));
        let fits = height < self.grid.rows && width < self.grid.cols;
        fits.then(|| Rect::place(rng, self.grid, (height, width)))
    }
}
