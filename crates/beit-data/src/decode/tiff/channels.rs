//! TIFF whose channels are read as they are.

use ::image::metadata::Orientation;
use ::tiff::tags::{CompressionMethod, Tag};

use super::super::bands::{afford, expect, words};
use super::super::budget::Budget;
use super::super::{CUT_SHORT, said};
use super::directory::{self, Directory};
use super::strips::Strips;
use super::{Reader, as_samples, kept, open, walk};
use crate::bands::Bands;
use crate::image::{Image, Samples, each};

/// Decodes so many channels: those of the first page, or where it has one, those of as many pages.
pub(in super::super) fn decode_bands(
    bytes: &[u8],
    bands: Bands,
    budget: Budget,
) -> Result<(Image, Orientation), String> {
    let mut reader = walk(bytes, budget)?;
    let first = Directory::read(&mut reader)?;
    let orientation = first.orientation;
    let is_stack = first.samples == 1 && bands.count() > 1 && reader.more_images();
    let samples = if is_stack {
        stack(bytes, &mut reader, &first, bands, budget)?
    } else {
        expect(first.samples, bands)?;
        page(bytes, &mut reader, &first, (0, 1), budget)?
    };
    let [height, width] = first.size;
    Ok((Image::of_channels(height, width, bands.count(), samples), orientation))
}

/// Decodes as many pages of one channel as there shall be channels.
fn stack(
    bytes: &[u8],
    reader: &mut Reader<'_>,
    first: &Directory,
    bands: Bands,
    budget: Budget,
) -> Result<Samples, String> {
    let mut planes = page(bytes, reader, first, (0, bands.count()), budget)?;
    let mut pages = 1;
    while reader.more_images() {
        if pages == bands.count() {
            return Err(format!("it has more than {bands} pages of one channel, expected {bands}"));
        }
        reader.next_image().map_err(said)?;
        let next = Directory::read(reader)?;
        same_kind(first, &next, pages)?;
        append(&mut planes, page(bytes, reader, &next, (pages, bands.count()), budget)?);
        pages += 1;
    }
    match pages == bands.count() {
        true => interleaved(&planes, first.size, bands.count()),
        false => Err(format!("it has {pages} pages of one channel, expected {bands}")),
    }
}

/// Decodes page `number` of `pages`.
fn page(
    bytes: &[u8],
    reader: &mut Reader<'_>,
    directory: &Directory,
    (number, pages): (usize, usize),
    budget: Budget,
) -> Result<Samples, String> {
    check(directory)?;
    Strips::find(bytes, reader, directory.is_tiled)?;
    let mut shown = as_samples(bytes, reader, directory)?;
    // What is called grey is decoded with all its samples.
    if directory.samples > 1 && directory.photometric != directory::GREY {
        let at = directory::entry(&shown, reader, Tag::PhotometricInterpretation);
        let at = at.ok_or("its directory cannot be read")?;
        shown.to_mut()[at..at + 2].copy_from_slice(&directory::short(reader, directory::GREY));
    }
    let copied = if matches!(shown, std::borrow::Cow::Owned(_)) { shown.len() as u64 } else { 0 };
    let mut reader = open(&shown, budget)?;
    if number > 0 {
        reader.seek_to_image(number).map_err(said)?;
    }
    let layout = reader.image_buffer_layout().map_err(said)?;
    let working = (layout.complete_len as u64).saturating_add(copied).saturating_add(directory.chunk_bytes());
    // Pages lie beside each other before their channels are joined.
    let depth = directory.samples * directory.bits / 8 * if pages > 1 { 2 * pages } else { 1 };
    afford(budget, directory.size, depth, working, directory.orientation)?;
    let mut raw = vec![0; layout.complete_len];
    reader.read_image_bytes(&mut raw).map_err(said)?;
    expect_samples(kept(&mut reader)?, directory)?;
    let samples = if directory.bits == 16 { words(&raw).into() } else { raw.into() };
    let count = directory.samples;
    let samples = if layout.planes > 1 { interleaved(&samples, directory.size, count)? } else { samples };
    match samples.len() == directory.size[0] * directory.size[1] * count {
        true => Ok(samples),
        false => Err(CUT_SHORT.to_owned()),
    }
}

/// Refuses what has no channels as they are.
fn check(directory: &Directory) -> Result<(), String> {
    let Directory { bits, compression, .. } = *directory;
    if directory.is_palette() {
        return Err("a TIFF with a palette, whose numbers are no channels; save it as grey or RGB".to_owned());
    }
    if compression == CompressionMethod::ModernJPEG {
        return Err(
            "a TIFF compressed by JPEG, whose channels are not read as they are; save it with LZW or Deflate"
                .to_owned(),
        );
    }
    match bits {
        8 | 16 => Ok(()),
        _ => Err(format!(
            "a TIFF of {bits} bits a sample, which is not read as it is; save it with 8 or 16 bits"
        )),
    }
}

fn expect_samples(found: usize, directory: &Directory) -> Result<(), String> {
    match found == directory.samples {
        true => Ok(()),
        false => Err(format!("{found} samples of a pixel are decoded, expected {}", directory.samples)),
    }
}

/// Refuses pages that are not of one kind.
fn same_kind(first: &Directory, next: &Directory, number: usize) -> Result<(), String> {
    let of = |directory: &Directory| (directory.size, directory.samples, directory.bits);
    match of(first) == of(next) {
        true => Ok(()),
        false => {
            let (([height, width], samples, bits), expected) = (of(next), of(first));
            Err(format!(
                "page {} has {height} x {width} pixels of {samples} x {bits} bits, expected those of the first, {} x {} of {} x {}",
                number + 1,
                expected.0[0],
                expected.0[1],
                expected.1,
                expected.2
            ))
        }
    }
}

/// `[C, H, W] -> [H, W, C]`
fn interleaved(planes: &Samples, [height, width]: [usize; 2], channels: usize) -> Result<Samples, String> {
    let plane = height * width;
    if planes.len() != plane * channels {
        return Err(CUT_SHORT.to_owned());
    }
    Ok(each!(planes, values => {
        let pixels = (0..plane).flat_map(|pixel| values.iter().skip(pixel).step_by(plane));
        pixels.copied().collect::<Vec<_>>().into()
    }))
}

/// Adds the samples of another page, which was found to be of the same kind.
fn append(planes: &mut Samples, page: Samples) {
    match (planes, page) {
        (Samples::Bytes(planes), Samples::Bytes(page)) => planes.extend(page),
        (Samples::Words(planes), Samples::Words(page)) => planes.extend(page),
        _ => unreachable!("pages are of one kind"),
    }
}
