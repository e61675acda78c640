//! Which files of a data set are its splits.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::super::kinds::is_skipped;
use crate::error::{Error, Result};
use crate::split::Split;

/// How the files of a format are called.
#[derive(Clone, Copy)]
pub(super) struct Naming {
    /// The ending.
    pub(super) ending: &'static str,
    /// Folders inside folders that are looked into.
    pub(super) depth: usize,
    /// What the names of files begin with that belong to no data set.
    pub(super) passed_over: Option<&'static str>,
}

impl Naming {
    /// Files of the hub, at any depth.
    #[cfg(feature = "parquet")]
    pub(super) const PARQUET: Self = Self { ending: "parquet", depth: 8, passed_over: None };
    /// What `datasets` keeps: files beside each other or in a folder for each split, and between them what `map` has made.
    #[cfg(feature = "arrow")]
    pub(super) const ARROW: Self = Self { ending: "arrow", depth: 2, passed_over: Some("cache-") };

    fn fits(self, name: &OsStr) -> bool {
        let begins = |start: &str| name.as_encoded_bytes().starts_with(start.as_bytes());
        let ends = Path::new(name).extension().is_some_and(|ending| ending.eq_ignore_ascii_case(self.ending));
        ends && !is_skipped(name) && !self.passed_over.is_some_and(begins)
    }
}

/// The files of a split.
#[derive(Debug, PartialEq)]
pub(super) struct Files {
    pub(super) files: Vec<PathBuf>,
    /// Those of the training split, where they are others: they say which classes there are.
    pub(super) training: Vec<PathBuf>,
    pub(super) note: Option<String>,
}

/// A file, and the split that its name or its folder says.
type Named = (PathBuf, Option<(Split, usize)>);

impl Files {
    /// The files of a split in some places, each a file or a folder. Where the names of all places are those of one split, they are read as
    /// they are, for whichever split is asked; where no file has the name of a split, they are all the training split.
    pub(super) fn find(places: &[PathBuf], naming: Naming, split: Split) -> Result<Self> {
        let mut all: Vec<Named> = Vec::new();
        for place in places {
            below(place, naming, &mut all)?;
        }
        let own: Vec<_> = places.iter().map(|place| split_of(place, None)).collect();
        let exact = own[0].is_some()
            && own.iter().all(|one| one.map(|(split, _)| split) == own[0].map(|(split, _)| split));
        let whole = all.iter().all(|(_, split)| split.is_none());
        if exact || whole && split == Split::Train {
            let files = all.into_iter().map(|(path, _)| path).collect();
            return Ok(Self { files, training: Vec::new(), note: None });
        }
        let (train, test) = (of(&all, Split::Train), of(&all, Split::Test));
        let note = (!whole).then(|| sentence(&places[0], all.len(), &train, &test));
        let (files, training) = match split {
            Split::Train => (train, Vec::new()),
            Split::Test => (test, train),
        };
        match files.is_empty() {
            true => Err(Error::NoSplit { path: places[0].clone(), split }),
            false => Ok(Self { files, training, note }),
        }
    }
}

/// Adds the files in a place, in the order of their paths.
fn below(place: &Path, naming: Naming, all: &mut Vec<Named>) -> Result<()> {
    if !place.is_dir() {
        let name = place.file_name().unwrap_or_default();
        if place.exists() && !naming.fits(name) {
            let problem = format!("expected a folder or a file ending in .{}", naming.ending);
            return Err(Error::Table { path: place.to_owned(), problem });
        }
        // What is not there, opening it says.
        all.push((place.to_owned(), split_of(place, None)));
        return Ok(());
    }
    let before = all.len();
    let walk = WalkDir::new(place).follow_links(true).max_depth(naming.depth).sort_by_file_name();
    for entry in walk.into_iter().filter_entry(|entry| entry.depth() == 0 || !is_skipped(entry.file_name())) {
        let entry = entry.map_err(|error| unreadable(place, error))?;
        if !entry.file_type().is_dir() && naming.fits(entry.file_name()) {
            let split = split_of(entry.path(), Some(place));
            all.push((entry.into_path(), split));
        }
    }
    match all.len() == before {
        true => Err(Error::NoTables { path: place.to_owned(), ending: naming.ending }),
        false => Ok(()),
    }
}

fn unreadable(place: &Path, error: walkdir::Error) -> Error {
    let path = error.path().unwrap_or(place).to_owned();
    match error.loop_ancestor() {
        Some(ancestor) => Error::Loop { ancestor: ancestor.to_owned(), path },
        None => Error::Read { path, source: error.into() },
    }
}

/// The split that the name of a file or a folder says, or the nearest folder of a split below `root` that it lies in.
fn split_of(path: &Path, root: Option<&Path>) -> Option<(Split, usize)> {
    let own = match path.is_dir() {
        true => path.file_name().and_then(|name| Split::of_folder(&name.to_string_lossy())),
        false => path.file_stem().and_then(|stem| word(&stem.to_string_lossy())),
    };
    let inside = root.and_then(|root| path.parent()?.strip_prefix(root).ok());
    let folder = |part: std::path::Component<'_>| Split::of_folder(&part.as_os_str().to_string_lossy());
    own.or_else(|| inside?.components().rev().find_map(folder))
}

/// The last word of a name that is that of a split: `train-00000-of-00005`, `imagefolder-validation`.
fn word(stem: &str) -> Option<(Split, usize)> {
    stem.rsplit(['-', '_', '.', ' ']).find_map(Split::of_folder).or_else(|| Split::of_folder(stem))
}

/// The files of a split; of a test those of the first name that there is.
fn of(all: &[Named], split: Split) -> Vec<PathBuf> {
    let places = || all.iter().filter_map(|(_, named)| named.filter(|(own, _)| *own == split));
    let first = places().map(|(_, place)| place).min();
    let chosen = |named: &Option<(Split, usize)>| {
        named.is_some_and(|(own, place)| own == split && (split == Split::Train || Some(place) == first))
    };
    all.iter().filter(|(_, named)| chosen(named)).map(|(path, _)| path.clone()).collect()
}

fn sentence(root: &Path, all: usize, train: &[PathBuf], test: &[PathBuf]) -> String {
    let told = |what: &str, files: &[PathBuf]| {
        let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match files {
            [] => format!("no {what} images"),
            [only] => format!("{what} images from {}", name(only)),
            [first, .., last] => {
                format!("{what} images from {} to {} ({} files)", name(first), name(last), files.len())
            }
        }
    };
    let left = match all - train.len() - test.len() {
        0 => String::new(),
        left => format!("; not read: {left} more"),
    };
    format!("{}: {}, {}{left}", root.display(), told("training", train), told("test", test))
}

#[cfg(all(test, feature = "parquet"))]
mod tests {
    use super::*;

    fn found(files: &[&str], place: &str, split: Split) -> std::result::Result<Vec<String>, String> {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let found =
            Files::find(&[folder.path().join(place)], Naming::PARQUET, split).map_err(|e| e.to_string())?;
        let name = |path: &PathBuf| path.strip_prefix(folder.path()).unwrap().display().to_string();
        Ok(found.files.iter().map(name).collect())
    }

    #[test]
    fn splits_are_named_as_on_the_hub() {
        let hub = [
            "data/test-00000-of-00001.parquet",
            "data/train-00000-of-00002.parquet",
            "data/train-00001-of-00002.parquet",
            "data/validation-00000-of-00001.parquet",
            "README.md",
            ".cache/train-00000-of-00001.parquet",
        ];
        assert_eq!(found(&hub, "", Split::Train).unwrap(), hub[1..3]);
        assert_eq!(found(&hub, "", Split::Test).unwrap(), hub[3..4]);
        let folders = ["train/0.parquet", "train/1.PARQUET", "val/0.parquet"];
        assert_eq!(found(&folders, "", Split::Train).unwrap(), folders[..2]);
        assert_eq!(found(&folders, "", Split::Test).unwrap(), folders[2..]);
        // A folder of a split, or a file, as it is.
        for split in [Split::Train, Split::Test] {
            assert_eq!(found(&folders, "val", split).unwrap(), folders[2..]);
            assert_eq!(found(&hub, hub[0], split).unwrap(), hub[..1]);
        }
        let plain = ["a.parquet", "b.parquet"];
        assert_eq!(found(&plain, "", Split::Train).unwrap(), plain);
        assert!(found(&plain, "", Split::Test).unwrap_err().contains("no test split"));
        assert!(found(&["a.txt"], "", Split::Train).unwrap_err().contains("no files ending in .parquet"));
        assert!(found(&["a.txt"], "a.txt", Split::Train).unwrap_err().contains("a file ending in .parquet"));
    }

    #[test]
    fn the_last_word_counts() {
        for (stem, split) in [
            ("train-00000-of-00005-a1b2", Some(Split::Train)),
            ("my_test_set-train", Some(Split::Train)),
            ("imagefolder-validation-00001-of-00002", Some(Split::Test)),
            ("training set", Some(Split::Train)),
            ("0000", None),
            ("trains", None),
        ] {
            assert_eq!(word(stem).map(|(split, _)| split), split, "{stem}");
        }
    }
}
