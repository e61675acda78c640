//! What a JPEG is, by its markers. Nothing is decoded and nothing allocated: the walk takes the time that reading the file takes.

const START_OF_SCAN: u8 = 0xda;
const END_OF_IMAGE: u8 = 0xd9;

/// Most scans of any picture. Encoders write 10 of a progressive picture, and thorough ones some dozens.
const MAX_SCANS: u64 = 100;
/// So many scans are read of the largest picture.
const MIN_SCANS: u64 = 20;
/// Most pixels that all scans go over together: every scan may visit every pixel, however short it is.
const MAX_VISITS: u64 = 1 << 31;
/// Bits of a sample that are read.
const PRECISION: u8 = 8;

/// Markers of a JPEG, up to its end.
#[derive(Default)]
pub(super) struct Outline {
    /// The marker that says how the picture is coded, and bits of a sample.
    frame: Option<(u8, u8)>,
    /// Bytes before the first scan: the metadata lie there.
    pub(super) header: u64,
    /// Number of scans.
    pub(super) scans: u64,
    /// Whether there is a marker of the end behind the first scan. Decoders fill what is missing with grey.
    whole: bool,
    /// Whether all restart markers come in order. Behind a lost one everything would lie in a wrong place.
    ordered: bool,
}

impl Outline {
    /// Walks over a file that begins as a JPEG does: its segments by their lengths, and coded data to the next marker.
    pub(super) fn read(bytes: &[u8]) -> Self {
        let mut outline = Self { ordered: true, ..Self::default() };
        let mut at = 2;
        while let Some((marker, body)) = next_marker(bytes, at) {
            match marker {
                END_OF_IMAGE if outline.scans > 0 => break,
                START_OF_SCAN => outline.scan(body, bytes),
                marker if is_frame(marker) && outline.frame.is_none() => {
                    outline.frame = bytes.get(body + 2).map(|&precision| (marker, precision));
                }
                _ => {}
            }
            at = body + segment_length(marker, &bytes[body..]);
        }
        outline
    }

    /// Notes a scan whose body begins at `body`.
    fn scan(&mut self, body: usize, bytes: &[u8]) {
        if self.scans == 0 {
            self.header = body as u64;
            // Thumbnails lie before the first scan and trailers behind the end.
            self.whole = bytes[body..].windows(2).any(|pair| pair == [0xff, END_OF_IMAGE]);
        }
        self.scans += 1;
        let end = next_marker(bytes, body).map_or(bytes.len(), |(_, behind)| behind);
        let mut restarts = bytes[body..end].windows(2).filter(|pair| pair[0] == 0xff && is_restart(pair[1]));
        self.ordered &= restarts.by_ref().zip((0..8).cycle()).all(|(pair, number)| pair[1] == 0xd0 + number);
    }

    /// What of this is not read, by its name.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.scans > MAX_SCANS {
            return Err(self.too_many(MAX_SCANS));
        }
        match self.frame {
            _ if !self.whole => Err(super::CUT_SHORT.to_owned()),
            _ if !self.ordered => Err("it is damaged: its restart markers are out of order".to_owned()),
            // Frames that are differences to smaller ones.
            Some((0xc5..=0xc7 | 0xcd..=0xcf, _)) => Err("a hierarchical JPEG, which is not read".to_owned()),
            Some((marker, bits)) if bits != PRECISION => {
                let lossless = if is_lossless(marker) { "lossless " } else { "" };
                Err(format!(
                    "a {bits}-bit {lossless}JPEG, which is not read; save it with {PRECISION} bits a sample"
                ))
            }
            _ => Ok(()),
        }
    }

    /// Whether `scans` are too many for a picture of so many pixels and channels. Only a progressive picture has more than one for
    /// each channel.
    pub(super) fn check_scans(&self, pixels: u64, channels: u64) -> Result<(), String> {
        let most = match self.frame {
            Some((0xc2 | 0xca, _)) => (MAX_VISITS / pixels.max(1)).clamp(MIN_SCANS, MAX_SCANS),
            _ => channels,
        };
        if self.scans > most { Err(self.too_many(most)) } else { Ok(()) }
    }

    /// Whether samples are coded as they are, not as waves.
    pub(super) fn is_lossless(&self) -> bool {
        self.frame.is_some_and(|(marker, _)| is_lossless(marker))
    }

    fn too_many(&self, most: u64) -> String {
        let scans = self.scans;
        format!("a JPEG of {scans} scans, which would take too long; expected at most {most} at its size")
    }
}

/// The next marker at or behind `at`, and where its body begins. What is no marker, coded data too, is passed over; in these a
/// byte 0xff is followed by zero, or by the number of a restart.
fn next_marker(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let rest = bytes.get(at..)?;
    let is_marker = |pair: &[u8]| pair[0] == 0xff && !matches!(pair[1], 0 | 0x01 | 0xd0..=0xd8 | 0xff);
    let found = rest.windows(2).position(is_marker)?;
    Some((rest[found + 1], at + found + 2))
}

/// Bytes of a marker's body, its length among them.
fn segment_length(marker: u8, body: &[u8]) -> usize {
    match *body {
        [high, low, ..] if marker != END_OF_IMAGE => usize::from(u16::from_be_bytes([high, low])),
        _ => 0,
    }
}

/// Whether a marker begins a frame: all from 0xc0 to 0xcf, without tables, a reserved one and arithmetic conditions.
fn is_frame(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc)
}

fn is_restart(marker: u8) -> bool {
    matches!(marker, 0xd0..=0xd7)
}

fn is_lossless(marker: u8) -> bool {
    matches!(marker, 0xc3 | 0xcb)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of a frame of `marker` and `bits`, with so many empty scans.
    fn file(marker: u8, bits: u8, scans: usize) -> Vec<u8> {
        // The comment holds what must not be taken for markers.
        let mut bytes = b"\xff\xd8\xff\xfe\0\x08\xff\xda\xff\xd9\xff\xda".to_vec();
        bytes.extend([0xff, marker, 0, 11, bits, 0, 8, 0, 8, 1, 1, 0x11, 0]);
        for _ in 0..scans {
            bytes.extend(b"\xff\xda\0\x08\x01\x01\0\0\x3f\0\x12\xff\0\xff\xd0\x34");
        }
        bytes.extend([0xff, END_OF_IMAGE]);
        bytes
    }

    #[test]
    fn scans_are_counted_and_nothing_else() {
        for scans in [1, 2, 7, 300] {
            let outline = Outline::read(&file(0xc2, 8, scans));
            assert_eq!((outline.scans, outline.frame, outline.whole), (scans as u64, Some((0xc2, 8)), true));
            assert_eq!(outline.header, 12 + 13 + 2);
        }
        let trailer = [file(0xc0, 8, 1), file(0xc2, 12, 9)].concat();
        assert_eq!(Outline::read(&trailer).scans, 1, "what follows the end is another file");
    }

    #[test]
    fn what_is_not_read_is_called_what_it_is() {
        let cases = [
            (0xc0, 8, 1, None),
            (0xc3, 8, 1, None),
            (0xca, 8, 1, None),
            (0xc1, 12, 1, Some("a 12-bit JPEG, which is not read; save it with 8 bits a sample")),
            (0xc2, 12, 3, Some("a 12-bit JPEG, which is not read; save it with 8 bits a sample")),
            (0xc3, 16, 1, Some("a 16-bit lossless JPEG, which is not read; save it with 8 bits a sample")),
            (0xc6, 8, 1, Some("a hierarchical JPEG, which is not read")),
            (0xc2, 8, 101, Some("a JPEG of 101 scans")),
            (0xc0, 8, 0, Some("ends before the end")),
        ];
        for (marker, bits, scans, expected) in cases {
            let found = Outline::read(&file(marker, bits, scans)).check();
            match expected {
                None => assert_eq!(found, Ok(()), "{marker:x} {bits} {scans}"),
                Some(text) => assert!(found.as_ref().unwrap_err().contains(text), "{found:?}, not {text}"),
            }
        }
    }

    #[test]
    fn scans_are_limited_by_what_they_go_over() {
        let fits =
            |marker, scans, pixels| Outline::read(&file(marker, 8, scans)).check_scans(pixels, 3).is_ok();
        assert!(fits(0xc2, 100, 20_000_000) && fits(0xc2, 40, 50_000_000) && fits(0xc2, 20, 1 << 32));
        assert!(!fits(0xc2, 100, 50_000_000) && !fits(0xc2, 21, 1 << 32));
        assert!(fits(0xc0, 3, 64) && !fits(0xc0, 4, 64), "a sequential picture has one for each channel");
    }
}
