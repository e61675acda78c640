//! How far an evaluation has come, and of what it is.

use crate::error::{Error, Result, setting, unfit};
use crate::files;
use crate::run::{Lock, is_taken};
use beit_data::Source;
use flate2::Crc;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

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

/// What an evaluation has counted so far.
pub(super) trait State: Clone + Serialize + DeserializeOwned {
    /// The images that it has come past, those among them that could not be decoded.
    fn passed(&self) -> usize;
}

/// The file `progress.json`.
#[derive(Serialize, Deserialize)]
#[serde(bound(deserialize = "S: DeserializeOwned"))]
struct Saved<S> {
    what: What,
    state: S,
    /// Of the files of the images that are counted.
    files: u32,
    /// Of all this as it is written, so that a count that somebody changed is not believed.
    checksum: u32,
}

impl<S: State> Saved<S> {
    fn new(what: &What, state: &S, files: u32) -> serde_json::Result<Self> {
        let mut crc = Crc::new();
        crc.update(&serde_json::to_vec(&(what, state, files))?);
        Ok(Self { what: what.clone(), state: state.clone(), files, checksum: crc.sum() })
    }
}

/// A checksum of the lengths of files and of when they were last changed, which goes on as images are counted.
struct Versions {
    source: Arc<dyn Source>,
    crc: Crc,
    images: usize,
}

impl Versions {
    /// Of the first `images` images, which must be no fewer than before.
    fn of_first(&mut self, images: usize) -> u32 {
        for index in self.images..images {
            let (length, changed) = self.source.version(index).unwrap_or((0, UNIX_EPOCH));
            let since = changed.duration_since(UNIX_EPOCH).unwrap_or_default();
            self.crc.update(&length.to_le_bytes());
            self.crc.update(&since.as_nanos().to_le_bytes());
        }
        self.images = self.images.max(images);
        self.crc.sum()
    }
}

/// Where progress is kept.
pub(super) struct Store<S> {
    path: PathBuf,
    what: What,
    versions: Versions,
    _lock: Lock,
    /// Where to go on.
    pub(super) start: Option<S>,
}

impl<S: State> Store<S> {
    /// A new evaluation.
    pub(super) fn begin(dir: &Path, what: What, source: &Arc<dyn Source>) -> Result<Self> {
        fs::create_dir_all(dir).map_err(Error::file("create the folder", dir))?;
        let store = Self::at(dir, what, source)?;
        if is_taken(dir)? {
            setting!("{}: another process has written to this folder: choose another --out", dir.display());
        }
        Ok(store)
    }

    fn at(dir: &Path, what: What, source: &Arc<dyn Source>) -> Result<Self> {
        let versions = Versions { source: Arc::clone(source), crc: Crc::new(), images: 0 };
        let lock = Lock::take(dir)?;
        Ok(Self { path: dir.join("progress.json"), what, versions, _lock: lock, start: None })
    }

    /// The evaluation in a folder, if it is of the same things. `check` says what is wrong with counts that cannot be.
    pub(super) fn resume(
        dir: &Path,
        what: What,
        source: &Arc<dyn Source>,
        check: impl FnOnce(&S) -> Result<(), String>,
    ) -> Result<Self> {
        if !dir.is_dir() {
            unfit!("{}: no progress.json to resume; leave --resume out to begin", dir.display());
        }
        let mut store = Self::at(dir, what, source)?;
        let (path, what) = (&store.path, &store.what);
        let file = path.display();
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                unfit!("{}: no progress.json to resume; leave --resume out to begin", dir.display())
            }
            Err(error) => return Err(Error::file("read", path)(error)),
        };
        let damaged = |problem: String| Error::At {
            place: format!("{file} is damaged; leave --resume out and choose another --out"),
            source: Box::new(Error::Unfit(problem)),
        };
        let saved: Saved<S> = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if let Some(difference) = what.difference(&saved.what) {
            unfit!("{file} is of another evaluation: {difference}; resume with the flags of then");
        }
        check(&saved.state).map_err(damaged)?;
        let images = saved.state.passed();
        if !Saved::new(what, &saved.state, saved.files).is_ok_and(|whole| whole.checksum == saved.checksum) {
            return Err(damaged("its checksum is another than that of its counts".to_owned()));
        }
        if store.versions.of_first(images) != saved.files {
            unfit!(
                "{file} has counts of other pictures: of the first {images}, files were changed since; begin again with another --out"
            );
        }
        store.start = Some(saved.state);
        Ok(store)
    }

    /// Replaces the file, at once.
    pub(super) fn save(&mut self, state: &S) -> beit_train::Result<()> {
        let files = self.versions.of_first(state.passed());
        let written = Saved::new(&self.what, state, files)
            .and_then(|saved| serde_json::to_vec(&saved))
            .map_err(std::io::Error::other)
            .and_then(|bytes| files::write_whole(&self.path, &bytes));
        written.map_err(|source| beit_train::Error::Write { path: self.path.clone(), source })
    }
}

impl What {
    /// The first thing that is not as it was.
    pub(super) fn difference(&self, before: &Self) -> Option<String> {
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
