//! What the crate `image` decodes: PNG, WebP, and JPEG in CMYK.

use std::io::Cursor;

use ::image::{ColorType, ImageDecoder, ImageReader, Limits, RgbImage};

use super::budget::{Budget, Needs};
use super::{rgb, upright, webp};

/// Decodes a picture and stands it upright.
pub(super) fn decode(bytes: &[u8], budget: Budget) -> Result<RgbImage, String> {
    decode_beside(bytes, webp::working(bytes)?, budget)
}

/// [`decode`] for a decoder that keeps `working` bytes beside the pixels that it gives.
pub(super) fn decode_beside(bytes: &[u8], working: u64, budget: Budget) -> Result<RgbImage, String> {
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
    let (kind, orientation) = (decoder.color_type(), needs.orientation);
    let pixels = read(decoder, &needs, kind).map_err(said)?;
    let image = RgbImage::from_raw(width, height, pixels).expect("there are width x height x 3 bytes");
    Ok(upright(image, orientation))
}

/// The pixels as RGB. The memory was found to fit.
fn read(decoder: impl ImageDecoder, needs: &Needs, kind: ColorType) -> ::image::ImageResult<Vec<u8>> {
    let [height, width] = needs.size;
    let mut pixels = vec![0; needs.decoded.max(needs.rgb()) as usize];
    decoder.read_image(&mut pixels[..needs.decoded as usize])?;
    rgb::rewrite(&mut pixels, (height * width) as usize, kind);
    Ok(pixels)
}

fn said(error: impl ToString) -> String {
    error.to_string()
}
