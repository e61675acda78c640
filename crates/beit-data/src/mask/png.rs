//! The values of PNG files as they are: never scaled, and a palette's numbers instead of its colours.

use std::io::Cursor;
use std::path::Path;

use ::png::{BitDepth, ColorType, Decoder, Limits, Transformations};

use crate::decode::MAX_DECODED_BYTES;
use crate::error::{Error, Result};
use crate::files::read_regular;

/// Longest file that is read as a mask, in bytes.
const MAX_BYTES: u64 = 1 << 28;

/// What a mask file holds.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) values: Values,
    /// Colours of numbers, where the file has them.
    pub(crate) palette: Option<Vec<[u8; 3]>>,
}

/// The pixels of a mask file.
#[derive(Debug)]
pub(crate) enum Values {
    /// `[height, width]`.
    Numbers(Vec<u8>),
    /// `[height, width, 3]`.
    Colours(Vec<u8>),
}

impl Raw {
    /// Reads a mask file.
    ///
    /// # Errors
    ///
    /// [`Error::Mask`], naming the file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let bytes = read_regular(path, MAX_BYTES).map_err(|error| error.to_string());
        let decoded = bytes.and_then(|bytes| Self::decode(&bytes));
        decoded.map_err(|reason| Error::Mask { name: path.display().to_string(), reason })
    }

    fn decode(bytes: &[u8]) -> std::result::Result<Self, String> {
        if !bytes.starts_with(b"\x89PNG") {
            return Err(no_png(bytes));
        }
        let limits = Limits { bytes: (MAX_DECODED_BYTES / 8) as usize };
        let mut decoder = Decoder::new_with_limits(Cursor::new(bytes), limits);
        decoder.set_transformations(Transformations::IDENTITY);
        let mut reader = decoder.read_info().map_err(|error| error.to_string())?;
        let info = reader.info();
        let (kind, depth) = (info.color_type, info.bit_depth);
        let [height, width] = [info.height, info.width].map(|side| side as usize);
        check(kind, depth)?;
        let palette = info.palette.as_ref().map(|colours| colours.as_chunks::<3>().0.to_vec());
        // Numbers of one bit become a byte each.
        let numbers = height as u64 * width as u64;
        let length =
            reader.output_buffer_size().filter(|&bytes| numbers.max(bytes as u64) <= MAX_DECODED_BYTES / 4);
        let length = length.ok_or_else(|| {
            format!(
                "its {height} x {width} pixels take too much memory, expected at most {} bytes",
                MAX_DECODED_BYTES / 4
            )
        })?;
        let mut pixels = vec![0; length];
        reader.next_frame(&mut pixels).map_err(|error| error.to_string())?;
        let values = match kind {
            ColorType::Rgb => Values::Colours(pixels),
            ColorType::Rgba => Values::Colours(opaque::<4>(&pixels, width)?),
            ColorType::GrayscaleAlpha => Values::Numbers(opaque::<2>(&pixels, width)?),
            ColorType::Grayscale | ColorType::Indexed => Values::Numbers(unpack(&pixels, width, depth)),
        };
        Ok(Self { height, width, values, palette: palette.filter(|_| kind == ColorType::Indexed) })
    }
}

/// Refuses what no number of a class has.
fn check(kind: ColorType, depth: BitDepth) -> std::result::Result<(), String> {
    match depth {
        BitDepth::Sixteen => Err(format!(
            "a {} PNG of 16 bits, which is not read as a mask; expected at most 8 bits: save the numbers of classes, 0 to 254, as 8-bit grey",
            name(kind)
        )),
        _ => Ok(()),
    }
}

fn name(kind: ColorType) -> &'static str {
    match kind {
        ColorType::Grayscale | ColorType::GrayscaleAlpha => "grey",
        ColorType::Indexed => "palette",
        ColorType::Rgb | ColorType::Rgba => "RGB",
    }
}

fn no_png(bytes: &[u8]) -> String {
    let found = match bytes {
        [] => "the file is empty",
        [0xff, 0xd8, ..] => "found a JPEG, whose values are not exact",
        _ => "found another file",
    };
    format!("{found}; expected a PNG in grey, with a palette, or in RGB: save masks as PNG")
}

/// Numbers of less than 8 bits, each in a byte. Rows begin with a byte.
fn unpack(pixels: &[u8], width: usize, depth: BitDepth) -> Vec<u8> {
    let bits = depth as usize;
    if bits == 8 {
        return pixels.to_vec();
    }
    let each = 8 / bits;
    let mask = (1_u8 << bits) - 1;
    let value = |row: &[u8], x: usize| row[x / each] >> (8 - bits - bits * (x % each)) & mask;
    pixels.chunks_exact(width.div_ceil(each)).flat_map(|row| (0..width).map(move |x| value(row, x))).collect()
}

/// Pixels of `N` channels without the last, which says how transparent they are. What is seen through has no certain class.
fn opaque<const N: usize>(pixels: &[u8], width: usize) -> std::result::Result<Vec<u8>, String> {
    let pixels = pixels.as_chunks::<N>().0;
    if let Some(at) = pixels.iter().position(|pixel| pixel[N - 1] != u8::MAX) {
        let (x, y) = (at % width, at / width);
        return Err(format!(
            "pixel ({x}, {y}) is transparent; expected a mask without transparency: save it as grey or RGB"
        ));
    }
    Ok(pixels.iter().flat_map(|pixel| &pixel[..N - 1]).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::ZlibEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    const KINDS: [ColorType; 5] = [
        ColorType::Grayscale,
        ColorType::Indexed,
        ColorType::Rgb,
        ColorType::Rgba,
        ColorType::GrayscaleAlpha,
    ];
    const DEPTHS: [BitDepth; 5] =
        [BitDepth::One, BitDepth::Two, BitDepth::Four, BitDepth::Eight, BitDepth::Sixteen];

    /// A file of this header with any data, or none where a header cannot be so.
    fn file(size: [u32; 2], kind: ColorType, depth: BitDepth, data: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut encoder = ::png::Encoder::new(&mut bytes, size[1], size[0]);
        encoder.set_color(kind);
        encoder.set_depth(depth);
        encoder.set_palette(vec![7; 6]);
        let mut writer = encoder.write_header().ok()?;
        let mut packed = ZlibEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(data).ok()?;
        writer.write_chunk(::png::chunk::IDAT, &packed.finish().ok()?).ok()?;
        drop(writer);
        Some(bytes)
    }

    proptest! {
        #[test]
        fn any_file_is_read_whole_or_refused(
            size in [1_u32..20, 1..20], kind in prop::sample::select(&KINDS[..]), depth in prop::sample::select(&DEPTHS[..]),
            filter in 0_u8..6, data in prop::collection::vec(0_u8..6, 0..1500), cut in 0.0..2.0_f64,
        ) {
            let data: Vec<u8> = std::iter::once(filter).chain(data).collect();
            let Some(bytes) = file(size, kind, depth, &data) else { return Ok(()) };
            let end = (bytes.len() as f64 * cut.min(1.0)) as usize;
            let Ok(raw) = Raw::decode(&bytes[..end]) else { return Ok(()) };
            prop_assert_eq!([raw.height, raw.width], size.map(|side| side as usize));
            let length = match raw.values {
                Values::Numbers(numbers) => numbers.len(),
                Values::Colours(colours) => colours.len() / 3,
            };
            prop_assert_eq!(length, raw.height * raw.width);
        }
    }
}
