//! Decoded pictures.

/// An RGB picture of 8 bits a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    height: usize,
    width: usize,
    pixels: Vec<u8>,
}

/// A region of a picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CropBox {
    /// First row.
    pub top: usize,
    /// First column.
    pub left: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Image {
    /// A picture from `pixels [height, width, 3]`, row by row from the top left.
    ///
    /// # Panics
    ///
    /// If a side is zero or the lengths do not match.
    #[must_use]
    pub fn new(height: usize, width: usize, pixels: Vec<u8>) -> Self {
        assert!(height > 0 && width > 0, "expected a picture with pixels, found {height} x {width}");
        assert_eq!(pixels.len(), height * width * 3, "expected {height} x {width} x 3 bytes");
        Self { height, width, pixels }
    }

    /// A grey picture `[height, width]`, its channel repeated three times.
    ///
    /// # Panics
    ///
    /// If a side is zero or the lengths do not match.
    #[must_use]
    pub fn from_grey(height: usize, width: usize, grey: &[u8]) -> Self {
        Self::new(height, width, grey.iter().flat_map(|&value| [value; 3]).collect())
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
    pub fn size(&self) -> [usize; 2] {
        [self.height, self.width]
    }

    /// `[height, width, 3]`.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// `[height, width, 3]`.
    pub fn pixels_mut(&mut self) -> &mut [u8] {
        &mut self.pixels
    }

    /// The part inside `region`.
    ///
    /// # Panics
    ///
    /// If the region is empty or not inside the picture.
    #[must_use]
    pub fn crop(&self, region: CropBox) -> Self {
        let CropBox { top, left, height, width } = region;
        assert!(
            top + height <= self.height && left + width <= self.width,
            "{region:?} is outside the picture"
        );
        let mut pixels = Vec::with_capacity(height * width * 3);
        for row in self.pixels.chunks_exact(self.width * 3).skip(top).take(height) {
            pixels.extend_from_slice(&row[left * 3..(left + width) * 3]);
        }
        Self::new(height, width, pixels)
    }

    /// Mirrors left and right.
    pub fn flip_horizontal(&mut self) {
        for row in self.pixels.chunks_exact_mut(self.width * 3) {
            row.as_chunks_mut::<3>().0.reverse();
        }
    }

    /// The picture in grey, in all three channels: the luma that Pillow's `convert("L")` gives (ITU-R 601-2, in 16 bits).
    #[must_use]
    pub fn greyed(&self) -> Self {
        let luma = |rgb: &[u8]| {
            let [red, green, blue] = [rgb[0], rgb[1], rgb[2]].map(u32::from);
            ((19_595 * red + 38_470 * green + 7_471 * blue + 0x8000) >> 16) as u8
        };
        let pixels = self.pixels.chunks_exact(3).flat_map(|rgb| [luma(rgb); 3]).collect();
        Self { pixels, ..*self }
    }

    /// Channel-first floats `[channels, height, width]` of the first channels: of each that has a table, `c` of a pixel becomes
    /// `table[c][value]`.
    pub(crate) fn planes(&self, tables: &[[f32; 256]]) -> Vec<f32> {
        let channel = |c: usize| self.pixels.chunks_exact(3).map(move |rgb| tables[c][usize::from(rgb[c])]);
        let mut planes = Vec::with_capacity(self.height * self.width * tables.len());
        (0..tables.len()).for_each(|c| planes.extend(channel(c)));
        planes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(height: usize, width: usize) -> Image {
        Image::new(height, width, (0..height * width * 3).map(|i| i as u8).collect())
    }

    #[test]
    fn flipping_mirrors_whole_pixels() {
        let mut image = numbered(2, 3);
        image.flip_horizontal();
        assert_eq!(image.pixels(), [6, 7, 8, 3, 4, 5, 0, 1, 2, 15, 16, 17, 12, 13, 14, 9, 10, 11]);
        image.flip_horizontal();
        assert_eq!(image, numbered(2, 3));
    }

    /// By Pillow 13, `Image.convert("L")`.
    #[test]
    fn grey_is_pillows() {
        let rows =
            [([255, 0, 0], 76), ([0, 255, 0], 150), ([0, 0, 255], 29), ([12, 200, 99], 132), ([1, 2, 3], 2)];
        for (rgb, luma) in rows {
            assert_eq!(Image::new(1, 1, rgb.to_vec()).greyed().pixels(), [luma; 3], "{rgb:?}");
        }
        assert!((0..=255).all(|v| Image::from_grey(1, 1, &[v]).greyed().pixels() == [v; 3]));
    }

    #[test]
    fn cropping_keeps_the_region() {
        let part = numbered(4, 4).crop(CropBox { top: 1, left: 2, height: 2, width: 1 });
        assert_eq!(part.pixels(), [18, 19, 20, 30, 31, 32]);
    }
}
