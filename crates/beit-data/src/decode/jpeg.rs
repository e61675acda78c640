//! JPEG, bit by bit as libjpeg-turbo decodes it, and so as Pillow, torchvision and the released checkpoints' training saw it.
//! The decoder of the crate `image` has another inverse cosine transform and another upsampling of colour: after resizing, one
//! value in thirty is off by more than one step of 255, at most by eight.

use ::image::RgbImage;
use ::image::metadata::Orientation;
use libjpeg_turbo_rs::{ComponentInfo, Decoder, FrameHeader, PixelFormat};

use super::budget::{Budget, Needs};
use super::outline::Outline;
use super::{raster, upright};

const START_OF_IMAGE: [u8; 2] = [0xff, 0xd8];
/// Channels of CMYK.
const CMYK: u64 = 4;

/// Whether a file begins as a JPEG does.
pub(super) fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(&START_OF_IMAGE)
}

/// Decodes a JPEG and stands it upright. CMYK is left to the crate `image`, which converts it as Pillow does.
pub(super) fn decode(bytes: &[u8], budget: Budget) -> Result<RgbImage, String> {
    let outline = Outline::read(bytes);
    // Before the decoder is made, since it keeps a copy of the tables for each scan.
    outline.check()?;
    let decoder = Decoder::new(bytes).map_err(|error| error.to_string())?;
    let frame = decoder.header();
    let (pixels, channels) = (pixels(frame), frame.components.len() as u64);
    outline.check_scans(pixels, channels)?;
    if channels == CMYK {
        outline.check_cmyk()?;
        // It copies the file, and keeps a coefficient of 16 bits for each sample.
        return raster::decode_beside(bytes, 2 * samples(frame) + bytes.len() as u64, budget);
    }
    let working = working(frame, &outline);
    decode_turbo(decoder, working, budget)
}

fn decode_turbo(mut decoder: Decoder<'_>, working: u64, budget: Budget) -> Result<RgbImage, String> {
    let frame = decoder.header();
    let needs = Needs {
        size: [frame.height.into(), frame.width.into()],
        working,
        decoded: 3 * pixels(frame),
        orientation: decoder
            .exif_orientation()
            .and_then(Orientation::from_exif)
            .unwrap_or(Orientation::NoTransforms),
    };
    budget.check(&needs)?;
    // The decoder reckons rare kinds of subsampling too.
    decoder.set_max_memory(budget.0 as usize);
    decoder.set_output_format(PixelFormat::Rgb);
    let decoded = decoder.decode_image().map_err(|error| error.to_string())?;
    let image = RgbImage::from_raw(decoded.width as u32, decoded.height as u32, decoded.data);
    let image = image.expect("a decoded picture has width x height x 3 bytes");
    Ok(upright(image, needs.orientation))
}

/// Bytes in use beside the RGB pixels: metadata, which are copied twice, and the channels, which are subsampled or not. A progressive
/// picture keeps all coefficients of 16 bits, and a mark for each block; a lossless one has samples of 16 bits.
fn working(frame: &FrameHeader, outline: &Outline) -> u64 {
    let samples = samples(frame);
    let channels = samples.max(pixels(frame) * frame.components.len() as u64);
    let coefficients = if frame.is_progressive { 2 * samples + samples / 64 } else { 0 };
    let wide = if outline.is_lossless() { channels } else { 0 };
    2 * outline.header + channels + coefficients + wide
}

fn pixels(frame: &FrameHeader) -> u64 {
    u64::from(frame.width) * u64::from(frame.height)
}

/// Samples of all channels, in whole blocks: a thin picture has many that are never seen.
fn samples(frame: &FrameHeader) -> u64 {
    let most = |factor: fn(&ComponentInfo) -> u8| {
        u64::from(frame.components.iter().map(factor).max().unwrap_or(1)).max(1)
    };
    let (across, down) = (most(|c| c.horizontal_sampling), most(|c| c.vertical_sampling));
    let blocks = u64::from(frame.width).div_ceil(8 * across) * u64::from(frame.height).div_ceil(8 * down);
    let each = |c: &ComponentInfo| 64 * u64::from(c.horizontal_sampling) * u64::from(c.vertical_sampling);
    blocks * frame.components.iter().map(each).sum::<u64>()
}
