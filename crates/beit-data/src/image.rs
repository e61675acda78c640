//! Decoded pictures.

mod samples;
mod shown;

pub use samples::Samples;
pub(crate) use samples::each;
pub use shown::Stretch;

/// A picture: RGB of 8 bits a channel, or where pictures are read as they are, 1 to 16 channels of 8 or 16 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    height: usize,
    width: usize,
    channels: usize,
    samples: Samples,
}

/// Channels of red, green and blue.
const RGB: usize = 3;

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
        Self::of_channels(height, width, RGB, Samples::Bytes(pixels))
    }

    /// A picture of any channels from `samples [height, width, channels]`.
    ///
    /// # Panics
    ///
    /// If a side or the number of channels is zero or the lengths do not match.
    #[must_use]
    pub fn of_channels(height: usize, width: usize, channels: usize, samples: Samples) -> Self {
        assert!(height > 0 && width > 0, "expected a picture with pixels, found {height} x {width}");
        assert!(channels > 0, "expected a picture with channels");
        assert_eq!(
            samples.len(),
            height * width * channels,
            "expected {height} x {width} x {channels} samples"
        );
        Self { height, width, channels, samples }
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

    /// Samples of a pixel.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// `[height, width, channels]`.
    #[must_use]
    pub fn samples(&self) -> &Samples {
        &self.samples
    }

    /// Whether it is RGB of 8 bits.
    #[must_use]
    pub fn is_colour(&self) -> bool {
        self.channels == RGB && matches!(self.samples, Samples::Bytes(_))
    }

    /// `[height, width, 3]` of RGB of 8 bits.
    ///
    /// # Panics
    ///
    /// If it is [something else](Self::is_colour), which [`shown`](Self::shown) makes RGB.
    #[must_use]
    pub fn pixels(&self) -> &[u8] {
        match &self.samples {
            Samples::Bytes(pixels) if self.channels == RGB => pixels,
            _ => panic!("{}", self.no_colour()),
        }
    }

    /// `[height, width, 3]` of RGB of 8 bits.
    ///
    /// # Panics
    ///
    /// As [`pixels`](Self::pixels).
    pub fn pixels_mut(&mut self) -> &mut [u8] {
        let what = self.no_colour();
        match &mut self.samples {
            Samples::Bytes(pixels) if self.channels == RGB => pixels,
            _ => panic!("{what}"),
        }
    }

    fn no_colour(&self) -> String {
        format!("expected RGB of 8 bits, found {} channels of {} bits", self.channels, self.samples.bits())
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
        let (stride, part) =
            (self.width * self.channels, left * self.channels..(left + width) * self.channels);
        let samples = each!(&self.samples, values => {
            let mut cut = Vec::with_capacity(height * part.len());
            for row in values.chunks_exact(stride).skip(top).take(height) {
                cut.extend_from_slice(&row[part.clone()]);
            }
            cut.into()
        });
        Self::of_channels(height, width, self.channels, samples)
    }

    /// Mirrors left and right.
    pub fn flip_horizontal(&mut self) {
        let (width, channels) = (self.width, self.channels);
        each!(&mut self.samples, values => mirror(values, width, channels));
    }

    /// Puts `part` over the picture, from this row and column on.
    ///
    /// # Panics
    ///
    /// If it reaches out of the picture, or has other channels or bits.
    pub(crate) fn put(&mut self, part: &Self, [top, left]: [usize; 2]) {
        let (stride, step) = (self.width * self.channels, part.width * part.channels);
        let place = |row: usize| (top + row) * stride + left * part.channels;
        match (&mut self.samples, &part.samples) {
            (Samples::Bytes(to), Samples::Bytes(from)) => lay(from, step, to, place),
            (Samples::Words(to), Samples::Words(from)) => lay(from, step, to, place),
            _ => panic!("expected pictures of as many bits"),
        }
    }

    /// The picture in grey, in all three channels: the luma that Pillow's `convert("L")` gives (ITU-R 601-2, in 16 bits).
    #[must_use]
    pub fn greyed(&self) -> Self {
        let luma = |rgb: &[u8]| {
            let [red, green, blue] = [rgb[0], rgb[1], rgb[2]].map(u32::from);
            ((19_595 * red + 38_470 * green + 7_471 * blue + 0x8000) >> 16) as u8
        };
        let pixels = self.pixels().chunks_exact(RGB).flat_map(|rgb| [luma(rgb); 3]).collect();
        Self::new(self.height, self.width, pixels)
    }

    /// Channel-first floats `[channels, height, width]` of the first `channels`: `value(c, x)` of channel `c`, where x is the sample as a
    /// share of the greatest value.
    pub(crate) fn planes(&self, channels: usize, value: impl Fn(usize, f32) -> f32) -> Vec<f32> {
        let mut planes = Vec::with_capacity(self.height * self.width * channels);
        let greatest = self.samples.greatest();
        for c in 0..channels {
            match &self.samples {
                Samples::Bytes(bytes) => {
                    let table: [f32; 256] = std::array::from_fn(|byte| value(c, byte as f32 / greatest));
                    let channel = bytes[c..].iter().step_by(self.channels);
                    planes.extend(channel.map(|&byte| table[usize::from(byte)]));
                }
                Samples::Words(words) => {
                    let channel = words[c..].iter().step_by(self.channels);
                    planes.extend(channel.map(|&word| value(c, f32::from(word) / greatest)));
                }
            }
        }
        planes
    }
}

/// Mirrors the rows of `values [H, width, channels]`.
fn mirror<T>(values: &mut [T], width: usize, channels: usize) {
    for row in values.chunks_exact_mut(width * channels) {
        match channels {
            RGB => row.as_chunks_mut::<RGB>().0.reverse(),
            _ => {
                row.reverse();
                row.chunks_exact_mut(channels).for_each(<[T]>::reverse);
            }
        }
    }
}

/// Copies rows of `step` values to their places.
fn lay<T: Copy>(from: &[T], step: usize, to: &mut [T], place: impl Fn(usize) -> usize) {
    for (row, values) in from.chunks_exact(step).enumerate() {
        to[place(row)..][..step].copy_from_slice(values);
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
    #[test]
    fn any_channels_are_cut_and_mirrored_alike() {
        let mut image = Image::of_channels(2, 3, 2, Samples::Words((0..12).map(|i| i * 300).collect()));
        image.flip_horizontal();
        let part = image.crop(CropBox { top: 1, left: 0, height: 1, width: 2 });
        assert_eq!(part.samples(), &Samples::Words(vec![3000, 3300, 2400, 2700]));
        assert_eq!((part.channels(), part.is_colour(), part.samples().bytes()), (2, false, 8));
    }

    #[test]
    fn planes_are_shares_of_the_greatest_value() {
        let bytes = Image::of_channels(1, 2, 2, Samples::Bytes(vec![0, 51, 255, 102]));
        assert_eq!(bytes.planes(2, |c, x| x + c as f32), [0.0, 1.0, 1.2, 1.4]);
        let words = Image::of_channels(1, 2, 2, Samples::Words(vec![0, 13_107, 65_535, 26_214]));
        assert_eq!(words.planes(2, |c, x| x + c as f32), [0.0, 1.0, 1.2, 1.4]);
    }
}
