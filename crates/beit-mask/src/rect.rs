//! A block of cells and its effect on a mask.

use rand::Rng;

use crate::config::Grid;
use crate::draw::below;

/// A rectangle of cells, as placed by a block-wise strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rect {
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Rect {
    /// A rectangle of this size anywhere in the grid, each place equally likely. Takes two draws: top, then left.
    pub(crate) fn place<R: Rng + ?Sized>(rng: &mut R, grid: Grid, (height, width): (usize, usize)) -> Self {
        let top = below(rng, grid.rows - height + 1);
        let left = below(rng, grid.cols - width + 1);
        Self { top, left, height, width }
    }

    /// How many of its cells are not masked yet.
    pub(crate) fn uncovered(self, grid: Grid, mask: &[bool]) -> usize {
        let rows = mask.chunks_exact(grid.cols).skip(self.top).take(self.height);
        rows.map(|row| row[self.left..self.left + self.width].iter().filter(|&&cell| !cell).count()).sum()
    }

    /// Masks all of its cells.
    pub(crate) fn cover(self, grid: Grid, mask: &mut [bool]) {
        let rows = mask.chunks_exact_mut(grid.cols).skip(self.top).take(self.height);
        rows.for_each(|row| row[self.left..self.left + self.width].fill(true));
    }
}

/// Sides of a block of `area` cells and `aspect` = height / width, rounded half to even as Python 3 does.
pub(crate) fn sides(area: f64, aspect: f64) -> (usize, usize) {
    let round_sqrt = |x: f64| libm::rint(libm::sqrt(x)) as usize;
    (round_sqrt(area * aspect), round_sqrt(area / aspect))
}
