//! JPEG, bit by bit as libjpeg-turbo decodes it, and so as Pillow, torchvision and the released checkpoints' training saw it.
//! The decoder of the crate `image` has another inverse cosine transform and another upsampling of colour: after resizing, one
//! value in thirty is off by more than one step of 255, at most by eight.

use ::image::RgbImage;
use ::image::metadata::Orientation;
use libjpeg_turbo_rs::{
    ColorSpace, ComponentInfo, DecodeWarning, Decoder, FrameHeader, PixelFormat, ScalingFactor,
};

use super::budget::{Budget, Needs};
use super::outline::Outline;
use super::{cmyk, planes, said, upright};

const START_OF_IMAGE: [u8; 2] = [0xff, 0xd8];
/// Channels of CMYK.
const CMYK: u64 = 4;

/// Whether a file begins as a JPEG does.
pub(super) fn is_jpeg(bytes: &[u8]) -> bool {
    bytes.starts_with(&START_OF_IMAGE)
}

/// How the channels of a picture are to be understood.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// What the file says, by its markers.
    Coded,
    /// RGB or CMYK as they are, whatever the file says.
    Plain,
}

/// Decodes a JPEG and stands it upright. What a scan lacks, though the file has an end, is filled as libjpeg fills it.
pub(super) fn decode(bytes: &[u8], budget: Budget) -> Result<RgbImage, String> {
    let (decoder, needs) = open(bytes, budget)?;
    let pixels = if is_ink(&decoder) { inks(decoder)? } else { decode_as(PixelFormat::Rgb, decoder)? };
    Ok(upright(picture(pixels, &needs), needs.orientation))
}

/// [`decode`] straight to a half, a quarter or an eighth of the size. `factor` says which, 1, 2, 4 or 8, of the `[height, width]` of
/// the upright picture, which comes back beside it. Ink, and what is no ordinary JPEG, keeps its size.
pub(super) fn decode_reduced(
    bytes: &[u8],
    budget: Budget,
    factor: impl FnOnce([usize; 2]) -> u32,
) -> Result<(RgbImage, [usize; 2]), String> {
    let (mut decoder, mut needs) = open(bytes, budget)?;
    let full = needs.upright();
    let frame = decoder.header();
    if is_ink(&decoder) || frame.is_lossless || frame.precision != 8 {
        return decode(bytes, budget).map(|image| (image, full));
    }
    decoder.set_scale(ScalingFactor::try_new(1, factor(full)).map_err(said)?);
    needs.size = [decoder.output_height() as u64, decoder.output_width() as u64];
    let pixels = decode_as(PixelFormat::Rgb, decoder)?;
    Ok((upright(picture(pixels, &needs), needs.orientation), full))
}

/// `[height, width]` of the upright picture. No scan is decoded.
pub(super) fn size(bytes: &[u8], budget: Budget) -> Result<[usize; 2], String> {
    open(bytes, budget).map(|(_, needs)| needs.upright())
}

/// Decodes a JPEG that is part of another file, which says what its channels are and how large it is at `most`.
pub(super) fn decode_strip(
    bytes: &[u8],
    channels: Coding,
    most: [usize; 2],
    budget: Budget,
) -> Result<RgbImage, String> {
    let (mut decoder, needs) = open(bytes, budget)?;
    let ([height, width], [rows, columns]) = (needs.size, most);
    if height > rows as u64 || width > columns as u64 {
        return Err(format!(
            "expected a strip of at most {rows} x {columns} pixels, found {height} x {width}"
        ));
    }
    let pixels = match channels {
        Coding::Plain if is_ink(&decoder) => {
            let mut pixels = decode_as(PixelFormat::Cmyk, decoder)?;
            cmyk::rewrite(&mut pixels, |value| value);
            pixels
        }
        Coding::Plain
            if decoder.jpeg_color_space() == ColorSpace::YCbCr && decoder.header().components.len() == 3 =>
        {
            decoder.set_output_colorspace(ColorSpace::YCbCr);
            decode_as(PixelFormat::Rgb, decoder)?
        }
        _ => decode_as(PixelFormat::Rgb, decoder)?,
    };
    Ok(picture(pixels, &needs))
}

/// Checks a file and what decoding it takes.
fn open(bytes: &[u8], budget: Budget) -> Result<(Decoder<'_>, Needs), String> {
    let outline = Outline::read(bytes);
    // Before the decoder is made, since it keeps a copy of the tables for each scan.
    outline.check()?;
    let mut decoder = Decoder::new(bytes).map_err(said)?;
    let needs = needs(&decoder, &outline);
    outline.check_scans(needs.size[0] * needs.size[1], decoder.header().components.len() as u64)?;
    budget.check(&needs)?;
    // The decoder reckons rare kinds of subsampling too.
    decoder.set_max_memory(budget.0 as usize);
    decoder.set_lenient(true);
    decoder.set_block_smoothing(true);
    Ok((decoder, needs))
}

fn is_ink(decoder: &Decoder<'_>) -> bool {
    decoder.header().components.len() as u64 == CMYK
}

fn picture(pixels: Vec<u8>, needs: &Needs) -> RgbImage {
    let [height, width] = needs.size.map(|side| side as u32);
    RgbImage::from_raw(width, height, pixels).expect("a decoded picture has width x height x 3 bytes")
}

/// CMYK and YCCK, as RGB. Adobe's programs store what is left of the ink, and so all others do.
fn inks(decoder: Decoder<'_>) -> Result<Vec<u8>, String> {
    let is_even = planes::is_evenly_sampled(decoder.header());
    let mut pixels = if is_even { decode_as(PixelFormat::Cmyk, decoder)? } else { planes::decode(decoder)? };
    cmyk::rewrite(&mut pixels, |value| 255 - value);
    Ok(pixels)
}

fn decode_as(format: PixelFormat, mut decoder: Decoder<'_>) -> Result<Vec<u8>, String> {
    decoder.set_output_format(format);
    let image = decoder.decode_image().map_err(said)?;
    // For what it cannot read, a lenient decoder gives a grey picture.
    let unread = image.warnings.iter().find_map(|warning| match warning {
        DecodeWarning::UnsupportedRecovered { detail } => Some(detail.clone()),
        _ => None,
    });
    unread.map_or(Ok(image.data), Err)
}

fn needs(decoder: &Decoder<'_>, outline: &Outline) -> Needs {
    let frame = decoder.header();
    let channels = if is_ink(decoder) { CMYK } else { 3 };
    Needs {
        size: [frame.height.into(), frame.width.into()],
        working: working(frame, outline),
        decoded: channels * pixels(frame),
        orientation: decoder
            .exif_orientation()
            .and_then(Orientation::from_exif)
            .unwrap_or(Orientation::NoTransforms),
    }
}

/// Bytes in use beside the pixels: metadata, which are copied twice, and the channels, which are subsampled or not; beside four of
/// them lie two enlarged ones. A progressive picture keeps all coefficients of 16 bits, a mark and a mean for each block; a lossless one
/// has samples of 16 bits.
fn working(frame: &FrameHeader, outline: &Outline) -> u64 {
    let samples = samples(frame);
    let count = frame.components.len() as u64;
    let channels = samples.max(pixels(frame) * count);
    let enlarged = if count == CMYK { channels } else { 0 };
    let coefficients = if frame.is_progressive { 2 * samples + samples / 16 } else { 0 };
    let wide = if outline.is_lossless() { channels } else { 0 };
    2 * outline.header + channels + enlarged + coefficients + wide
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
