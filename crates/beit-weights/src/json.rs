//! JSON files.

use crate::error::{Error, Result};
use crate::file::write_file;
use beit_data::{read_regular, told_by};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::Path;

/// Longest file that is read, in bytes. The names of 21,841 classes are half a megabyte.
const MAX_JSON: u64 = 1 << 25;

/// Reads a JSON file of at most [`MAX_JSON`].
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = read_regular(path, MAX_JSON).map_err(Error::read(path))?;
    // Editors on Windows begin a text with this mark, which JSON does not have.
    let json = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    serde_json::from_slice(json).map_err(|source| match told_by(&text) {
        Some(is) if is != "a text" => Error::malformed(path, format_args!("it is {is}; expected JSON")),
        _ => Error::Json { path: path.to_owned(), source },
    })
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
