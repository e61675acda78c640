//! Resampling with the bytes of Pillow 13, the Python Imaging Library that the released code reads its pictures with.

mod filter;
mod passes;
mod side;
mod taps;

pub use filter::Filter;

use crate::image::{CropBox, Image};
use side::Side;

impl Image {
    /// Resamples to `[height, width]`, along one side after the other, with 8 bits between: sharp edges overshoot and are cut, so
    /// that the other order differs by several steps. A side that keeps its length is not resampled.
    ///
    /// What is between takes no more memory than the larger of the two pictures.
    ///
    /// # Panics
    ///
    /// If a side is zero.
    #[must_use]
    pub fn resize(&self, [height, width]: [usize; 2], filter: Filter) -> Self {
        assert!(height > 0 && width > 0, "expected a size with pixels, found {height} x {width}");
        self.resize_part([height, width], CropBox { top: 0, left: 0, height, width }, filter)
    }

    /// The `part` of what [`resize`](Self::resize) to `size [height, width]` gives. Nothing else of it is computed: a thin picture
    /// that is to cover a square becomes millions of pixels long, of which the square is seen.
    ///
    /// What is between takes no more memory than the larger of this picture and the part, but for a few rows.
    pub(crate) fn resize_part(&self, size: [usize; 2], part: CropBox, filter: Filter) -> Self {
        let CropBox { top, left, height, width } = part;
        let rows = Side::new(self.height(), size[0], top..top + height, filter);
        let columns = Side::new(self.width(), size[1], left..left + width, filter);
        let pixels = if columns_first([self.height(), self.width()], size) {
            let between = rows.down(self.pixels(), self.width());
            columns.across(&between, self.width()).into_owned()
        } else {
            let (needed, stride) = (rows.inputs(), self.width() * 3);
            let seen = &self.pixels()[needed.start * stride..needed.end * stride];
            let between = columns.across(seen, self.width());
            rows.behind(needed.start).down(&between, width).into_owned()
        };
        Self::new(height, width, pixels)
    }
}

/// Whether the height goes before the width. Pillow does so since version 13, if the height loses more than twice as many pixels
/// as the width; earlier versions at most if a picture is a hundred times as high as wide.
fn columns_first([height, width]: [usize; 2], [new_height, new_width]: [usize; 2]) -> bool {
    height.saturating_sub(new_height) > 2 * width.saturating_sub(new_width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_height_goes_first_where_it_loses_most() {
        // Found by comparing both orders with Pillow's result.
        let cases = [
            ([61, 10], [25, 4], true),
            ([40, 60], [17, 91], true),
            ([40, 40], [20, 30], false),
            ([41, 40], [20, 30], true),
            ([40, 60], [40, 91], false),
            ([40, 60], [73, 91], false),
        ];
        for (from, to, expected) in cases {
            assert_eq!(columns_first(from, to), expected, "{from:?} to {to:?}");
        }
    }

    proptest! {
        #[test]
        fn a_part_has_the_bytes_that_the_whole_has_there(
            from in [1_usize..50, 1..50], to in [1_usize..70, 1..70], places in [0.0..1.0, 0.0..1.0, 0.0..1.0, 0.0..1.0_f64],
            kept: [bool; 2], filter in prop::sample::select(&Filter::ALL[..]),
        ) {
            let to = [0, 1].map(|side| if kept[side] { from[side] } else { to[side] });
            let image = Image::new(from[0], from[1], (0..from[0] * from[1] * 3).map(|i| (i * i % 251) as u8).collect());
            let place = |share: f64, of: usize| (share * of as f64) as usize;
            let (top, left) = (place(places[0], to[0]), place(places[1], to[1]));
            let (height, width) = (1 + place(places[2], to[0] - top), 1 + place(places[3], to[1] - left));
            let part = CropBox { top, left, height: height.min(to[0] - top), width: width.min(to[1] - left) };
            prop_assert_eq!(image.resize_part(to, part, filter), image.resize(to, filter).crop(part));
        }
    }
}
