//! Small mask files for the tests.

use png::{BitDepth, ColorType};

/// A PNG of any kind from packed rows, with a palette where it has colours.
pub(crate) fn png(
    [height, width]: [u32; 2],
    kind: ColorType,
    depth: BitDepth,
    colours: &[[u8; 3]],
    rows: &[u8],
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(kind);
    encoder.set_depth(depth);
    if !colours.is_empty() {
        encoder.set_palette(colours.as_flattened().to_vec());
    }
    encoder.write_header().unwrap().write_image_data(rows).unwrap();
    bytes
}

pub(crate) fn grey(size: [u32; 2], ids: &[u8]) -> Vec<u8> {
    png(size, ColorType::Grayscale, BitDepth::Eight, &[], ids)
}

pub(crate) fn rgb(size: [u32; 2], pixels: &[[u8; 3]]) -> Vec<u8> {
    png(size, ColorType::Rgb, BitDepth::Eight, &[], pixels.as_flattened())
}
