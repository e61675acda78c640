//! Images in rows and columns, with words.

use super::canvas::{Canvas, LETTER, LINE};
use super::write_png;
use crate::error::{Result, unfit};
use beit_data::{Image, MAX_DECODED_BYTES};
use std::path::Path;

/// Pixels between two images.
const GAP: usize = 4;
/// Images are enlarged by a whole factor until their height reaches this.
const HEIGHT: usize = 84;
/// Letters that the words beside a row have at most.
const MOST_BESIDE: usize = 24;

/// An image and what is written under it.
#[derive(Clone, Debug)]
pub struct Cell {
    /// As it is [shown](Image::shown).
    pub image: Image,
    /// Lines of words; a line that is wider than the cell is cut.
    pub caption: String,
}

impl Cell {
    /// An image with its caption.
    #[must_use]
    pub fn new(image: Image, caption: impl Into<String>) -> Self {
        Self { image, caption: caption.into() }
    }
}

impl From<Image> for Cell {
    fn from(image: Image) -> Self {
        Self::new(image, "")
    }
}

/// Rows of images. Each pixel of a small image becomes a square; the cells have the extents of the largest.
///
/// ```
/// use beit::picture::{Cell, Grid};
/// let shade = |grey| Cell::new(beit::Image::from_grey(1, 1, &[grey]), format!("grey {grey}"));
/// let grid = Grid::new(vec![vec![shade(0), shade(90)]]).above(["dark", "less"]).beside(["shades"]);
/// let picture = grid.drawn()?;
/// assert!(picture.width() > 2 * 84 && picture.height() > 84);
/// # Ok::<(), beit::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Grid {
    rows: Vec<Vec<Cell>>,
    above: Vec<String>,
    beside: Vec<String>,
}

impl Grid {
    /// Rows of cells, or of images without words.
    #[must_use]
    pub fn new<C: Into<Cell>>(rows: impl IntoIterator<Item = Vec<C>>) -> Self {
        let cells = |row: Vec<C>| row.into_iter().map(Into::into).collect();
        Self { rows: rows.into_iter().map(cells).collect(), above: Vec::new(), beside: Vec::new() }
    }

    /// Words above the columns, from the first on.
    #[must_use]
    pub fn above<S: Into<String>>(self, words: impl IntoIterator<Item = S>) -> Self {
        Self { above: words.into_iter().map(Into::into).collect(), ..self }
    }

    /// Lines of words to the left of the rows, from the first on.
    #[must_use]
    pub fn beside<S: Into<String>>(self, words: impl IntoIterator<Item = S>) -> Self {
        Self { beside: words.into_iter().map(Into::into).collect(), ..self }
    }

    /// One picture of all.
    ///
    /// # Errors
    ///
    /// No images, or more than a picture can have.
    pub fn drawn(&self) -> Result<Image> {
        let layout = Layout::of(self)?;
        let mut canvas = Canvas::new(layout.sides);
        for (column, words) in self.above.iter().enumerate() {
            canvas.write(&fitted(words, layout.letters()), [GAP, layout.left(column)]);
        }
        for (row, words) in self.beside.iter().enumerate().take(self.rows.len()) {
            write_lines(&mut canvas, words, MOST_BESIDE, [layout.tops[row], GAP]);
        }
        for (row, cells) in self.rows.iter().enumerate() {
            for (column, Cell { image, caption }) in cells.iter().enumerate() {
                let (top, left) = (layout.tops[row], layout.left(column));
                canvas.place(image, [top, left], zoom(image));
                write_lines(&mut canvas, caption, layout.letters(), [top + layout.cell[0] + 1, left]);
            }
        }
        Ok(canvas.into_image())
    }

    /// Writes the picture as a PNG.
    ///
    /// # Errors
    ///
    /// As [`drawn`](Self::drawn), or a file that cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        write_png(path, &self.drawn()?)
    }
}

/// Where everything is, in pixels.
struct Layout {
    /// Of the whole.
    sides: [usize; 2],
    /// Of the largest image, enlarged.
    cell: [usize; 2],
    /// Left of the first column.
    first: usize,
    /// Of each row of images.
    tops: Vec<usize>,
}

impl Layout {
    fn of(grid: &Grid) -> Result<Self> {
        let images = || grid.rows.iter().flatten().map(|cell| &cell.image);
        let longest = |side: fn(&Image) -> usize| images().map(|image| side(image) * zoom(image)).max();
        let (Some(height), Some(width)) = (longest(Image::height), longest(Image::width)) else {
            unfit!("a picture of no images")
        };
        let beside = grid.beside.iter().flat_map(|words| words.lines());
        let first = match beside.map(|line| line.chars().count().min(MOST_BESIDE)).max().unwrap_or(0) {
            0 => GAP,
            letters => 2 * GAP + letters * LETTER,
        };
        let mut top = if grid.above.is_empty() { GAP } else { GAP + LINE };
        let mut tops = Vec::with_capacity(grid.rows.len());
        for row in &grid.rows {
            tops.push(top);
            let lines = row.iter().map(|cell| cell.caption.lines().count()).max().unwrap_or(0);
            top += height + lines * LINE + GAP;
        }
        let columns = grid.rows.iter().map(Vec::len).max().unwrap_or(0);
        let sides = [top, first + columns * (width + GAP)];
        if sides[0].saturating_mul(sides[1]).saturating_mul(3) as u64 > MAX_DECODED_BYTES {
            unfit!(
                "a picture of {}x{} pixels, expected at most {MAX_DECODED_BYTES} bytes: draw fewer images",
                sides[0],
                sides[1]
            );
        }
        Ok(Self { sides, cell: [height, width], first, tops })
    }

    fn left(&self, column: usize) -> usize {
        self.first + column * (self.cell[1] + GAP)
    }

    /// How many fit above or under a cell.
    fn letters(&self) -> usize {
        self.cell[1] / LETTER
    }
}

/// How many times an image is enlarged.
pub(super) fn zoom(image: &Image) -> usize {
    HEIGHT.div_ceil(image.height()).max(1)
}

fn write_lines(canvas: &mut Canvas, words: &str, letters: usize, [top, left]: [usize; 2]) {
    for (number, line) in words.lines().enumerate() {
        canvas.write(&fitted(line, letters), [top + number * LINE, left]);
    }
}

/// A line of at most so many letters: of a longer one two dots stand for the rest.
fn fitted(line: &str, letters: usize) -> String {
    // A control character would move what follows it.
    let line = line.replace(char::is_control, " ");
    if line.chars().count() <= letters {
        return line;
    }
    let kept: String = line.chars().take(letters.saturating_sub(2)).collect();
    kept + ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shade(side: usize, grey: u8) -> Image {
        Image::from_grey(side, side, &vec![grey; side * side])
    }

    fn is_dark(picture: &Image, [top, left]: [usize; 2], [height, width]: [usize; 2]) -> bool {
        let rows = (top..top + height).flat_map(|y| (left..left + width).map(move |x| [y, x]));
        rows.into_iter().any(|[y, x]| picture.pixels()[(y * picture.width() + x) * 3] == 0)
    }

    #[test]
    fn images_are_where_they_were_without_words() {
        let picture = Grid::new([vec![shade(28, 9), shade(28, 8)], vec![shade(28, 7)]]).drawn().unwrap();
        assert_eq!(picture.size(), [4 + 2 * 88, 4 + 2 * 88]);
        let at = |y: usize, x: usize| picture.pixels()[(y * picture.width() + x) * 3];
        assert_eq!(
            [at(3, 4), at(4, 4), at(87, 87), at(88, 88), at(4, 92), at(92, 4)],
            [255, 9, 9, 255, 8, 7]
        );
        assert_eq!(at(92, 92), 255, "a row may be shorter");
    }

    #[test]
    fn words_have_room_of_their_own() {
        let cells = vec![Cell::new(shade(4, 200), "one\ntwo"), shade(28, 200).into()];
        let grid = Grid::new([cells]).above(["left", "right"]).beside(["first row"]);
        let picture = grid.drawn().unwrap();
        let first = 8 + 9 * LETTER;
        assert_eq!(picture.size(), [4 + LINE + 84 + 2 * LINE + 4, first + 2 * 88]);
        let (under, above) = (4 + LINE + 84 + 1, [LINE, 84]);
        for (what, at, of) in [
            ("above the first column", [4, first], above),
            ("above the second", [4, first + 88], above),
            ("beside the row", [4 + LINE, 4], [LINE, first - 8]),
            ("the first line under the cell", [under, first], [LINE, 84]),
            ("the second", [under + LINE, first], [LINE - 1, 84]),
        ] {
            assert!(is_dark(&picture, at, of), "{what}");
        }
        assert!(!is_dark(&picture, [under, first + 88], [2 * LINE, 84]), "no caption, nothing drawn");
    }

    #[test]
    fn long_words_are_cut_and_commands_are_blank() {
        assert_eq!(fitted("a tabby cat", 11), "a tabby cat");
        assert_eq!(fitted("a tabby cat", 8), "a tabb..");
        assert_eq!(fitted("a\u{1b}b\rc", 8), "a b c");
        assert_eq!(fitted("abc", 1), "..");
        let (long, short) = ("w".repeat(90), "w".repeat(12) + "..");
        let drawn = |words: String| Grid::new([vec![Cell::new(shade(28, 0), words)]]).drawn().unwrap();
        assert_eq!(drawn(long), drawn(short));
        assert!(Grid::new::<Image>([vec![]]).drawn().is_err());
    }

    #[test]
    fn a_picture_that_is_too_large_is_refused() {
        // Neither has many pixels, but a cell has the height of the one and the width of the other.
        let (tall, wide) =
            (Image::from_grey(20_000, 1, &[0; 20_000]), Image::from_grey(1, 20_000, &[0; 20_000]));
        let message = Grid::new([vec![tall, wide]]).drawn().unwrap_err().to_string();
        assert!(
            message.starts_with("a picture of 20008x") && message.ends_with("draw fewer images"),
            "{message}"
        );
    }
}
