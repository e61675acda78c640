//! How far an evaluation has come, and of what it is.

use crate::error::{Error, Place, Result, unfit};
use crate::files;
use beit_train::Evaluation;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// What is evaluated. An evaluation goes on only where all of this is the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct What {
    /// A checksum of its parameters, wherever they come from.
    pub(super) model: String,
    /// The source, how many images it has, and a checksum of their names and labels.
    pub(super) data: String,
    pub(super) preprocessing: String,
    pub(super) batch_size: usize,
}

/// The file `progress.json`.
#[derive(Serialize, Deserialize)]
struct Saved {
    what: What,
    state: Evaluation,
}

/// Where progress is kept.
pub(super) struct Store {
    path: PathBuf,
    what: What,
    /// Where to go on.
    pub(super) start: Option<Evaluation>,
}

impl Store {
    /// A new evaluation.
    pub(super) fn begin(dir: &Path, what: What) -> Result<Self> {
        fs::create_dir_all(dir).map_err(Error::file("create the folder", dir))?;
        Ok(Self { path: dir.join("progress.json"), what, start: None })
    }

    /// The evaluation in a folder, if it is of the same things.
    pub(super) fn resume(dir: &Path, what: What) -> Result<Self> {
        let path = dir.join("progress.json");
        let file = path.display();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                unfit!("{}: no progress.json to resume; leave --resume out to begin", dir.display())
            }
            Err(error) => return Err(Error::file("read", &path)(error)),
        };
        let saved: Saved = serde_json::from_slice(&text)
            .map_err(|error| Error::Unfit(error.to_string()))
            .at(|| format!("{file} is damaged; leave --resume out and choose another --out"))?;
        if let Some(difference) = what.difference(&saved.what) {
            unfit!("{file} is of another evaluation: {difference}; resume with the flags of then");
        }
        Ok(Self { path, what, start: Some(saved.state) })
    }

    /// Replaces the file, at once.
    pub(super) fn save(&self, state: &Evaluation) -> beit_train::Result<()> {
        let saved = Saved { what: self.what.clone(), state: state.clone() };
        let written = serde_json::to_vec(&saved)
            .map_err(std::io::Error::other)
            .and_then(|bytes| files::write_whole(&self.path, &bytes));
        written.map_err(|source| beit_train::Error::Write { path: self.path.clone(), source })
    }
}

impl What {
    /// The first thing that is not as it was.
    fn difference(&self, before: &Self) -> Option<String> {
        let rows = [
            ("model", &before.model, &self.model),
            ("data", &before.data, &self.data),
            ("preprocessing", &before.preprocessing, &self.preprocessing),
            ("batch size", &before.batch_size.to_string(), &self.batch_size.to_string()),
        ];
        let different = rows.into_iter().find(|(_, before, now)| before != now);
        different.map(|(name, before, now)| format!("the {name} was {before}, is {now}"))
    }
}
