//! JSON files.

use crate::error::{Error, Result};
use crate::file::write_file;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::path::Path;

/// Reads a JSON file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read(path).map_err(Error::read(path))?;
    serde_json::from_slice(&text).map_err(|source| Error::Json { path: path.to_owned(), source })
}

/// Writes an indented JSON file.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let json = |source| Error::Json { path: path.to_owned(), source };
    let mut text = serde_json::to_string_pretty(value).map_err(json)?;
    text.push('\n');
    write_file(path, text).map_err(Error::write(path))
}
