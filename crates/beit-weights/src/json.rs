//! JSON files.

use crate::error::{Error, Result};
use crate::file::write_file;
use beit_data::{read_regular, told_by};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::path::Path;

/// Longest file that is read, in bytes. The names of 21,841 classes are half a megabyte.
const MAX_JSON: u64 = 1 << 25;

/// Reads a JSON file of at most [`MAX_JSON`].
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = read_regular(path, MAX_JSON).map_err(Error::read(path))?;
    let written = unicode(&text);
    let parsed = serde_json::from_str(&written).or_else(|error| {
        // Python writes numbers that are none by names that JSON does not have.
        serde_json::from_str(&without_nan(&written)).map_err(|_| error)
    });
    parsed.map_err(|source| match told_by(&text) {
        Some(is) if is != "a text" => Error::malformed(path, format_args!("it is {is}; expected JSON")),
        _ => Error::Json { path: path.to_owned(), source },
    })
}

/// A text as its editor saved it: on Windows with a mark at its beginning, or in UTF-16.
fn unicode(text: &[u8]) -> Cow<'_, str> {
    let utf16 = |unit: fn([u8; 2]) -> u16| {
        let units = text[2..].chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
        Cow::Owned(
            char::decode_utf16(units).map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER)).collect(),
        )
    };
    match text {
        [0xff, 0xfe, ..] => utf16(u16::from_le_bytes),
        [0xfe, 0xff, ..] => utf16(u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8_lossy(rest),
        _ => String::from_utf8_lossy(text),
    }
}

/// The same with `null` for `NaN`, `Infinity` and `-Infinity` where these are values.
fn without_nan(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let (mut rest, mut quoted) = (text, false);
    while let Some(letter) = rest.chars().next() {
        let name =
            ["NaN", "-Infinity", "Infinity"].into_iter().find(|name| !quoted && rest.starts_with(name));
        let length = match (letter, name) {
            (_, Some(name)) => name.len(),
            // What is quoted by a stroke ends no text.
            ('\\', _) if quoted => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            _ => letter.len_utf8(),
        };
        quoted ^= letter == '"';
        clean += if name.is_some() { "null" } else { &rest[..length] };
        rest = &rest[length..];
    }
    clean
}

/// Writes an indented JSON file.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let json = |source| Error::Json { path: path.to_owned(), source };
    let mut text = serde_json::to_string_pretty(value).map_err(json)?;
    text.push('\n');
    write_file(path, text).map_err(Error::write(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_none_are_absent() {
        let text = r#"{"a": NaN, "b": [-Infinity, Infinity, 1], "NaN": "NaN \"NaN", "c": "\u{fc}NaN\\"}"#;
        let expected = r#"{"a": null, "b": [null, null, 1], "NaN": "NaN \"NaN", "c": "\u{fc}NaN\\"}"#;
        assert_eq!(without_nan(text), expected);
    }

    #[test]
    fn texts_of_windows_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text.json");
        let text = "{\"caf\u{e9}\": NaN}";
        let utf16 = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        for bytes in [
            text.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            [&b"\xff\xfe"[..], &utf16(u16::to_le_bytes)].concat(),
            [&b"\xfe\xff"[..], &utf16(u16::to_be_bytes)].concat(),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let value: serde_json::Value = read_json(&path).unwrap();
            assert!(value["caf\u{e9}"].is_null() && value.as_object().unwrap().len() == 1, "{value}");
        }
    }

    #[test]
    fn a_number_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("number.json");
        // Where digits are multiplied by a rounded power of ten, these come back one step beside themselves.
        for number in [
            1e-24,
            1.0000000000000001e-24,
            5e-324,
            2.2250738585072014e-308,
            1.7976931348623157e308,
            1.0 / 3.0e9,
        ] {
            write_json(&path, &number).unwrap();
            assert_eq!(read_json::<f64>(&path).unwrap(), number);
        }
    }
}
