//! What the crate `image` decodes: PNG, WebP and BMP.

use std::io::Cursor;

use ::image::metadata::Orientation;
use ::image::{ColorType, ImageDecoder, ImageReader, Limits, RgbImage};

use super::bands;
use super::budget::{Budget, Needs};
use super::{rgb, said, upright, webp};
use crate::bands::Bands;
use crate::image::Image;

/// Whether a file begins as one of these does.
pub(super) fn is_raster(bytes: &[u8]) -> bool {
    let is_webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
    is_webp || bytes.starts_with(b"\x89PNG") || bytes.starts_with(b"BM")
}

/// Decodes a picture and stands it upright.
pub(super) fn decode(bytes: &[u8], budget: Budget) -> Result<RgbImage, String> {
    let (decoder, needs) = open(bytes, budget)?;
    let (width, height) = decoder.dimensions();
    let (kind, orientation) = (decoder.color_type(), needs.orientation);
    let pixels = read(decoder, &needs, kind).map_err(said)?;
    let image = RgbImage::from_raw(width, height, pixels).expect("there are width x height x 3 bytes");
    Ok(upright(image, orientation))
}

/// Decodes every channel of a PNG as it is. Grey of fewer bits has 8, and a palette is RGB.
pub(super) fn decode_bands(
    bytes: &[u8],
    bands: Bands,
    budget: Budget,
) -> Result<(Image, Orientation), String> {
    let (decoder, Needs { orientation, decoded, .. }) = open(bytes, budget)?;
    let (kind, (width, height)) = (decoder.color_type(), decoder.dimensions());
    let (channels, size) = (usize::from(kind.channel_count()), [height as usize, width as usize]);
    bands::expect(channels, bands)?;
    let has_words = usize::from(kind.bytes_per_pixel()) == 2 * channels;
    let working = if has_words { decoded } else { 0 };
    let budget = budget.without_metadata();
    bands::afford(budget, size, kind.bytes_per_pixel().into(), working, orientation)?;
    let mut pixels = vec![0; decoded as usize];
    decoder.read_image(&mut pixels).map_err(said)?;
    let samples = if has_words { bands::words(&pixels).into() } else { pixels.into() };
    Ok((Image::of_channels(size[0], size[1], channels, samples), orientation))
}

/// `[height, width]` of the upright picture. No pixel is decoded.
pub(super) fn size(bytes: &[u8], budget: Budget) -> Result<[usize; 2], String> {
    open(bytes, budget).map(|(_, needs)| needs.upright())
}

/// Reads the header and checks what decoding takes.
fn open(bytes: &[u8], budget: Budget) -> Result<(impl ImageDecoder, Needs), String> {
    let working = webp::working(bytes)?;
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(said)?;
    // Opening a PNG reads its profile and its texts.
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(budget.metadata().0);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(said)?;
    let (width, height) = decoder.dimensions();
    let needs = Needs {
        size: [height.into(), width.into()],
        working,
        decoded: decoder.total_bytes(),
        orientation: decoder.orientation().map_err(said)?,
    };
    budget.without_metadata().check(&needs)?;
    Ok((decoder, needs))
}

/// The pixels as RGB. The memory was found to fit.
fn read(decoder: impl ImageDecoder, needs: &Needs, kind: ColorType) -> ::image::ImageResult<Vec<u8>> {
    let [height, width] = needs.size;
    let mut pixels = vec![0; needs.decoded.max(needs.rgb()) as usize];
    decoder.read_image(&mut pixels[..needs.decoded as usize])?;
    rgb::rewrite(&mut pixels, (height * width) as usize, kind);
    Ok(pixels)
}
