//! Files that are not read, by their names, so that who has them knows what to do.

use crate::foreign::told_by;

/// First bytes of formats that are not read.
const STARTS: [(&[u8], &str); 12] = [
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"8BPS", "a Photoshop picture"),
    (b"\0\0\x01\0", "an icon"),
    (b"DDS ", "a DDS picture"),
    (b"\x76\x2f\x31\x01", "an OpenEXR picture"),
    (b"#?RADIANCE", "a Radiance picture"),
    (b"qoif", "a QOI picture"),
    (b"gimp xcf", "a GIMP picture"),
    (b"PK\x03\x04", "a ZIP archive"),
];
/// Brands of files that are made of boxes.
const BRANDS: [(&[u8], &str); 4] = [
    (b"avi", "an AVIF picture"),
    (b"he", "a HEIC picture"),
    (b"mif", "a HEIC picture"),
    (b"msf", "a HEIC picture"),
];
/// Bytes that are looked at for the tags of a text.
const TEXT: usize = 1024;

/// Why a file that begins as none of the formats does is no picture.
pub(super) fn reason(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "the file is empty".to_owned();
    }
    match name(bytes) {
        Some(name) => format!("it is {name}, which is not read; save it as JPEG or PNG"),
        None => match told_by(&bytes[..bytes.len().min(TEXT)]) {
            Some(is) => format!("it is {is}; expected a picture"),
            None => "expected the first bytes of a JPEG, PNG, WebP, BMP, TIFF or GIF file, found others"
                .to_owned(),
        },
    }
}

fn name(bytes: &[u8]) -> Option<&'static str> {
    let known = |table: &[(&[u8], &'static str)], bytes: &[u8]| {
        table.iter().find(|(start, _)| bytes.starts_with(start)).map(|&(_, name)| name)
    };
    let is_boxes = bytes.get(4..8) == Some(b"ftyp");
    if is_boxes && let Some(name) = known(&BRANDS, &bytes[8..]) {
        return Some(name);
    }
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(TEXT)]).to_ascii_lowercase();
    let text = text.trim_start_matches('\u{feff}').trim_start();
    match text {
        _ if is_boxes => Some("a film"),
        _ if text.starts_with("<!doctype html") || text.starts_with("<html") => None,
        _ if text.starts_with('<') && text.contains("<svg") => Some("an SVG drawing"),
        _ if bytes.len() > 2
            && matches!(bytes, [b'P', b'1'..=b'7', space, ..] if space.is_ascii_whitespace()) =>
        {
            Some("a PNM picture")
        }
        _ => known(&STARTS, bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_not_read_are_named() {
        let rows: [(&[u8], &str); 12] = [
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC picture"),
            (b"\0\0\0\x18ftypmif1\0\0\0\0", "a HEIC picture"),
            (b"\0\0\0\x20ftypavif\0\0\0\0avif", "an AVIF picture"),
            (b"\0\0\0\x20ftypisom", "a film"),
            (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 picture"),
            (b"\xff\x4f\xff\x51\0\x2f", "a JPEG 2000 picture"),
            (b"\xff\x0a\xfa", "a JPEG XL picture"),
            (b"8BPS\0\x01", "a Photoshop picture"),
            (b"\xef\xbb\xbf<?xml version=\"1.0\"?>\n<svg width=\"1\">", "an SVG drawing"),
            (b"<!-- drawn --><SVG>", "an SVG drawing"),
            (b"P6\n4 4\n255\n", "a PNM picture"),
            (b"PK\x03\x04", "a ZIP archive"),
        ];
        for (bytes, name) in rows {
            assert_eq!(reason(bytes), format!("it is {name}, which is not read; save it as JPEG or PNG"));
        }
        assert_eq!(reason(b""), "the file is empty");
        for other in [b"PNG".as_slice(), b"P", b"P9 ", b"hello", b"\0\0\0\x18ftyp"] {
            assert!(!reason(other).contains("HEIC"), "{}", reason(other));
        }
        assert!(
            reason(b"\x07\x01")
                .starts_with("expected the first bytes of a JPEG, PNG, WebP, BMP, TIFF or GIF")
        );
    }

    #[test]
    fn files_that_are_no_pictures_are_called_what_they_are() {
        let rows: [(&[u8], &str); 5] = [
            (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "it is a Git LFS pointer"),
            (b"<!DOCTYPE html><body><svg>", "it is a web page (HTML)"),
            (b"%PDF-1.7", "it is a PDF document; expected a picture"),
            (b"hello", "it is a text; expected a picture"),
            (b"\x1f\x8b\x08", "it is compressed by gzip"),
        ];
        for (bytes, expected) in rows {
            assert!(reason(bytes).starts_with(expected), "{}", reason(bytes));
        }
    }
}
