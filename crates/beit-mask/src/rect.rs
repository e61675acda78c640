//! A block of cells.

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
    #[inline]
    pub(crate) fn place<R: Rng + ?Sized>(rng: &mut R, grid: Grid, (height, width): (usize, usize)) -> Self {
        let top = below(rng, grid.rows - height + 1);
        let left = below(rng, grid.cols - width + 1);
        Self { top, left, height, width }
    }
}

/// From here on every f64 is a whole number: adding it rounds, half to even, and leaves the sum in the low bits.
pub(crate) const WHOLE: f64 = (1_u64 << 52) as f64;
/// More than a grid has room for.
pub(crate) const LARGEST: f64 = (1_u64 << 31) as f64;

/// Sides of a block of `area` cells and `aspect` = height / width, rounded half to even as Python 3 does, and at most
/// [`LARGEST`].
#[inline]
pub(crate) fn sides(area: f64, aspect: f64) -> (usize, usize) {
    let round_sqrt = |x: f64| (libm::sqrt(x).min(LARGEST) + WHOLE).to_bits() as u32 as usize;
    (round_sqrt(area * aspect), round_sqrt(area / aspect))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_rounded_half_to_even() {
        for (area, side) in [(0.25, 0), (2.25, 2), (6.25, 2), (12.25, 4), (0.26, 1), (6.26, 3), (30.24, 5)] {
            assert_eq!(sides(area, 1.0), (side, side), "the root of {area}");
        }
    }
}
