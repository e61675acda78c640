//! Samples of a TIFF, as RGB of 8 bits.

use super::super::cmyk;
use super::directory::{self, Directory};

/// Samples as they are decoded, row after row.
pub(super) struct Samples<'a> {
    pub(super) bytes: &'a [u8],
    /// Bytes of a row.
    pub(super) row: usize,
    /// Bytes of a channel, where each lies apart.
    pub(super) plane: Option<usize>,
    /// Samples of a pixel.
    pub(super) count: usize,
    /// Bits of a sample: 1, 2, 4, 8, or 16 in the machine's own order.
    pub(super) bits: usize,
}

/// What samples mean.
pub(super) enum Colours {
    /// From black to white.
    Grey,
    /// Numbers of colours.
    Palette(Vec<[u8; 3]>),
    Rgb,
    /// RGB multiplied by the transparency behind it.
    Multiplied,
    Cmyk,
}

impl Colours {
    /// What the samples of a picture mean.
    ///
    /// # Errors
    ///
    /// Where they mean what is not read.
    pub(super) fn of(directory: &Directory) -> Result<Self, String> {
        let Directory { photometric, samples, bits, .. } = *directory;
        let whole = matches!(bits, 8 | 16);
        let small = matches!(bits, 1 | 2 | 4 | 8);
        match photometric {
            directory::GREY if (small && samples == 1) || whole => Ok(Self::Grey),
            directory::WHITE_IS_ZERO if (small || whole) && samples == 1 => Ok(Self::Grey),
            directory::PALETTE if small && (samples == 1 || whole) => Ok(Self::palette(&directory.palette)),
            directory::RGB if whole && samples > 3 && directory.is_multiplied => Ok(Self::Multiplied),
            directory::RGB if whole && samples >= 3 => Ok(Self::Rgb),
            directory::CMYK if whole && samples >= 4 => Ok(Self::Cmyk),
            _ => Err(unread(directory)),
        }
    }

    /// Of the 16 bits of a colour the upper eight are taken.
    fn palette(map: &[u16]) -> Self {
        let third = map.len() / 3;
        let colour = |index: usize| [0, 1, 2].map(|channel| (map[channel * third + index] >> 8) as u8);
        Self::Palette((0..third).map(colour).collect())
    }

    /// `samples -> [height, width, 3]`.
    pub(super) fn show(&self, samples: &Samples<'_>, [height, width]: [usize; 2]) -> Vec<u8> {
        let mut pixels = Vec::with_capacity(height * width * 3);
        for y in 0..height {
            match (self, samples.bytes_of_row(y, width)) {
                // Most files.
                (Self::Rgb, Some(row)) => {
                    pixels.extend(
                        row.chunks_exact(samples.count).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]),
                    );
                }
                _ => {
                    let colour = |x| self.colour(|channel| samples.at(y, x, channel), samples.greatest());
                    pixels.extend((0..width).flat_map(colour));
                }
            }
        }
        pixels
    }

    fn colour(&self, sample: impl Fn(usize) -> u8, greatest: u8) -> [u8; 3] {
        match self {
            Self::Grey => [sample(0) * (255 / greatest); 3],
            Self::Palette(palette) => palette.get(usize::from(sample(0))).copied().unwrap_or_default(),
            Self::Rgb => [0, 1, 2].map(sample),
            Self::Multiplied => [0, 1, 2].map(|channel| divided(sample(channel), sample(3))),
            Self::Cmyk => cmyk::colour([0, 1, 2, 3].map(sample)),
        }
    }
}

/// A colour before it was multiplied by its transparency; black where it is not seen at all.
fn divided(colour: u8, alpha: u8) -> u8 {
    (u32::from(colour) * 255).checked_div(alpha.into()).unwrap_or(0).min(255) as u8
}

fn unread(directory: &Directory) -> String {
    let Directory { photometric, samples, bits, .. } = *directory;
    let kind = match photometric {
        directory::WHITE_IS_ZERO | directory::GREY => "in grey",
        directory::RGB => "in RGB",
        directory::PALETTE => "with a palette",
        directory::CMYK => "in CMYK",
        directory::YCBCR => "in YCbCr, but not compressed by JPEG,",
        4 => "that is a mask",
        8..=10 => "in L*a*b*",
        _ => "of an unknown kind",
    };
    format!(
        "a TIFF {kind} of {samples} x {bits} bits a pixel, which is not read; save it as RGB of 3 x 8 bits"
    )
}

impl Samples<'_> {
    /// The greatest value of [`at`](Self::at).
    fn greatest(&self) -> u8 {
        if self.bits < 8 { (1 << self.bits) - 1 } else { 255 }
    }

    /// The samples of a row, where each is a byte and those of a pixel lie together.
    fn bytes_of_row(&self, y: usize, width: usize) -> Option<&[u8]> {
        let is_plain = self.bits == 8 && self.plane.is_none();
        is_plain.then(|| &self.bytes[y * self.row..][..width * self.count])
    }

    /// A sample; of 16 bits the upper eight.
    fn at(&self, y: usize, x: usize, channel: usize) -> u8 {
        let (start, index) = match self.plane {
            Some(plane) => (channel * plane, x),
            None => (0, x * self.count + channel),
        };
        let row = &self.bytes[start + y * self.row..];
        match self.bits {
            16 => (u16::from_ne_bytes([row[index * 2], row[index * 2 + 1]]) >> 8) as u8,
            8 => row[index],
            bits => {
                let bit = index * bits;
                (row[bit / 8] >> (8 - bits - bit % 8)) & self.greatest()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_lie_in_bits_bytes_and_planes() {
        let samples = |bytes, plane, count, bits| Samples { bytes, row: 4, plane, count, bits };
        let bits = samples(&[0b1000_0000, 0, 0, 0, 0b0110_0000, 0, 0, 0], None, 1, 1);
        assert_eq!([bits.at(0, 0, 0), bits.at(0, 1, 0), bits.at(1, 2, 0), bits.greatest()], [1, 0, 1, 1]);
        let fours = samples(&[0x12, 0x34, 0, 0], None, 1, 4);
        assert_eq!([0, 1, 2, 3].map(|x| fours.at(0, x, 0)), [1, 2, 3, 4]);
        let words = [0x1234_u16.to_ne_bytes(), 0xfedc_u16.to_ne_bytes()].concat();
        assert_eq!(samples(&words, None, 2, 16).at(0, 0, 1), 0xfe);
        let planes = samples(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], Some(4), 3, 8);
        assert_eq!([0, 1, 2].map(|channel| planes.at(0, 1, channel)), [2, 6, 10]);
    }

    #[test]
    fn a_missing_colour_is_black() {
        let palette = Colours::palette(&[0x1122, 0x3344, 0x5566, 0x7788, 0x99aa, 0xbbcc]);
        assert_eq!(palette.colour(|_| 1, 255), [0x33, 0x77, 0xbb]);
        assert_eq!(palette.colour(|_| 2, 255), [0; 3]);
        assert_eq!(Colours::Grey.colour(|_| 2, 3), [170; 3]);
        assert_eq!(Colours::Multiplied.colour(|channel| [10, 200, 0, 100][channel], 255), [25, 255, 0]);
        assert_eq!(Colours::Multiplied.colour(|channel| [10, 0, 0, 0][channel], 255), [0; 3]);
    }
}
