//! Pictures as they are: every channel, with its 8 or 16 bits.

use ::image::metadata::Orientation;

use super::budget::{Budget, Needs, turns_by_a_quarter};
use super::{npy, other_formats, raster, tiff};
use crate::bands::Bands;
use crate::image::{Image, each};

/// Decodes a PNG, a TIFF or an array of NumPy with so many channels, and stands it upright.
pub(super) fn decode(bytes: &[u8], bands: Bands, budget: Budget) -> Result<Image, String> {
    let (image, orientation) = match bytes {
        _ if npy::is_npy(bytes) => return npy::decode(bytes, bands, budget),
        _ if tiff::is_tiff(bytes) => tiff::decode_bands(bytes, bands, budget)?,
        _ if is_png(bytes) => raster::decode_bands(bytes, bands, budget)?,
        _ => return Err(reason(bytes)),
    };
    Ok(upright(image, orientation))
}

/// `[height, width]` of the upright picture, from its header where that says it.
pub(super) fn size(bytes: &[u8], bands: Bands, budget: Budget) -> Result<[usize; 2], String> {
    match bytes {
        _ if npy::is_npy(bytes) => npy::size(bytes, bands, budget),
        _ if is_png(bytes) => raster::size(bytes, budget),
        _ => decode(bytes, bands, budget).map(|image| [image.height(), image.width()]),
    }
}

/// Refuses a picture of other channels.
pub(super) fn expect(found: usize, bands: Bands) -> Result<(), String> {
    match found == bands.count() {
        true => Ok(()),
        false => Err(format!("it has {found} channels, expected {bands}")),
    }
}

/// Refuses a picture whose samples, and what else is in memory beside them, are more than it may take.
pub(super) fn afford(
    budget: Budget,
    [height, width]: [usize; 2],
    sample_bytes: usize,
    working: u64,
    orientation: Orientation,
) -> Result<(), String> {
    let size = [height, width].map(|side| side as u64);
    let decoded = size[0].saturating_mul(size[1]).saturating_mul(sample_bytes as u64);
    let turned = if turns_by_a_quarter(orientation) { decoded } else { 0 };
    let working = working.saturating_add(turned);
    budget.check(&Needs { size, working, decoded, orientation: Orientation::NoTransforms })
}

/// Samples of 16 bits from bytes in the machine's own order.
pub(super) fn words(bytes: &[u8]) -> Vec<u16> {
    bytes.as_chunks::<2>().0.iter().map(|&pair| u16::from_ne_bytes(pair)).collect()
}

fn is_png(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x89PNG")
}

fn reason(bytes: &[u8]) -> String {
    let begins = |start: &[u8]| bytes.starts_with(start);
    let others: [(bool, &str); 4] = [
        (begins(b"\xff\xd8"), "a JPEG picture"),
        (begins(b"GIF8"), "a GIF picture"),
        (begins(b"RIFF"), "a WebP picture"),
        (begins(b"BM"), "a BMP picture"),
    ];
    match others.iter().find(|(is, _)| *is) {
        Some((_, name)) => format!(
            "it is {name}, whose channels are not read as they are; expected a TIFF, a PNG or an array of NumPy (.npy)"
        ),
        None => other_formats::reason(bytes),
    }
}

/// Turns a picture as its orientation says.
fn upright(image: Image, orientation: Orientation) -> Image {
    use Orientation::*;
    let [height, width] = [image.height(), image.width()];
    let (bottom, right) = (height - 1, width - 1);
    // Where the pixel at (y, x) of the upright picture comes from.
    let from = |y: usize, x: usize| match orientation {
        NoTransforms => [y, x],
        FlipHorizontal => [y, right - x],
        FlipVertical => [bottom - y, x],
        Rotate180 => [bottom - y, right - x],
        Rotate90 => [bottom - x, y],
        Rotate270 => [x, right - y],
        Rotate90FlipH => [x, y],
        Rotate270FlipH => [bottom - x, right - y],
    };
    if orientation == NoTransforms {
        return image;
    }
    let (rows, columns) = if turns_by_a_quarter(orientation) { (width, height) } else { (height, width) };
    let channels = image.channels();
    let samples = each!(image.samples(), values => {
        let mut turned = Vec::with_capacity(values.len());
        for (y, x) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
            let [row, column] = from(y, x);
            turned.extend_from_slice(&values[(row * width + column) * channels..][..channels]);
        }
        turned.into()
    });
    Image::of_channels(rows, columns, channels, samples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::image::RgbImage;

    /// Against the crate that turns pictures in RGB.
    #[test]
    fn every_orientation_is_turned_alike() {
        let pixels: Vec<u8> = (0..2 * 3 * 3).map(|i| i * 7).collect();
        for number in 1..=8 {
            let orientation = Orientation::from_exif(number).unwrap();
            let rgb = super::super::upright(RgbImage::from_raw(3, 2, pixels.clone()).unwrap(), orientation);
            let found = upright(Image::new(2, 3, pixels.clone()), orientation);
            assert_eq!([found.height(), found.width()], [rgb.height() as usize, rgb.width() as usize]);
            assert_eq!(found.pixels(), rgb.as_raw().as_slice(), "{orientation:?}");
        }
    }

    #[test]
    fn what_a_picture_takes_is_reckoned_before() {
        let check = |budget, orientation| afford(Budget(budget), [10, 20], 10, 50, orientation).is_ok();
        assert!(check(2050, Orientation::Rotate180) && !check(2049, Orientation::Rotate180));
        assert!(check(4050, Orientation::Rotate90) && !check(4049, Orientation::Rotate90));
    }
}
