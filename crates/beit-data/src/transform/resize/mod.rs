//! Resampling with the bytes of Pillow 13, the Python Imaging Library that the released code reads its pictures with.

mod filter;
mod passes;
mod side;
mod taps;
mod value;

pub use filter::Filter;

use crate::image::{CropBox, Image, each};
use side::Side;
use value::Value;

impl Image {
    /// Resamples to `[height, width]`, along one side after the other, with as many bits between as the picture has: sharp edges overshoot and are cut, so
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
        let (CropBox { height, width, .. }, channels) = (part, self.channels());
        let from = [self.height(), self.width(), channels];
        let samples = each!(self.samples(), values => resampled(values, from, size, part, filter).into());
        Self::of_channels(height, width, channels, samples)
    }
}

/// The `part` of what `values [H, W, channels]` become at `size [H, W]`.
fn resampled<V: Value>(
    values: &[V],
    [from_height, from_width, channels]: [usize; 3],
    size: [usize; 2],
    CropBox { top, left, height, width }: CropBox,
    filter: Filter,
) -> Vec<V> {
    let rows = Side::<V>::new(from_height, size[0], top..top + height, filter);
    let columns = Side::<V>::new(from_width, size[1], left..left + width, filter);
    let stride = from_width * channels;
    if columns_first([from_height, from_width], size) {
        let between = rows.down(values, stride);
        columns.across(&between, from_width, channels).into_owned()
    } else {
        let needed = rows.inputs();
        let between =
            columns.across(&values[needed.start * stride..needed.end * stride], from_width, channels);
        rows.behind(needed.start).down(&between, width * channels).into_owned()
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
