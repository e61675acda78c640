//! Small images in a grid, as a PNG.

use crate::error::{Error, Result};
use beit_data::Image;
use std::path::Path;

/// Pixels between two images.
const GAP: usize = 4;
/// Images are enlarged by a whole factor until their height reaches this.
const HEIGHT: usize = 84;
/// White.
const BACKGROUND: u8 = 255;

/// Writes rows of images of one size; each pixel of a small image becomes a square.
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
    image::save_buffer(path, &canvas, width as u32, height as u32, image::ColorType::Rgb8)
        .map_err(|error| Error::file("write", path)(std::io::Error::other(error)))
}

/// Planes `[3, height, width]` of values that `byte` turns into 0..=255.
pub(crate) fn from_planes(planes: &[f32], [height, width]: [usize; 2], byte: impl Fn(f32) -> f32) -> Image {
    let area = height * width;
    let value = |i: usize| byte(planes[i % 3 * area + i / 3]).round().clamp(0.0, 255.0) as u8;
    Image::new(height, width, (0..3 * area).map(value).collect())
}

/// Paints the masked patches of a `[rows, cols]` grid grey.
pub(crate) fn greyed(image: &Image, mask: &[bool], [rows, cols]: [usize; 2]) -> Image {
    const GREY: u8 = 128;
    let mut painted = image.clone();
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
