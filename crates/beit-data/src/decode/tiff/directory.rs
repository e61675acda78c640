//! What the directory of a TIFF says of its picture.

use ::image::RgbImage;
use ::image::metadata::Orientation;
use ::tiff::decoder::ChunkType;
use ::tiff::tags::{ByteOrder, CompressionMethod, Tag};

use super::super::said;
use super::Reader;

/// Values of `PhotometricInterpretation`.
pub(super) const WHITE_IS_ZERO: u16 = 0;
pub(super) const GREY: u16 = 1;
pub(super) const RGB: u16 = 2;
pub(super) const PALETTE: u16 = 3;
pub(super) const CMYK: u16 = 5;
pub(super) const YCBCR: u16 = 6;

/// Values of `ExtraSamples`: transparency by which the colours are multiplied.
const ASSOCIATED_ALPHA: u16 = 1;
/// Values of `Predictor`: samples as they are.
pub(super) const NO_PREDICTOR: u16 = 1;
/// Values of `SampleFormat`: whole numbers without sign.
const UNSIGNED: u16 = 1;

/// The first picture of a file.
pub(super) struct Directory {
    /// `[height, width]`.
    pub(super) size: [usize; 2],
    /// `[height, width]` of a strip or a tile.
    pub(super) chunk: [usize; 2],
    pub(super) is_tiled: bool,
    pub(super) compression: CompressionMethod,
    /// What the samples mean.
    pub(super) photometric: u16,
    /// Samples of a pixel.
    pub(super) samples: usize,
    /// Bits of a sample.
    pub(super) bits: usize,
    /// Whether each channel lies apart.
    pub(super) is_planar: bool,
    /// Whether colours are multiplied by the transparency behind them.
    pub(super) is_multiplied: bool,
    /// Whether it speaks of differences of neighbours, and is compressed so that there are none.
    pub(super) has_idle_predictor: bool,
    /// Red, green and blue of all colours, one after another.
    pub(super) palette: Vec<u16>,
    pub(super) orientation: Orientation,
}

impl Directory {
    /// Reads the tags that matter.
    ///
    /// # Errors
    ///
    /// What of it is not read, by its name.
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, String> {
        let (width, height) = reader.dimensions().map_err(said)?;
        let (chunk_width, chunk_height) = reader.chunk_dimensions();
        let is_tiled = reader.get_chunk_type() == ChunkType::Tile;
        // One strip may have more rows than there are.
        let chunk_height = if is_tiled { chunk_height } else { chunk_height.min(height) };
        let mut number = |tag, other: u16| -> Result<u16, String> {
            Ok(reader.find_tag_unsigned(tag).map_err(said)?.unwrap_or(other))
        };
        let compression = CompressionMethod::from_u16_exhaustive(number(Tag::Compression, 1)?);
        let photometric = number(Tag::PhotometricInterpretation, GREY)?;
        let is_reversed = number(Tag::FillOrder, 1)? == 2;
        let samples = number(Tag::SamplesPerPixel, 1)?;
        let is_planar = number(Tag::PlanarConfiguration, 1)? == 2;
        let predictor = number(Tag::Predictor, NO_PREDICTOR)?;
        let orientation = number(Tag::Orientation, 1)?;
        let mut numbers = |tag| -> Result<Vec<u16>, String> {
            Ok(reader.find_tag_unsigned_vec(tag).map_err(said)?.unwrap_or_default())
        };
        let bits = numbers(Tag::BitsPerSample)?.first().copied().unwrap_or(1);
        let formats = numbers(Tag::SampleFormat)?;
        let extra = numbers(Tag::ExtraSamples)?;
        let palette = if photometric == PALETTE { numbers(Tag::ColorMap)? } else { Vec::new() };
        let directory = Self {
            size: [height as usize, width as usize],
            chunk: [chunk_height as usize, chunk_width as usize],
            is_tiled,
            compression,
            photometric,
            samples: samples.into(),
            bits: bits.into(),
            is_planar,
            is_multiplied: extra.first() == Some(&ASSOCIATED_ALPHA),
            has_idle_predictor: predictor != NO_PREDICTOR && !may_predict(compression),
            palette,
            orientation: u8::try_from(orientation)
                .ok()
                .and_then(Orientation::from_exif)
                .unwrap_or(Orientation::NoTransforms),
        };
        directory.check(&formats, is_reversed)?;
        Ok(directory)
    }

    fn check(&self, formats: &[u16], is_reversed: bool) -> Result<(), String> {
        use CompressionMethod::{Deflate, Fax4, LZW, ModernJPEG, None, OldDeflate, PackBits};
        match self.compression {
            None | LZW | Deflate | OldDeflate | PackBits | Fax4 | ModernJPEG => {}
            other => {
                let codec = codec(other);
                return Err(format!(
                    "a TIFF compressed by {codec}, which is not read; save it with LZW or Deflate"
                ));
            }
        }
        if formats.iter().any(|&format| format != UNSIGNED) {
            return Err(
                "a TIFF of floats or of numbers with a sign, which is not read; save it with 8 bits a sample"
                    .to_owned(),
            );
        }
        if is_reversed {
            return Err(
                "a TIFF with the bits of a byte reversed, which is not read; save it with FillOrder 1"
                    .to_owned(),
            );
        }
        Ok(())
    }

    pub(super) fn is_palette(&self) -> bool {
        self.photometric == PALETTE
    }

    /// Most bytes of a strip or a tile.
    pub(super) fn chunk_bytes(&self) -> u64 {
        let sides = self.chunk.map(|side| side as u64);
        sides[0].saturating_mul(sides[1]).saturating_mul((self.samples * self.bits).div_ceil(8) as u64)
    }

    /// The picture of `pixels [height, width, 3]`.
    pub(super) fn picture(&self, pixels: Vec<u8>) -> RgbImage {
        let [height, width] = self.size;
        RgbImage::from_raw(width as u32, height as u32, pixels).expect("there are width x height x 3 bytes")
    }
}

/// The name of a codec that is not read.
fn codec(compression: CompressionMethod) -> String {
    match compression.to_u16() {
        2 => "CCITT RLE".to_owned(),
        3 => "CCITT Group 3".to_owned(),
        6 => "JPEG of the old kind".to_owned(),
        34_712 => "JPEG 2000".to_owned(),
        34_887 => "LERC".to_owned(),
        34_925 => "LZMA".to_owned(),
        50_000 => "Zstandard".to_owned(),
        50_001 => "WebP".to_owned(),
        50_002 => "JPEG XL".to_owned(),
        other => format!("the unknown codec {other}"),
    }
}

/// Whether a codec may store differences of neighbours.
fn may_predict(compression: CompressionMethod) -> bool {
    use CompressionMethod::{Deflate, LZW, OldDeflate};
    matches!(compression, LZW | Deflate | OldDeflate)
}

/// Where the value of a tag of 16 bits lies in the file.
pub(super) fn entry(bytes: &[u8], reader: &mut Reader<'_>, tag: Tag) -> Option<usize> {
    let order = reader.byte_order();
    let number = |at: usize, count: usize| -> Option<usize> {
        let found = bytes.get(at..at.checked_add(count)?)?.iter();
        let add = |number: usize, &byte: &u8| number << 8 | usize::from(byte);
        Some(if order == ByteOrder::BigEndian { found.fold(0, add) } else { found.rev().fold(0, add) })
    };
    let directory = usize::try_from(reader.ifd_pointer()?.0).ok()?;
    // Where offsets have 64 bits, so have the counts.
    let (counter, length, value) = if bytes[..4].contains(&0x2b) { (8, 20, 12) } else { (2, 12, 8) };
    let count = number(directory, counter)?;
    let mut entries = (0..count).map_while(|index| {
        let at = directory.checked_add(counter)?.checked_add(index.checked_mul(length)?)?;
        Some((at, number(at, 2)?))
    });
    let (at, _) = entries.find(|&(_, found)| found == usize::from(tag.to_u16()))?;
    bytes.get(at + value..at + value + 2)?;
    Some(at + value)
}

/// A number of 16 bits in the order of the file.
pub(super) fn short(reader: &Reader<'_>, value: u16) -> [u8; 2] {
    if reader.byte_order() == ByteOrder::BigEndian { value.to_be_bytes() } else { value.to_le_bytes() }
}
