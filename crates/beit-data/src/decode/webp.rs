//! What decoding a WebP takes beside the pixels that come out, by the headers of its chunks. The decoder has no limit of its own
//! for most of it.

/// Bytes of the file's own header.
const RIFF: usize = 12;
/// Bytes of a chunk's header: four letters and a length.
const HEADER: usize = 8;
/// Bytes of a frame's header in an animation.
const FRAME: usize = 16;

/// A piece of a file.
#[derive(Clone, Copy)]
struct Chunk<'a> {
    name: &'a [u8],
    /// As long as its header says, or cut off by the end of the file.
    body: &'a [u8],
    /// Bytes by its header.
    claimed: usize,
}

/// Bytes that the decoder keeps beside the pixels that it gives; none for other formats.
///
/// - Lossy: luma, and two quarters of chroma, of whole blocks of 16 x 16 pixels.
/// - Lossless: at most four bytes a pixel, and the tables of its transforms, less than one byte.
/// - Transparency of a lossy picture: as a lossless one, and one byte a pixel of its own.
/// - Animations: the canvas, four bytes a pixel, and the first frame, which is decoded apart.
///
/// # Errors
///
/// Where metadata claim more bytes than the file has: as many would be allocated.
pub(super) fn working(bytes: &[u8]) -> Result<u64, String> {
    if !bytes.starts_with(b"RIFF") || bytes.get(8..RIFF) != Some(b"WEBP") {
        return Ok(0);
    }
    let all: Vec<Chunk<'_>> = chunks(&bytes[RIFF..]).collect();
    if let Some(cut) = all.iter().find(|chunk| chunk.name == b"EXIF" && chunk.body.len() < chunk.claimed) {
        let (found, claimed) = (cut.body.len(), cut.claimed);
        return Err(format!("expected {claimed} bytes of EXIF metadata by their header, found {found}"));
    }
    let metadata = all.iter().find(|chunk| chunk.name == b"EXIF").map_or(0, |chunk| 2 * chunk.claimed as u64);
    let first = all.first().map_or(&[][..], |chunk| chunk.body);
    let picture = match all.first().map(|chunk| chunk.name) {
        Some(b"VP8X") => extended(first, &all[1..]),
        Some(b"VP8L") => lossless(lossless_area(first)),
        _ => lossy(first),
    };
    Ok(picture.saturating_add(metadata))
}

/// A file with a canvas, and perhaps transparency, metadata and frames.
fn extended(header: &[u8], all: &[Chunk<'_>]) -> u64 {
    let canvas = (word24(header, 4) + 1) * (word24(header, 7) + 1);
    let flags = header.first().copied().unwrap_or(0);
    let (animated, transparent) = (flags & 0b10 != 0, flags & 0b1_0000 != 0);
    let frame = all.iter().find(|chunk| chunk.name == b"ANMF").map_or(&[][..], |chunk| chunk.body);
    let inside: Vec<Chunk<'_>> = chunks(frame.get(FRAME..).unwrap_or(&[])).collect();
    // The decoder finds a picture in either place, whatever the flags say.
    let yuv =
        inside.iter().chain(all).filter(|chunk| chunk.name == b"VP8 ").map(|chunk| lossy(chunk.body)).max();
    let yuv = yuv.unwrap_or(0);
    if animated {
        let area = (word24(frame, 6) + 1) * (word24(frame, 9) + 1);
        return 4 * canvas + yuv + lossless(area) + area;
    }
    let has_lossless = inside.iter().chain(all).any(|chunk| chunk.name == b"VP8L");
    match (has_lossless, transparent) {
        (true, _) => yuv + lossless(canvas),
        (false, true) => yuv + lossless(canvas) + canvas,
        (false, false) => yuv,
    }
}

/// Bytes that a lossless picture of `area` pixels takes.
fn lossless(area: u64) -> u64 {
    5 * area
}

/// Bytes of luma and chroma, by the header of a lossy picture.
fn lossy(body: &[u8]) -> u64 {
    let blocks = |at: usize| (word16(body, at) & 0x3fff).div_ceil(16);
    blocks(6) * blocks(8) * 16 * 16 * 3 / 2
}

/// Pixels of a lossless picture by its header: a signature, and two sides less one of 14 bits.
fn lossless_area(body: &[u8]) -> u64 {
    let bits = word16(body, 1) + (word16(body, 3) << 16);
    ((bits & 0x3fff) + 1) * (((bits >> 14) & 0x3fff) + 1)
}

fn word16(bytes: &[u8], at: usize) -> u64 {
    (0..2).map(|i| u64::from(bytes.get(at + i).copied().unwrap_or(0)) << (8 * i)).sum()
}

fn word24(bytes: &[u8], at: usize) -> u64 {
    word16(bytes, at) + ((word16(bytes, at + 2) & 0xff) << 16)
}

/// The chunks one after another; each is padded to an even length.
fn chunks(mut rest: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    std::iter::from_fn(move || {
        let (header, behind) = rest.split_at_checked(HEADER)?;
        let (name, length) = header.split_at(4);
        let claimed = u32::from_le_bytes(length.try_into().expect("four bytes")) as usize;
        let body = &behind[..claimed.min(behind.len())];
        rest = behind.get(claimed.next_multiple_of(2)..).unwrap_or(&[]);
        Some(Chunk { name, body, claimed })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let padding = vec![0; body.len() % 2];
        [name, &(body.len() as u32).to_le_bytes()[..], body, &padding].concat()
    }

    fn file(chunks: &[Vec<u8>]) -> Vec<u8> {
        let chunks = chunks.concat();
        [b"RIFF", &(chunks.len() as u32 + 4).to_le_bytes()[..], b"WEBP", &chunks].concat()
    }

    /// A canvas of 100 x 50 pixels.
    fn canvas(flags: u8) -> Vec<u8> {
        chunk(b"VP8X", &[flags, 0, 0, 0, 99, 0, 0, 49, 0, 0])
    }

    /// The header of a lossy picture of `width` x `height`.
    fn vp8(width: u16, height: u16) -> Vec<u8> {
        let sides = [width.to_le_bytes(), height.to_le_bytes()].concat();
        chunk(b"VP8 ", &[&[0, 0, 0, 0x9d, 0x01, 0x2a][..], &sides].concat())
    }

    #[test]
    fn each_kind_is_reckoned() {
        let lossless = chunk(b"VP8L", &[&[0x2f][..], &(99_u32 + (49 << 14)).to_le_bytes()].concat());
        let frame = |inside: &[u8]| {
            let header = [0, 0, 0, 0, 0, 0, 9, 0, 0, 4, 0, 0, 0, 0, 0, 0];
            chunk(b"ANMF", &[&header[..], inside].concat())
        };
        let yuv = 112 * 64 * 3 / 2;
        let rows = [
            (file(&[vp8(100, 50)]), yuv),
            (file(std::slice::from_ref(&lossless)), 5 * 5000),
            (file(&[canvas(0), vp8(100, 50)]), yuv),
            (file(&[canvas(0b1_0000), chunk(b"ALPH", &[0]), vp8(100, 50)]), yuv + 6 * 5000),
            (file(&[canvas(0), lossless]), 5 * 5000),
            // The canvas is small, the picture is not.
            (file(&[canvas(0), vp8(16000, 16000)]), 16000 * 16000 * 3 / 2),
            (file(&[canvas(0b10), frame(&vp8(16, 16))]), 4 * 5000 + 384 + 6 * 50),
            (file(&[canvas(0b10), frame(&[])]), 4 * 5000 + 6 * 50),
            (b"\x89PNG".to_vec(), 0),
        ];
        for (bytes, expected) in rows {
            assert_eq!(working(&bytes), Ok(expected), "{bytes:02x?}");
        }
    }

    #[test]
    fn metadata_must_be_there() {
        let mut exif = chunk(b"EXIF", &[1, 2, 3, 4]);
        assert_eq!(working(&file(&[canvas(0b1000), vp8(1, 1), exif.clone()])), Ok(384 + 8));
        exif[4..8].copy_from_slice(&[0xff; 4]);
        let text = working(&file(&[canvas(0b1000), vp8(1, 1), exif])).unwrap_err();
        assert_eq!(text, "expected 4294967295 bytes of EXIF metadata by their header, found 4");
    }
}
