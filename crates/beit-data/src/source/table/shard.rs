//! One of the files of a table.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::files::open_regular;
use crate::source::file_version;

/// A file as it was when its set was opened. It is opened for every look into it, since a set may have more files than a process may have
/// open.
#[derive(Clone, Debug)]
pub(super) struct Shard {
    pub(super) path: PathBuf,
    pub(super) length: u64,
    changed: SystemTime,
}

impl Shard {
    pub(super) fn new(path: PathBuf) -> Result<Self> {
        let read = |path: &PathBuf| {
            open_regular(path, u64::MAX)?;
            file_version(path).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        };
        match read(&path) {
            Ok((length, changed)) => Ok(Self { path, length, changed }),
            Err(source) => Err(Error::Read { path, source }),
        }
    }

    pub(super) fn version(&self) -> (u64, SystemTime) {
        (self.length, self.changed)
    }

    pub(super) fn open(&self) -> Result<File> {
        let open = || {
            let file = open_regular(&self.path, u64::MAX)?;
            let found = file.metadata()?;
            match found.len() == self.length && found.modified()? == self.changed {
                true => Ok(file),
                false => Err(io::Error::other(format!(
                    "it has changed since the run began: it had {} bytes, and has {} now",
                    self.length,
                    found.len()
                ))),
            }
        };
        open().map_err(|source| Error::Read { path: self.path.clone(), source })
    }

    /// What is wrong with it.
    pub(super) fn error(&self, problem: impl Into<String>) -> Error {
        Error::Table { path: self.path.clone(), problem: problem.into() }
    }

    /// A row of it, for people.
    pub(super) fn row(&self, row: usize) -> String {
        format!("{}#{row}", self.path.display())
    }

    /// What is wrong with a picture in it.
    pub(super) fn bad_row(&self, row: usize, reason: impl Into<String>) -> Error {
        Error::Decode { name: self.row(row), reason: reason.into() }
    }
}
