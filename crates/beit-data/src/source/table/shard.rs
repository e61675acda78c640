//! One of the files of a table.

use std::fs::File;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::files::open_regular;
use crate::source::index::{Stamp, open_indexed};

/// A file as it was when its set was opened. It is opened for every look into it, since a set may have more files than a process may have
/// open.
#[derive(Clone, Debug)]
pub(super) struct Shard {
    pub(super) path: PathBuf,
    stamp: Stamp,
}

impl Shard {
    pub(super) fn new(path: PathBuf) -> Result<Self> {
        let read = |path: &PathBuf| {
            let file = open_regular(path, u64::MAX)?;
            Stamp::of(&file.metadata()?)
        };
        match read(&path) {
            Ok(stamp) => Ok(Self { path, stamp }),
            Err(source) => Err(Error::opening(&path, source)),
        }
    }

    pub(super) fn version(&self) -> (u64, SystemTime) {
        (self.stamp.length, self.stamp.modified)
    }

    /// Bytes of it.
    pub(super) fn length(&self) -> u64 {
        self.stamp.length
    }

    /// Opens it where it is still what it was.
    pub(super) fn open(&self) -> Result<File> {
        let file = open_indexed(&self.path)?;
        self.stamp.check(&self.path, &file)?;
        Ok(file)
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

    /// An error of reading it, where it is about one row alone.
    pub(super) fn of_row(&self, row: usize, error: Error) -> Error {
        match error {
            Error::Read { source, .. } => self.bad_row(row, source.to_string()),
            Error::Table { problem, .. } => self.bad_row(row, problem),
            other => other,
        }
    }
}
