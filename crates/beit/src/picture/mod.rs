//! Small images in a grid, as a PNG, with words and colours.

mod canvas;
pub(crate) mod chart;
mod colours;
mod grid;

pub use colours::colour;
pub(crate) use colours::{coloured, mosaic};
pub use grid::{Cell, Grid};

use crate::error::{Error, Result};
use crate::files;
use beit_data::{Filter, Image, Samples};
use canvas::Canvas;
use flate2::Crc;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use std::borrow::Cow;
use std::path::Path;

/// Writes rows of images, as they are [shown](Image::shown), without words.
///
/// # Errors
///
/// As [`Grid::write`].
pub fn write_grid(path: &Path, rows: &[Vec<Image>]) -> Result<()> {
    Grid::new(rows.iter().cloned()).write(path)
}

fn write_png(path: &Path, image: &Image) -> Result<()> {
    let mut bytes = Vec::new();
    let (width, height) = (image.width() as u32, image.height() as u32);
    PngEncoder::new(&mut bytes)
        .write_image(image.pixels(), width, height, ExtendedColorType::Rgb8)
        .map_err(|error| Error::file("write", path)(std::io::Error::other(error)))?;
    files::write(path, &signed(&bytes))
}

/// By which files are known to be written here.
pub(crate) const GENERATOR: &str = "BEiT in Rust";
/// The text of a PNG by which it is known to be drawn here: key and value.
const SOFTWARE: &[u8] = b"Software\0BEiT in Rust";
/// Where the first chunk of a PNG ends, which has the sizes.
const HEADER: usize = 33;

/// A PNG with [`SOFTWARE`] in it, after its header.
pub(crate) fn signed(png: &[u8]) -> Vec<u8> {
    let (header, rest) = png.split_at(HEADER);
    let chunk = [b"tEXt", SOFTWARE].concat();
    let mut crc = Crc::new();
    crc.update(&chunk);
    let length = (SOFTWARE.len() as u32).to_be_bytes();
    [header, &length, &chunk, &crc.sum().to_be_bytes(), rest].concat()
}

/// Whether a file that begins so was drawn here.
pub(crate) fn is_drawn(begin: &[u8]) -> bool {
    begin.get(HEADER + 8..).is_some_and(|text| text.starts_with(SOFTWARE))
}

/// Planes `[C, height, width]` of values that `share` turns into 0 to 1: RGB of 8 bits of three channels, 16 bits of the channels that are
/// shown of others.
pub(crate) fn from_planes(planes: &[f32], [height, width]: [usize; 2], share: impl Fn(f32) -> f32) -> Image {
    let area = height * width;
    let channels = planes.len() / area;
    let shown = Image::shown_channels(channels);
    let value = |i: usize, greatest: f32| (greatest * share(planes[i % shown * area + i / shown])).round();
    // The conversion of a float to an integer saturates.
    let samples: Samples = match channels {
        3 => (0..3 * area).map(|i| value(i, 255.0) as u8).collect::<Vec<_>>().into(),
        _ => (0..shown * area).map(|i| value(i, 65_535.0) as u16).collect::<Vec<_>>().into(),
    };
    Image::of_channels(height, width, shown, samples)
}

/// An image whose longer side has at most so many pixels.
pub(crate) fn at_most(image: &Image, side: usize) -> Cow<'_, Image> {
    let [height, width] = image.size();
    let longer = height.max(width);
    if longer <= side {
        return Cow::Borrowed(image);
    }
    let smaller = |of: usize| (of * side).div_ceil(longer);
    Cow::Owned(image.resize([smaller(height), smaller(width)], Filter::Bicubic))
}

/// Paints the masked patches of a `[rows, cols]` grid grey.
pub(crate) fn greyed(image: &Image, mask: &[bool], [rows, cols]: [usize; 2]) -> Image {
    const GREY: u8 = 128;
    let mut painted = image.shown().into_owned();
    let (height, width) = (image.height(), image.width());
    for y in 0..height {
        for x in 0..width {
            if mask[y * rows / height * cols + x * cols / width] {
                painted.pixels_mut()[(y * width + x) * 3..][..3].fill(GREY);
            }
        }
    }
    painted
}

/// The image as large as a [`Grid`] shows it, with a white frame in a black one around one cell of a `[rows, cols]` grid.
pub(crate) fn framed(image: &Image, cell: usize, [rows, cols]: [usize; 2]) -> Image {
    let zoom = grid::zoom(image);
    let mut canvas = Canvas::of(image, zoom);
    let (height, width) = (image.height() * zoom, image.width() * zoom);
    let [top, left] = [cell / cols * height / rows, cell % cols * width / cols];
    let [bottom, right] = [(cell / cols + 1) * height / rows, (cell % cols + 1) * width / cols];
    let sides = [bottom - top, right - left];
    canvas.frame([top, left], sides, [0; 3]);
    canvas.frame([top + 1, left + 1], sides.map(|side| side.saturating_sub(2)), [255; 3]);
    canvas.into_image()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_known_again() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("grid.png");
        write_grid(&path, &[vec![Image::new(2, 3, vec![7; 18])]]).expect("it can be written");
        let bytes = std::fs::read(&path).expect("it is there");
        assert!(is_drawn(&bytes));
        // The checksum of the text is right: a strict reader takes it.
        let read = Image::open(&path).expect("a PNG");
        assert_eq!(read.pixels()[..3], [canvas::BACKGROUND; 3]);
        assert!(!is_drawn(b"\x89PNG"));
    }

    #[test]
    fn large_images_become_smaller() {
        let image = Image::from_grey(30, 200, &[9; 6000]);
        assert_eq!(at_most(&image, 100).size(), [15, 100]);
        assert!(matches!(at_most(&image, 200), Cow::Borrowed(_)));
    }

    #[test]
    fn a_cell_is_framed() {
        let framed = framed(&Image::from_grey(28, 28, &[128; 784]), 3, [2, 2]);
        assert_eq!(framed.size(), [84, 84]);
        let at = |y: usize, x: usize| framed.pixels()[(y * 84 + x) * 3];
        assert_eq!(
            [at(42, 42), at(83, 83), at(43, 43), at(82, 50), at(44, 44), at(41, 41)],
            [0, 0, 255, 255, 128, 128]
        );
    }
}
