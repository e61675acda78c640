//! JPEG, bit by bit as libjpeg-turbo decodes it, and so as Pillow, torchvision and the released checkpoints' training saw it.
//! The decoder of the crate `image` has another inverse cosine transform and another upsampling of colour: after resizing, one
//! value in thirty is off by more than one step of 255, at most by eight.

use ::image::metadata::Orientation;
use ::image::{DynamicImage, RgbImage};
use libjpeg_turbo_rs::{Decoder, JpegError, PixelFormat};

const START_OF_IMAGE: [u8; 2] = [0xff, 0xd8];
const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
const START_OF_SCAN: u8 = 0xda;

/// Decodes a grey or three-channel JPEG and stands it upright. `None` for other formats, and for CMYK, which the crate `image`
/// converts as Pillow does.
/// A picture of more than `max_bytes` is an error.
pub(crate) fn decode(bytes: &[u8], max_bytes: u64) -> Option<Result<DynamicImage, String>> {
    if !bytes.starts_with(&START_OF_IMAGE) {
        return None;
    }
    if is_truncated(bytes) {
        return Some(Err("the file ends before the end of the image".to_owned()));
    }
    match Decoder::new(bytes) {
        Ok(decoder) if decoder.header().components.len() == 4 => None,
        Ok(decoder) => Some(upright(decoder, max_bytes).map_err(|error| error.to_string())),
        Err(error) => Some(Err(error.to_string())),
    }
}

fn upright(mut decoder: Decoder<'_>, max_bytes: u64) -> Result<DynamicImage, JpegError> {
    decoder.set_max_memory(max_bytes as usize);
    decoder.set_max_pixels(max_bytes as usize / 3);
    decoder.set_output_format(PixelFormat::Rgb);
    let orientation = decoder.exif_orientation().and_then(Orientation::from_exif);
    let decoded = decoder.decode_image()?;
    let image = RgbImage::from_raw(decoded.width as u32, decoded.height as u32, decoded.data);
    let mut image = DynamicImage::from(image.expect("a decoded picture has width x height x 3 bytes"));
    image.apply_orientation(orientation.unwrap_or(Orientation::NoTransforms));
    Ok(image)
}

/// Whether a JPEG has no end-of-image marker after the header of its first scan. The decoder would fill the rest with grey.
/// Coded data never contains the marker, thumbnails lie before the scan and trailers after the end.
fn is_truncated(bytes: &[u8]) -> bool {
    first_scan(bytes).is_none_or(|coded| !coded.windows(2).any(|pair| pair == END_OF_IMAGE))
}

/// What follows the marker of the first scan of a JPEG: its segments are walked by their lengths.
fn first_scan(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.get(2..)?;
    loop {
        match *rest {
            [0xff, START_OF_SCAN, ..] => return Some(rest),
            [0xff, 0xff, ..] => rest = &rest[1..],
            [0xff, _, high, low, ..] => {
                rest = rest.get(2 + usize::from(u16::from_be_bytes([high, low]))..)?
            }
            _ => return None,
        }
    }
}
