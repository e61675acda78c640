//! Files that a user names to be written: nothing is replaced that was not asked for, or that this program does not write there.

use crate::error::{Error, Result, setting};
use crate::picture::{self, GENERATOR};
use beit_weights::{TensorFile, check_writable};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contents {
    /// A safetensors file with some of these tensors and no others.
    Tensors(&'static [&'static str]),
    /// An array file of NumPy.
    Array,
    /// A PNG that this program drew.
    Picture,
    /// Curves that this program drew, as SVG.
    Curves,
    /// A page that shows runs.
    Page,
}

impl Contents {
    /// Whether a file is one of these.
    fn are_in(self, path: &Path) -> bool {
        match self {
            Self::Tensors(names) => TensorFile::open(path).is_ok_and(|file| {
                let found = file.names();
                !found.is_empty() && found.iter().all(|name| names.contains(&name.as_str()))
            }),
            Self::Array => begins(path, 6).starts_with(b"\x93NUMPY"),
            Self::Picture => picture::is_drawn(&begins(path, 128)),
            Self::Curves => begins(path, 128).starts_with(format!("<!-- {GENERATOR} -->").as_bytes()),
            Self::Page => String::from_utf8_lossy(&begins(path, 128)).contains(GENERATOR),
        }
    }
}

/// The first bytes of a file, as many as there are.
fn begins(path: &Path, count: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if path.is_file()
        && let Ok(file) = File::open(path)
    {
        let _ = file.take(count).read_to_end(&mut bytes);
    }
    bytes
}

/// A file to be written, and whether it may replace one of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutFile {
    /// Where.
    pub path: PathBuf,
    /// Whether it may replace a file of its kind.
    pub overwrite: bool,
}

impl OutFile {
    /// Refuses, before anything is computed, a place that cannot be written, one that is taken, and one that holds something else.
    ///
    /// # Errors
    ///
    /// As said.
    pub fn check(&self, contents: Contents) -> Result<()> {
        let Self { path, overwrite } = self;
        let file = path.display();
        match path.symlink_metadata() {
            Ok(_) if !overwrite => {
                setting!("{file} is there already: choose another name, or --overwrite it")
            }
            Ok(_) if !contents.are_in(path) => {
                setting!(
                    "{file} is not what is written here, so that it is not replaced: choose another name"
                )
            }
            _ => check_writable(path).map_err(Error::file("write", path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_what_is_written_here_is_replaced() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let out = |name: &str, overwrite| OutFile { path: dir.path().join(name), overwrite };
        let error = |out: OutFile, contents| out.check(contents).expect_err("refused").to_string();
        out("new.npy", false).check(Contents::Array).expect("it is free");
        fs::write(dir.path().join("a.npy"), b"\x93NUMPY\x01\x00").expect("a file");
        assert!(error(out("a.npy", false), Contents::Array).contains("--overwrite"));
        out("a.npy", true).check(Contents::Array).expect("an array");
        for contents in [Contents::Picture, Contents::Tensors(&["features"])] {
            assert!(error(out("a.npy", true), contents).contains("not replaced"));
        }
        assert!(error(out("none/a.npy", true), Contents::Array).contains("cannot write"));
    }
}
