//! `metrics.jsonl`: one JSON object a line.

use crate::error::{Error, Result};
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Appends lines to a file, each flushed, so that a run that is killed keeps what it measured.
#[derive(Debug)]
pub struct Metrics {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Metrics {
    /// Opens `path` for appending.
    ///
    /// # Errors
    ///
    /// [`Error::Write`].
    pub fn append(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.map_err(|source| Error::Write { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file) })
    }

    /// Writes one line.
    ///
    /// # Errors
    ///
    /// [`Error::Write`].
    pub fn line(&mut self, line: &impl Serialize) -> Result<()> {
        let write = |file: &mut BufWriter<File>| {
            serde_json::to_writer(&mut *file, line)?;
            file.write_all(b"\n")?;
            file.flush()
        };
        write(&mut self.file).map_err(|source| Error::Write { path: self.path.clone(), source })
    }
}

/// The lines of a metrics file. A last line that was cut off is left out.
///
/// # Errors
///
/// [`Error::Read`].
pub fn read_metrics(path: &Path) -> Result<Vec<serde_json::Value>> {
    let text =
        std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}
