//! Masks: the class of every pixel of a picture.

mod colours;
mod png;
mod table;

pub use colours::palette;
pub(crate) use png::{Raw, Values};
pub(crate) use table::ClassTable;

use crate::image::CropBox;

/// The classes of the pixels of a picture, by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    height: usize,
    width: usize,
    ids: Vec<u8>,
}

impl Mask {
    /// The number of pixels that have no class: they are neither learnt nor counted. So there are at most 255 classes.
    pub const IGNORED: u8 = 255;

    /// A mask from `ids [height, width]`, row by row from the top left.
    ///
    /// # Panics
    ///
    /// If a side is zero or the lengths do not match.
    #[must_use]
    pub fn new(height: usize, width: usize, ids: Vec<u8>) -> Self {
        assert!(height > 0 && width > 0, "expected a mask with pixels, found {height} x {width}");
        assert_eq!(ids.len(), height * width, "expected {height} x {width} bytes");
        Self { height, width, ids }
    }

    /// Pixels from top to bottom.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// Pixels from left to right.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// `[height, width]`.
    #[must_use]
    pub fn ids(&self) -> &[u8] {
        &self.ids
    }

    /// The part inside `region`, with [`IGNORED`](Self::IGNORED) where that leaves the mask.
    ///
    /// # Panics
    ///
    /// If the region is empty.
    #[must_use]
    pub fn crop(&self, region: CropBox) -> Self {
        self.resize_part([self.height, self.width], region)
    }

    /// Resamples to `[height, width]`: each pixel takes the class of the pixel that its centre lies in, so that output `i` of `m` is
    /// input `floor((i + 1/2) n / m)` of `n`.
    ///
    /// # Panics
    ///
    /// If a side is zero.
    #[must_use]
    pub fn resize(&self, [height, width]: [usize; 2]) -> Self {
        self.resize_part([height, width], CropBox { top: 0, left: 0, height, width })
    }

    /// The `part` of what [`resize`](Self::resize) to `size [height, width]` gives, with [`IGNORED`](Self::IGNORED) where it leaves
    /// that. Nothing else of it is computed.
    ///
    /// # Panics
    ///
    /// If a side is zero.
    #[must_use]
    pub fn resize_part(&self, size: [usize; 2], part: CropBox) -> Self {
        let input = |i: usize, to: usize, from: usize| (i < to).then(|| (2 * i + 1) * from / (2 * to));
        let columns: Vec<Option<usize>> =
            (part.left..part.left + part.width).map(|x| input(x, size[1], self.width)).collect();
        let mut ids = Vec::with_capacity(part.height * part.width);
        for y in part.top..part.top + part.height {
            match input(y, size[0], self.height) {
                Some(y) => {
                    let row = &self.ids[y * self.width..][..self.width];
                    ids.extend(columns.iter().map(|x| x.map_or(Self::IGNORED, |x| row[x])));
                }
                None => ids.resize(ids.len() + part.width, Self::IGNORED),
            }
        }
        Self::new(part.height, part.width, ids)
    }

    /// Mirrors left and right.
    pub fn flip_horizontal(&mut self) {
        self.ids.chunks_exact_mut(self.width).for_each(<[u8]>::reverse);
    }

    /// How many pixels have each number, the ignored ones last.
    #[must_use]
    pub fn histogram(&self) -> [u64; 256] {
        let mut counts = [0; 256];
        self.ids.iter().for_each(|&id| counts[usize::from(id)] += 1);
        counts
    }

    /// The first pixel whose number is neither below `classes` nor [`IGNORED`](Self::IGNORED): `(x, y, number)`.
    pub(crate) fn beyond(&self, classes: usize) -> Option<(usize, usize, u8)> {
        let at = self.ids.iter().position(|&id| id != Self::IGNORED && usize::from(id) >= classes)?;
        Some((at % self.width, at / self.width, self.ids[at]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(height: usize, width: usize) -> Mask {
        Mask::new(height, width, (0..height * width).map(|i| i as u8).collect())
    }

    #[test]
    fn what_leaves_the_mask_is_ignored() {
        let part = numbered(3, 4).crop(CropBox { top: 1, left: 2, height: 3, width: 3 });
        assert_eq!(part.ids(), [6, 7, 255, 10, 11, 255, 255, 255, 255]);
        let inside = numbered(3, 4).crop(CropBox { top: 0, left: 1, height: 2, width: 2 });
        assert_eq!(inside.ids(), [1, 2, 5, 6]);
    }

    #[test]
    fn the_nearest_pixel_is_the_one_that_the_centre_lies_in() {
        assert_eq!(numbered(1, 4).resize([1, 8]).ids(), [0, 0, 1, 1, 2, 2, 3, 3]);
        assert_eq!(numbered(1, 4).resize([1, 2]).ids(), [1, 3]);
        assert_eq!(numbered(1, 6).resize([2, 2]).ids(), [1, 4, 1, 4]);
        assert_eq!(numbered(1, 3).resize([1, 5]).ids(), [0, 0, 1, 2, 2]);
        assert_eq!(numbered(2, 3).resize([2, 3]), numbered(2, 3));
    }

    #[test]
    fn a_part_is_what_the_whole_has_there() {
        let part = CropBox { top: 3, left: 1, height: 9, width: 5 };
        let mask = numbered(7, 11);
        assert_eq!(mask.resize_part([13, 9], part), mask.resize([13, 9]).crop(part));
    }

    #[test]
    fn flipping_mirrors_rows() {
        let mut mask = numbered(2, 3);
        mask.flip_horizontal();
        assert_eq!(mask.ids(), [2, 1, 0, 5, 4, 3]);
    }

    #[test]
    fn classes_are_counted() {
        let mask = Mask::new(2, 2, vec![1, 255, 1, 3]);
        let counts = mask.histogram();
        assert_eq!((counts[0], counts[1], counts[3], counts[255]), (0, 2, 1, 1));
        assert_eq!((mask.beyond(4), mask.beyond(3)), (None, Some((1, 1, 3))));
    }
}
