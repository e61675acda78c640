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
        let rows = self.top..self.top + self.height;
        let covered: usize = rows.map(|row| count(&mask[row * grid.cols + self.left..], self.width)).sum();
        self.height * self.width - covered
    }

    /// Masks all of its cells.
    pub(crate) fn cover(self, grid: Grid, mask: &mut [bool]) {
        let rows = mask.chunks_exact_mut(grid.cols).skip(self.top).take(self.height);
        rows.for_each(|row| row[self.left..self.left + self.width].fill(true));
    }
}

/// How many of the first `len` cells are masked. Eight at a time: a loop over so few would take longer to begin than to run.
#[inline]
fn count(mut cells: &[bool], mut len: usize) -> usize {
    let mut masked = 0;
    while let Some((word, rest)) = cells.split_first_chunk::<8>()
        && len > 0
    {
        let bytes = u64::from_le_bytes(word.map(u8::from));
        let unused = 8 - len.min(8);
        // Each byte is 0 or 1: the product's highest is their sum.
        masked += ((bytes << (8 * unused)).wrapping_mul(0x0101_0101_0101_0101) >> 56) as usize;
        (cells, len) = (rest, len.saturating_sub(8));
    }
    masked + cells.iter().take(len).filter(|&&cell| cell).count()
}

/// Sides of a block of `area` cells and `aspect` = height / width, rounded half to even as Python 3 does.
pub(crate) fn sides(area: f64, aspect: f64) -> (usize, usize) {
    // From here on every f64 is a whole number: adding it rounds, half to even, and subtracting it is exact.
    const WHOLE: f64 = (1_u64 << 52) as f64;
    let round_sqrt = |x: f64| ((libm::sqrt(x) + WHOLE) - WHOLE) as usize;
    (round_sqrt(area * aspect), round_sqrt(area / aspect))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_counted_to_the_end_of_the_mask() {
        let mask: [bool; 45] = core::array::from_fn(|i| i * i % 7 < 3);
        for from in 0..45 {
            for len in 0..=45 - from {
                let expected = mask[from..from + len].iter().filter(|&&cell| cell).count();
                assert_eq!(count(&mask[from..], len), expected, "{len} from {from}");
            }
        }
    }

    #[test]
    fn sides_are_rounded_half_to_even() {
        for (area, side) in [(0.25, 0), (2.25, 2), (6.25, 2), (12.25, 4), (0.26, 1), (6.26, 3), (30.24, 5)] {
            assert_eq!(sides(area, 1.0), (side, side), "the root of {area}");
        }
    }
}
