//! Small encoded pictures for the tests.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageFormat, RgbImage};

/// A picture of one colour with a dark square at its top left.
pub(crate) fn picture(width: u32, height: u32, colour: [u8; 3]) -> DynamicImage {
    let pixel =
        |x, y| if x < width / 4 && y < height / 4 { image::Rgb([10, 10, 10]) } else { image::Rgb(colour) };
    RgbImage::from_fn(width, height, pixel).into()
}

pub(crate) fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub(crate) fn jpeg(number: u8) -> Vec<u8> {
    encode(&picture(32, 24, [number, 120, 255 - number]), ImageFormat::Jpeg)
}

/// Writes a file and the folders above it.
pub(crate) fn write(path: &Path, bytes: &[u8]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// A named pipe, into which nobody writes.
#[cfg(unix)]
pub(crate) fn pipe(path: &Path) {
    use rustix::fs::{CWD, FileType, mknodat};
    mknodat(CWD, path, FileType::Fifo, 0o600.into(), 0).unwrap();
}
