//! Small images in a grid, as a PNG.

use crate::error::{Error, Result};
use crate::files;
use beit_data::{Image, Samples};
use flate2::Crc;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use std::path::Path;

/// Pixels between two images.
const GAP: usize = 4;
/// Images are enlarged by a whole factor until their height reaches this.
const HEIGHT: usize = 84;
/// White.
const BACKGROUND: u8 = 255;

/// Writes rows of images of one size, as they are [shown](Image::shown); each pixel of a small image becomes a square.
///
/// # Errors
///
/// No images, or a file that cannot be written.
pub fn write_grid(path: &Path, rows: &[Vec<Image>]) -> Result<()> {
    let no_images = || Error::Unfit("a picture of no images".to_owned());
    let first = rows.first().and_then(|row| row.first()).ok_or_else(no_images)?;
    let (h, w) = (first.height(), first.width());
    let zoom = HEIGHT.div_ceil(h).max(1);
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let (cell_h, cell_w) = (h * zoom + GAP, w * zoom + GAP);
    let (height, width) = (rows.len() * cell_h + GAP, columns * cell_w + GAP);
    let rows: Vec<Vec<_>> = rows.iter().map(|row| row.iter().map(Image::shown).collect()).collect();
    let mut canvas = vec![BACKGROUND; height * width * 3];
    for (i, row) in rows.iter().enumerate() {
        for (j, image) in row.iter().enumerate() {
            let (top, left) = (GAP + i * cell_h, GAP + j * cell_w);
            for y in 0..h * zoom {
                for x in 0..w * zoom {
                    let from = &image.pixels()[(y / zoom * w + x / zoom) * 3..][..3];
                    canvas[((top + y) * width + left + x) * 3..][..3].copy_from_slice(from);
                }
            }
        }
    }
    let mut bytes = Vec::new();
    PngEncoder::new(&mut bytes)
        .write_image(&canvas, width as u32, height as u32, ExtendedColorType::Rgb8)
        .map_err(|error| Error::file("write", path)(std::io::Error::other(error)))?;
    files::write(path, &signed(&bytes))
}

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
        assert_eq!(read.pixels()[..3], [BACKGROUND; 3]);
        assert!(!is_drawn(b"\x89PNG"));
    }
}
