//! TIFF: the first picture of a file, in the kinds that the Python Imaging Library shows too.

mod channels;
mod colours;
mod directory;
mod strips;

use std::borrow::Cow;
use std::io::Cursor;

use ::image::RgbImage;
use ::tiff::decoder::{Decoder, Limits};
use ::tiff::tags::{CompressionMethod, Tag};

use super::budget::{Budget, Needs};
use super::{said, upright};
pub(super) use channels::decode_bands;
use colours::{Colours, Samples};
use directory::Directory;
use strips::Strips;

/// A file that lies in memory, being read.
type Reader<'a> = Decoder<Cursor<&'a [u8]>>;

/// Whether a file begins as a TIFF does: an order of bytes, and 42, or 43 where offsets have 64 bits.
pub(super) fn is_tiff(bytes: &[u8]) -> bool {
    [b"II\x2a\0", b"MM\0\x2a", b"II\x2b\0", b"MM\0\x2b"].iter().any(|start| bytes.starts_with(*start))
}

/// Decodes the first picture and stands it upright.
pub(super) fn decode(bytes: &[u8], budget: Budget) -> Result<RgbImage, String> {
    let mut reader = open(bytes, budget)?;
    let directory = Directory::read(&mut reader)?;
    let strips = Strips::find(bytes, &mut reader, directory.is_tiled)?;
    if directory.compression == CompressionMethod::ModernJPEG {
        return strips::decode(&strips, reader, &directory, budget);
    }
    let colours = Colours::of(&directory)?;
    let shown = as_samples(bytes, &mut reader, &directory)?;
    let mut reader = open(&shown, budget)?;
    let layout = reader.image_buffer_layout().map_err(said)?;
    let copied = if matches!(shown, Cow::Owned(_)) { shown.len() as u64 } else { 0 };
    let raw = layout.complete_len as u64;
    let needs = needs(&directory, raw.saturating_add(copied).saturating_add(directory.chunk_bytes()));
    budget.check(&needs)?;

    let mut samples = vec![0; layout.complete_len];
    reader.read_image_bytes(&mut samples).map_err(said)?;
    let row = layout.row_stride.map_or(0, usize::from);
    let plane = if layout.planes > 1 { layout.plane_stride.map(usize::from) } else { None };
    let samples = Samples { bytes: &samples, row, plane, count: kept(&mut reader)?, bits: directory.bits };
    let pixels = colours.show(&samples, directory.size);
    Ok(upright(directory.picture(pixels), needs.orientation))
}

fn open(bytes: &[u8], budget: Budget) -> Result<Reader<'_>, String> {
    let mut limits = Limits::default();
    // What is decoded is reckoned here; a strip is read from memory.
    limits.decoding_buffer_size = usize::MAX;
    limits.intermediate_buffer_size = usize::MAX;
    limits.ifd_value_size = budget.metadata().0 as usize;
    Ok(Decoder::new(Cursor::new(bytes)).map_err(said)?.with_limits(limits))
}

/// A reader that walks from one directory to the next. What a directory claims to have is allocated before it is read, which the decoder
/// limits by itself in the first only.
fn walk(bytes: &[u8], budget: Budget) -> Result<Reader<'_>, String> {
    let mut limits = Limits::default();
    limits.decoding_buffer_size = budget.metadata().0 as usize;
    limits.ifd_value_size = budget.metadata().0 as usize;
    Ok(Decoder::new(Cursor::new(bytes)).map_err(said)?.with_limits(limits))
}

/// The file as the decoder reads it. It refuses numbers of colours, but not the same bytes where they are called grey; and it
/// takes differences of neighbours where no codec writes any.
fn as_samples<'a>(
    bytes: &'a [u8],
    reader: &mut Reader<'_>,
    directory: &Directory,
) -> Result<Cow<'a, [u8]>, String> {
    let mut bytes = Cow::Borrowed(bytes);
    let mut change = |tag, value| -> Result<(), String> {
        let at = directory::entry(&bytes, reader, tag).ok_or("its directory cannot be read")?;
        bytes.to_mut()[at..at + 2].copy_from_slice(&directory::short(reader, value));
        Ok(())
    };
    if directory.is_palette() {
        change(Tag::PhotometricInterpretation, directory::GREY)?;
    }
    if directory.has_idle_predictor {
        change(Tag::Predictor, directory::NO_PREDICTOR)?;
    }
    Ok(bytes)
}

/// Samples of a pixel that the decoder gives: some that mean nothing are left out.
fn kept(reader: &mut Reader<'_>) -> Result<usize, String> {
    use ::tiff::ColorType::{CMYK, CMYKA, Gray, GrayA, Lab, Multiband, Palette, RGB, RGBA, YCbCr};
    Ok(match reader.colortype().map_err(said)? {
        Gray(_) | Palette(_) => 1,
        GrayA(_) => 2,
        RGB(_) | YCbCr(_) | Lab(_) => 3,
        RGBA(_) | CMYK(_) => 4,
        CMYKA(_) => 5,
        Multiband { num_samples, .. } => num_samples.into(),
        other => return Err(format!("samples that are {other:?}, which is not read")),
    })
}

fn needs(directory: &Directory, working: u64) -> Needs {
    let size = directory.size.map(|side| side as u64);
    let mut needs = Needs { size, working, decoded: 0, orientation: directory.orientation };
    needs.decoded = needs.rgb();
    needs
}
