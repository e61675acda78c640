//! What an ablation has found so far: a file to which lines are added.

use crate::error::{Error, Result, unfit};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// The name of a row; `pixels of the images` or `the commonest class everywhere` for what needs no model.
    pub(super) row: String,
    pub(super) seed: u64,
    /// The name of a judge; `pretrain` where a row was pre-trained.
    pub(super) what: String,
    /// A share; of `pretrain` what the run is measured by.
    pub(super) value: f64,
    /// The features that were judged, where that is a question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) features: Option<String>,
}

/// All that was found, in a file.
pub(super) struct Ledger {
    path: PathBuf,
    entries: Vec<Entry>,
}

impl Ledger {
    /// Reads a file, if it is there. A last line that was cut off is taken away: what it said is found again.
    pub(super) fn open(path: PathBuf) -> Result<Self> {
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Ok(Self { path, entries: Vec::new() });
            }
            text => text.map_err(Error::file("read", &path))?,
        };
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        if whole < text.len() {
            let file = OpenOptions::new().write(true).open(&path).map_err(Error::file("write", &path))?;
            file.set_len(whole as u64).map_err(Error::file("write", &path))?;
        }
        let entries = text[..whole].lines().enumerate();
        let entries = entries.map(|(number, line)| read(&path, number + 1, line)).collect::<Result<_>>()?;
        Ok(Self { path, entries })
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(super) fn has(&self, row: &str, seed: u64, what: &str) -> bool {
        self.entries.iter().any(|entry| entry.row == row && entry.seed == seed && entry.what == what)
    }

    /// Adds a line, unless it is there.
    pub(super) fn add(&mut self, entry: Entry) -> Result<()> {
        if self.has(&entry.row, entry.seed, &entry.what) {
            return Ok(());
        }
        let mut line = serde_json::to_string(&entry).map_err(std::io::Error::other).map_err(self.failed())?;
        line.push('\n');
        let file = OpenOptions::new().create(true).append(true).open(&self.path);
        let mut file: File = file.map_err(self.failed())?;
        file.write_all(line.as_bytes()).and_then(|()| file.sync_data()).map_err(self.failed())?;
        self.entries.push(entry);
        Ok(())
    }

    fn failed(&self) -> impl FnOnce(std::io::Error) -> Error {
        Error::file("write", &self.path)
    }
}

fn read(path: &Path, number: usize, line: &str) -> Result<Entry> {
    match serde_json::from_str::<Entry>(line) {
        Ok(entry) if entry.value.is_finite() => Ok(entry),
        Ok(_) => unfit!("{}: line {number} has a value that is no number", path.display()),
        Err(error) => unfit!(
            "{}: line {number} is not one of an ablation: {error}; take that line out, and it is found again",
            path.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(row: &str, seed: u64, value: f64) -> Entry {
        Entry { row: row.to_owned(), seed, what: "knn".to_owned(), value, features: None }
    }

    #[test]
    fn what_is_cut_off_is_found_again_and_what_is_foreign_is_named() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("results.jsonl");
        let open = || Ledger::open(path.clone());
        let mut ledger = open().expect("there is none yet");
        ledger.add(entry("beit", 0, 0.1 + 0.2)).expect("the disk has room");
        ledger.add(entry("beit", 0, 0.5)).expect("it is there already");
        ledger.add(entry("pixels", 1, 0.25)).expect("the disk has room");
        let all = [entry("beit", 0, 0.1 + 0.2), entry("pixels", 1, 0.25)];
        assert_eq!(open().expect("it was written so").entries(), all);

        let text = std::fs::read_to_string(&path).expect("a file");
        std::fs::write(&path, &text[..text.len() - 5]).expect("a file");
        let mut ledger = open().expect("the rest is whole");
        assert_eq!(ledger.entries(), &all[..1]);
        ledger.add(entry("pixels", 1, 0.25)).expect("the disk has room");
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), text);

        std::fs::write(&path, format!("{text}hello\n")).expect("a file");
        let error = open().err().expect("a foreign line").to_string();
        assert!(error.contains("line 3 is not one of an ablation"), "{error}");
    }
}
