//! Which cells are masked while blocks are placed.

use crate::config::Grid;
use crate::rect::Rect;

/// The cells of a mask.
pub(crate) trait Cells {
    /// How many cells of a rectangle are not masked yet.
    fn uncovered(&self, rect: Rect) -> usize;
    /// Masks a rectangle.
    fn cover(&mut self, rect: Rect);
}

/// A mask of any grid.
pub(crate) struct Mask<'a> {
    grid: Grid,
    cells: &'a mut [bool],
}

impl<'a> Mask<'a> {
    /// Of `cells [rows, cols]`.
    pub(crate) fn new(grid: Grid, cells: &'a mut [bool]) -> Self {
        Self { grid, cells }
    }
}

impl Cells for Mask<'_> {
    fn uncovered(&self, rect: Rect) -> usize {
        let rows = self.cells.chunks_exact(self.grid.cols).skip(rect.top).take(rect.height);
        rows.flat_map(|row| &row[rect.left..rect.left + rect.width]).filter(|&&cell| !cell).count()
    }

    fn cover(&mut self, rect: Rect) {
        let rows = self.cells.chunks_exact_mut(self.grid.cols).skip(rect.top).take(rect.height);
        rows.for_each(|row| row[rect.left..rect.left + rect.width].fill(true));
    }
}

/// Rows and columns of the largest grid that [`Bits`] hold.
const SIDE: usize = 16;
/// Words of [`Bits`].
const WORDS: usize = 4;
/// Rows of a word.
const ROWS: usize = SIDE / WORDS;
/// The first bit of each row of a word.
const FIRST_COLUMN: u64 = 0x0001_0001_0001_0001;

/// A mask of a small grid, a bit a cell and sixteen a row: a rectangle is four words, and no loop depends on what was drawn,
/// which a processor could not foresee. Three times as fast as [`Mask`].
#[derive(Clone, Copy, Default)]
pub(crate) struct Bits([u64; WORDS]);

impl Bits {
    /// An empty mask, if the grid is small enough.
    pub(crate) fn empty(grid: Grid) -> Option<Self> {
        (grid.rows <= SIDE && grid.cols <= SIDE).then_some(Self::default())
    }

    /// The cells of a rectangle.
    #[inline(always)]
    fn rect(rect: Rect) -> Self {
        let columns = (((1 << rect.width) - 1) << rect.left) * FIRST_COLUMN;
        let (above, upto) = (FIRST_ROWS[rect.top], FIRST_ROWS[rect.top + rect.height]);
        Self(core::array::from_fn(|i| upto[i] & !above[i] & columns))
    }

    /// Overwrites `cells [rows, cols]`.
    pub(crate) fn write(self, grid: Grid, cells: &mut [bool]) {
        for row in 0..grid.rows {
            let bits = self.0[row / ROWS] >> (SIDE * (row % ROWS));
            for begin in (0..grid.cols).step_by(8) {
                let eight = spread((bits >> begin) as u8);
                let to = &mut cells[row * grid.cols + begin..];
                // What it writes beyond its row belongs to the next, which is still to come.
                match to.first_chunk_mut::<8>() {
                    Some(to) => *to = eight,
                    None => to.copy_from_slice(&eight[..to.len()]),
                }
            }
        }
    }
}

impl Cells for Bits {
    #[inline(always)]
    fn uncovered(&self, rect: Rect) -> usize {
        let rect = Self::rect(rect);
        ones(core::array::from_fn(|i| rect.0[i] & !self.0[i]))
    }

    #[inline(always)]
    fn cover(&mut self, rect: Rect) {
        let rect = Self::rect(rect);
        self.0.iter_mut().zip(rect.0).for_each(|(cells, rect)| *cells |= rect);
    }
}

/// All cells of the first so many rows.
static FIRST_ROWS: [[u64; WORDS]; SIDE + 1] = {
    let mut first = [[0; WORDS]; SIDE + 1];
    let mut row = 0;
    while row < SIDE {
        first[row + 1] = first[row];
        first[row + 1][row / ROWS] |= 0xffff << (SIDE * (row % ROWS));
        row += 1;
    }
    first
};

/// How many bits are set. The words are summed as soon as their parts are, which takes half of four counts on processors that
/// have no instruction for it, or are not known to.
#[inline(always)]
fn ones(words: [u64; WORDS]) -> usize {
    const TWOS: u64 = 0x5555_5555_5555_5555;
    const FOURS: u64 = 0x3333_3333_3333_3333;
    const EIGHTS: u64 = 0x0f0f_0f0f_0f0f_0f0f;
    const SIXTEENS: u64 = 0x00ff_00ff_00ff_00ff;
    let [a, b, c, d] = words.map(|word| {
        let twos = word - (word >> 1 & TWOS);
        (twos & FOURS) + (twos >> 2 & FOURS)
    });
    let eights = |fours: u64| (fours & EIGHTS) + (fours >> 4 & EIGHTS);
    let eights = eights(a + b) + eights(c + d);
    let sixteens = (eights & SIXTEENS) + (eights >> 8 & SIXTEENS);
    // The highest sixteen bits of the product are the sum of all four.
    (sixteens.wrapping_mul(FIRST_COLUMN) >> 48) as usize
}

/// The bits of a byte, the lowest first.
fn spread(byte: u8) -> [bool; 8] {
    // Bit i in byte i, at its place; then any bit of a byte becomes its lowest.
    let apart = (u64::from(byte) * 0x0101_0101_0101_0101) & 0x8040_2010_0804_0201;
    let ones = ((apart + 0x7f7f_7f7f_7f7f_7f7f) >> 7) & 0x0101_0101_0101_0101;
    ones.to_le_bytes().map(|byte| byte != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_the_cells_of_a_mask() {
        for (rows, cols) in [(14, 14), (7, 7), (16, 16), (1, 9), (5, 8), (16, 1), (3, 15)] {
            let grid = Grid { rows, cols };
            let (mut bits, mut cells) = (Bits::empty(grid).expect("a small grid"), [false; 256]);
            let mut mask = Mask::new(grid, &mut cells[..rows * cols]);
            for i in 0..200 {
                let (height, width) = (1 + i % rows.min(4), 1 + i * i % cols.min(3));
                let (top, left) = (i * 7 % (rows - height + 1), i * 5 % (cols - width + 1));
                let rect = Rect { top, left, height, width };
                assert_eq!(bits.uncovered(rect), mask.uncovered(rect), "{rect:?} of {grid:?}");
                if i % 3 == 0 {
                    bits.cover(rect);
                    mask.cover(rect);
                }
                let mut written = [true; 256];
                bits.write(grid, &mut written[..rows * cols]);
                assert_eq!(written[..rows * cols], *mask.cells);
            }
            let all = Rect { top: 0, left: 0, height: rows, width: cols };
            bits.cover(all);
            assert_eq!(bits.uncovered(all), 0);
        }
    }

    #[test]
    fn large_grids_have_no_bits() {
        assert!(Bits::empty(Grid { rows: 17, cols: 14 }).is_none());
        assert!(Bits::empty(Grid { rows: 14, cols: 17 }).is_none());
    }

    #[test]
    fn every_byte_is_spread() {
        for byte in 0..=255u8 {
            assert_eq!(spread(byte), core::array::from_fn(|i| byte >> i & 1 == 1));
        }
    }
}
