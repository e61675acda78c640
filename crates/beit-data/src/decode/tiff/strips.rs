//! TIFF whose strips or tiles are JPEG files that share their tables.

use std::borrow::Cow;

use ::image::RgbImage;
use ::tiff::tags::Tag;

use super::super::budget::Budget;
use super::super::jpeg::{self, Coding};
use super::super::{CUT_SHORT, said, upright};
use super::directory::{self, Directory};
use super::{Reader, needs};

/// Bytes of the markers that a JPEG begins and ends with.
const MARKER: usize = 2;
/// Pixels to which a JPEG may be filled up.
const BLOCK: usize = 16;
/// Most bytes of the tables that all strips share.
const MAX_TABLES: usize = 1 << 16;
/// So often all strips together may go over the file: those that are alike may lie in one place.
const MAX_OVERLAP: u64 = 4;

/// Decodes strip after strip by the decoder of JPEG files.
pub(super) fn decode(
    strips: &Strips<'_>,
    mut reader: Reader<'_>,
    directory: &Directory,
    budget: Budget,
) -> Result<RgbImage, String> {
    let channels = channels(directory)?;
    let tables = tables(&mut reader)?;
    let needs = needs(directory, directory.chunk_bytes());
    budget.check(&needs)?;
    let left = Budget(budget.0 - needs.rgb());
    let [height, width] = directory.size;
    let [rows, columns] = directory.chunk;
    let most = [rows, columns].map(|side| side.next_multiple_of(BLOCK));
    let mut pixels = vec![0; height * width * 3];
    for top in (0..height).step_by(rows) {
        for start in (0..width).step_by(columns) {
            let index = top / rows * width.div_ceil(columns) + start / columns;
            let strip = jpeg::decode_strip(&file(&tables, strips.get(index)?), channels, most, left)?;
            let seen = [rows.min(height - top), columns.min(width - start)];
            place(&strip, &mut pixels[top * width * 3..], [start, width], seen)?;
        }
    }
    if directory.photometric == directory::WHITE_IS_ZERO {
        pixels.iter_mut().for_each(|value| *value = 255 - *value);
    }
    Ok(upright(directory.picture(pixels), needs.orientation))
}

/// Copies what is `seen` of a strip, `[rows, columns]`, to column `start` of rows that are `width` long.
fn place(
    strip: &RgbImage,
    pixels: &mut [u8],
    [start, width]: [usize; 2],
    seen: [usize; 2],
) -> Result<(), String> {
    let found = [strip.height() as usize, strip.width() as usize];
    if found[0] < seen[0] || found[1] < seen[1] {
        let ([rows, columns], [height, width]) = (seen, found);
        return Err(format!(
            "expected a strip or tile of {rows} x {columns} pixels, found {height} x {width}"
        ));
    }
    let lines = strip.as_raw().chunks_exact(found[1] * 3).take(seen[0]);
    for (line, row) in lines.zip(pixels.chunks_exact_mut(width * 3)) {
        row[start * 3..][..seen[1] * 3].copy_from_slice(&line[..seen[1] * 3]);
    }
    Ok(())
}

/// What the channels of the strips are; the strips themselves do not say it.
fn channels(directory: &Directory) -> Result<Coding, String> {
    let Directory { photometric, samples, bits, is_planar, .. } = *directory;
    match (photometric, samples) {
        _ if is_planar && samples > 1 || bits != 8 => {}
        (directory::YCBCR, 3) | (directory::GREY | directory::WHITE_IS_ZERO, 1) => {
            return Ok(Coding::Coded);
        }
        (directory::RGB, 3) | (directory::CMYK, 4) => return Ok(Coding::Plain),
        _ => {}
    }
    Err("a TIFF compressed by JPEG in other than 8 bits of grey, RGB, YCbCr or CMYK, which is not read; save it with LZW or Deflate".to_owned())
}

/// Tables that all strips share: a JPEG without a picture. None where there are none.
fn tables(reader: &mut Reader<'_>) -> Result<Vec<u8>, String> {
    let Some(tables) = reader.find_tag(Tag::JPEGTables).map_err(said)? else { return Ok(Vec::new()) };
    let mut tables = tables.into_u8_vec().map_err(said)?;
    if tables.len() > MAX_TABLES {
        return Err(format!("its tables of JPEG have {} bytes, expected at most {MAX_TABLES}", tables.len()));
    }
    // The marker of the end.
    tables.truncate(tables.len().saturating_sub(MARKER));
    Ok(tables)
}

/// A strip with the tables before it, as a file of its own.
fn file<'a>(tables: &[u8], strip: &'a [u8]) -> Cow<'a, [u8]> {
    match strip.get(MARKER..) {
        Some(rest) if tables.len() >= MARKER => Cow::Owned([tables, rest].concat()),
        _ => Cow::Borrowed(strip),
    }
}

/// Where the strips or tiles of a file lie.
pub(super) struct Strips<'a> {
    bytes: &'a [u8],
    /// Start and length.
    places: Vec<(u64, u64)>,
}

impl<'a> Strips<'a> {
    /// Finds them by their tags.
    ///
    /// # Errors
    ///
    /// Where so many overlap that reading all of them would take long.
    pub(super) fn find(bytes: &'a [u8], reader: &mut Reader<'_>, is_tiled: bool) -> Result<Self, String> {
        let (offsets, counts) = if is_tiled {
            (Tag::TileOffsets, Tag::TileByteCounts)
        } else {
            (Tag::StripOffsets, Tag::StripByteCounts)
        };
        let offsets = reader.get_tag_u64_vec(offsets).map_err(said)?;
        let counts = reader.get_tag_u64_vec(counts).map_err(said)?;
        let length = bytes.len() as u64;
        let all = counts.iter().map(|&count| count.min(length)).fold(0, u64::saturating_add);
        if all > MAX_OVERLAP * length {
            return Err(format!("its strips have {all} bytes together, but the file has {length}"));
        }
        Ok(Self { bytes, places: offsets.into_iter().zip(counts).collect() })
    }

    fn get(&self, index: usize) -> Result<&'a [u8], String> {
        let place = self.places.get(index).and_then(|&(start, length)| {
            let start = usize::try_from(start).ok()?;
            self.bytes.get(start..start.checked_add(usize::try_from(length).ok()?)?)
        });
        place.ok_or_else(|| CUT_SHORT.to_owned())
    }
}
