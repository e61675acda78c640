//! Arrays of NumPy, `.npy`: a header in Python's notation, then the numbers.

use std::collections::BTreeMap;

use ::image::metadata::Orientation;

use super::CUT_SHORT;
use super::bands::afford;
use super::budget::Budget;
use crate::bands::Bands;
use crate::image::{Image, Samples};

const MAGIC: &[u8] = b"\x93NUMPY";
/// Longest header that is read. NumPy itself reads one of at most 10,000 bytes.
const MAX_HEADER: usize = 10_000;
/// Most axes that an array has here.
const MAX_AXES: usize = 3;

/// Whether a file begins as an array of NumPy does.
pub(super) fn is_npy(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// `[height, width]` by the header.
pub(super) fn size(bytes: &[u8], bands: Bands, budget: Budget) -> Result<[usize; 2], String> {
    Array::read(bytes, bands, budget).map(|array| array.size)
}

/// Decodes `[H, W]`, `[H, W, C]` or `[C, H, W]` of unsigned numbers of 8 or 16 bits, or of floats in 0 to 1, which become 16 bits.
pub(super) fn decode(bytes: &[u8], bands: Bands, budget: Budget) -> Result<Image, String> {
    let array = Array::read(bytes, bands, budget)?;
    let samples = array.samples()?;
    Ok(Image::of_channels(array.size[0], array.size[1], bands.count(), samples))
}

/// What the numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Bytes,
    Words,
    Floats,
}

/// A file whose header was read and found to fit.
struct Array<'a> {
    kind: Kind,
    big_endian: bool,
    size: [usize; 2],
    channels: usize,
    /// Whether each channel lies apart.
    is_planar: bool,
    data: &'a [u8],
}

impl<'a> Array<'a> {
    fn read(bytes: &'a [u8], bands: Bands, budget: Budget) -> Result<Self, String> {
        let (header, data) = split(bytes)?;
        let header = Header::parse(header)?;
        let (kind, big_endian) = kind(&header.descr)?;
        if header.fortran_order {
            return Err(
                "an array in Fortran's order, which is not read; save numpy.ascontiguousarray of it".into()
            );
        }
        let (size, is_planar) = layout(&header.shape, bands)?;
        let channels = bands.count();
        let width = if kind == Kind::Bytes { 1 } else { 2 };
        afford(budget, size, channels * width, 0, Orientation::NoTransforms)?;
        let expected = size[0] * size[1] * channels * kind.bytes();
        match data.len() {
            found if found < expected => Err(CUT_SHORT.to_owned()),
            found if found > expected => Err(format!(
                "its array takes {expected} bytes, but {found} follow the header; save one array in a file"
            )),
            _ => Ok(Self { kind, big_endian, size, channels, is_planar, data }),
        }
    }

    fn samples(&self) -> Result<Samples, String> {
        let word = |pair: [u8; 2]| match self.big_endian {
            true => u16::from_be_bytes(pair),
            false => u16::from_le_bytes(pair),
        };
        Ok(match self.kind {
            Kind::Bytes => self.laid_out(|index| self.data[index]).into(),
            Kind::Words => {
                self.laid_out(|index| word([self.data[2 * index], self.data[2 * index + 1]])).into()
            }
            Kind::Floats => {
                if let Some(value) = self.floats().find(|value| !(0.0..=1.0).contains(value)) {
                    return Err(format!(
                        "an array of floats with {value} in it, expected 0 to 1; divide by the greatest, or save whole numbers of 16 bits"
                    ));
                }
                let share = |index: usize| f32::from_bits(self.bits(index));
                self.laid_out(|index| (share(index) * f32::from(u16::MAX)).round() as u16).into()
            }
        })
    }

    fn bits(&self, index: usize) -> u32 {
        let four = self.data.as_chunks::<4>().0[index];
        if self.big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
    }

    fn floats(&self) -> impl Iterator<Item = f32> {
        (0..self.data.len() / 4).map(|index| f32::from_bits(self.bits(index)))
    }

    /// `[H, W, C]` of the numbers of the file.
    fn laid_out<T>(&self, value: impl Fn(usize) -> T) -> Vec<T> {
        let (plane, channels) = (self.size[0] * self.size[1], self.channels);
        let place = |i: usize| if self.is_planar { i % channels * plane + i / channels } else { i };
        (0..plane * channels).map(|i| value(place(i))).collect()
    }
}

impl Kind {
    fn bytes(self) -> usize {
        match self {
            Self::Bytes => 1,
            Self::Words => 2,
            Self::Floats => 4,
        }
    }
}

/// The header and what follows it.
fn split(bytes: &[u8]) -> Result<(&str, &[u8]), String> {
    let version = *bytes.get(MAGIC.len()).ok_or(CUT_SHORT)?;
    let counter = match version {
        1 => 2,
        2 | 3 => 4,
        other => return Err(format!("an array of NumPy in version {other} of the format, expected 1 to 3")),
    };
    let start = MAGIC.len() + 2 + counter;
    let length = bytes.get(MAGIC.len() + 2..start).ok_or(CUT_SHORT)?;
    let length = length.iter().rev().fold(0_usize, |length, &byte| length << 8 | usize::from(byte));
    if length > MAX_HEADER {
        return Err(format!("its header has {length} bytes, expected at most {MAX_HEADER}"));
    }
    let header = bytes.get(start..start + length).ok_or(CUT_SHORT)?;
    let text = std::str::from_utf8(header).map_err(|_| "its header is no text".to_owned())?;
    Ok((text, &bytes[start + length..]))
}

/// What numbers a `descr` means, and whether they are big-endian.
fn kind(descr: &str) -> Result<(Kind, bool), String> {
    let (order, rest) = descr.split_at_checked(1).unwrap_or_default();
    let kind = match rest {
        "u1" => Kind::Bytes,
        "u2" => Kind::Words,
        "f4" => Kind::Floats,
        _ => return Err(unread(descr)),
    };
    match order {
        ">" => Ok((kind, true)),
        "<" => Ok((kind, false)),
        "|" if kind == Kind::Bytes => Ok((kind, false)),
        _ => Err(unread(descr)),
    }
}

fn unread(descr: &str) -> String {
    let shown: String = descr.chars().take(32).collect();
    format!("an array of `{shown}`, which is not read; save it as uint8, uint16, or float32 in 0 to 1")
}

/// `[height, width]`, and whether channels come first: the last axis is that of the channels where it has as many, else the first.
fn layout(shape: &[usize], bands: Bands) -> Result<([usize; 2], bool), String> {
    match (shape, bands.count()) {
        (&[height, width], 1) => Ok(([height, width], false)),
        (&[height, width, last], count) if last == count => Ok(([height, width], false)),
        (&[first, height, width], count) if first == count => Ok(([height, width], true)),
        _ => {
            let plain = if bands.count() == 1 { "[H, W], " } else { "" };
            Err(format!("an array of shape {shape:?}, expected {plain}[H, W, {bands}] or [{bands}, H, W]"))
        }
    }
}

/// What a header says.
struct Header {
    descr: String,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl Header {
    /// Reads `{'descr': '<u2', 'fortran_order': False, 'shape': (4, 6, 5), }`.
    fn parse(text: &str) -> Result<Self, String> {
        let malformed = || {
            let shown: String = text.trim_end().chars().take(80).collect();
            format!(
                "the header of its array is `{shown}`, expected descr, fortran_order and shape of a plain array"
            )
        };
        let entries = entries(text).ok_or_else(malformed)?;
        let descr = entries.get("descr").and_then(|text| quoted(text)).ok_or_else(malformed)?.to_owned();
        let fortran_order = match entries.get("fortran_order") {
            Some(&"False") => false,
            Some(&"True") => true,
            _ => return Err(malformed()),
        };
        let shape = entries.get("shape").and_then(|text| numbers(text)).ok_or_else(malformed)?;
        Ok(Self { descr, fortran_order, shape })
    }
}

/// Keys and the texts of their values; commas between brackets belong to a value.
fn entries(text: &str) -> Option<BTreeMap<&str, &str>> {
    let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim_start();
    let mut entries = BTreeMap::new();
    while !rest.is_empty() {
        let (key, behind) = rest.split_once(':')?;
        let behind = behind.trim_start();
        let end = match behind.strip_prefix('(') {
            Some(inside) => inside.find(')')? + 2,
            None => behind.find(',').unwrap_or(behind.len()),
        };
        let (value, behind) = behind.split_at(end);
        if entries.insert(quoted(key.trim())?, value.trim()).is_some() {
            return None;
        }
        let behind = behind.trim_start();
        rest = if behind.is_empty() { behind } else { behind.strip_prefix(',')?.trim_start() };
    }
    Some(entries)
}

/// What stands between single or double quotes.
fn quoted(text: &str) -> Option<&str> {
    let between = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
    between('\'').or_else(|| between('"'))
}

/// The numbers of `(4, 6, 5)` or `(4,)`.
fn numbers(text: &str) -> Option<Vec<usize>> {
    let inside = text.strip_prefix('(')?.strip_suffix(')')?.trim();
    let inside = inside.strip_suffix(',').unwrap_or(inside);
    let numbers: Vec<usize> =
        inside.split(',').take(MAX_AXES + 1).map(|x| x.trim().parse().ok()).collect::<Option<_>>()?;
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [MAGIC, b"\x01\x00", &(header.len() as u16).to_le_bytes(), header.as_bytes(), data].concat()
    }

    fn header(descr: &str, shape: &str) -> String {
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}   \n")
    }

    fn decoded(descr: &str, shape: &str, data: &[u8], bands: usize) -> Result<Image, String> {
        decode(&file(&header(descr, shape), data), Bands::new(bands).unwrap(), Budget(1 << 20))
    }

    #[test]
    fn numbers_of_every_kind_and_layout() {
        let last = decoded("|u1", "(1, 2, 3)", &[1, 2, 3, 4, 5, 6], 3).unwrap();
        assert_eq!(last.samples(), &Samples::Bytes(vec![1, 2, 3, 4, 5, 6]));
        let first = decoded("|u1", "(3, 1, 2)", &[1, 4, 2, 5, 3, 6], 3).unwrap();
        assert_eq!(first, last);
        let words = decoded(">u2", "(1, 2)", &[1, 0, 2, 3], 1).unwrap();
        assert_eq!(words.samples(), &Samples::Words(vec![256, 515]));
        assert_eq!(decoded("<u2", "(1, 1, 2)", &[0, 1, 3, 2], 1).unwrap(), words);
        let floats: Vec<u8> = [0.0_f32, 1.0, 0.5, 0.25].iter().flat_map(|x| x.to_le_bytes()).collect();
        let image = decoded("<f4", "(2, 2)", &floats, 1).unwrap();
        assert_eq!(image.samples(), &Samples::Words(vec![0, 65_535, 32_768, 16_384]));
    }

    /// The last axis counts where the first has as many.
    #[test]
    fn the_axis_with_as_many_is_that_of_the_channels() {
        let bands = |count| Bands::new(count).unwrap();
        assert_eq!(layout(&[3, 7, 3], bands(3)), Ok(([3, 7], false)));
        assert_eq!(layout(&[5, 7, 3], bands(5)), Ok(([7, 3], true)));
        let error = layout(&[5, 7, 3], bands(4)).unwrap_err();
        assert_eq!(error, "an array of shape [5, 7, 3], expected [H, W, 4] or [4, H, W]");
        assert!(layout(&[5, 7], bands(1)).is_ok() && layout(&[5, 7], bands(2)).is_err());
    }

    #[test]
    fn what_a_header_claims_is_checked_first() {
        let rows: [(&str, &str, &[u8], &str); 9] = [
            ("<u2", "(1000, 1000)", &[], "take 3000000 bytes of memory"),
            ("|u1", "(1048577, 1)", &[], "sides of at most"),
            ("|u1", "(18446744073709551615, 18446744073709551615)", &[], "sides of at most"),
            ("|u1", "(0, 4)", &[], "it has 0 x 4 pixels"),
            ("|u1", "(2, 2)", &[1, 2, 3], "the file ends before"),
            ("|u1", "(2, 2)", &[1, 2, 3, 4, 5], "takes 4 bytes, but 5 follow"),
            ("<i2", "(1, 1)", &[0, 0], "an array of `<i2`, which is not read"),
            ("<f4", "(1, 1)", &[0, 0, 0xc0, 0x7f], "floats with NaN in it, expected 0 to 1"),
            ("<u2", "(1, 1, 1, 1)", &[0, 0], "expected [H, W], [H, W, 1] or [1, H, W]"),
        ];
        for (descr, shape, data, expected) in rows {
            let error = decoded(descr, shape, data, 1).unwrap_err();
            assert!(error.contains(expected), "{error}, expected {expected}");
        }
    }

    #[test]
    fn a_header_that_is_none_is_named() {
        let one = Bands::new(1).unwrap();
        for text in [
            "",
            "{}",
            "{'descr': [('a', '<u2')], 'fortran_order': False, 'shape': (1, 1)}",
            "{'descr': '|u1'",
            "{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (1, 1)}",
        ] {
            let error = decode(&file(text, &[0]), one, Budget(1 << 20)).unwrap_err();
            assert!(error.contains("expected descr, fortran_order and shape"), "{text}: {error}");
        }
        let turned = "{'descr': '|u1', 'fortran_order': True, 'shape': (1, 1)}";
        assert!(decode(&file(turned, &[0]), one, Budget(1 << 20)).unwrap_err().contains("Fortran's order"));
        let new = [MAGIC, b"\x09\x00\x00\x00"].concat();
        assert!(decode(&new, one, Budget(1 << 20)).unwrap_err().contains("version 9"));
        let long = [MAGIC, b"\x02\x00\xff\xff\xff\xff"].concat();
        assert!(
            decode(&long, one, Budget(1 << 20)).unwrap_err().contains("4294967295 bytes, expected at most")
        );
    }
}
