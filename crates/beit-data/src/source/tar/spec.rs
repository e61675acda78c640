//! Which shards a text names, and of which split they are.

use std::path::{Path, PathBuf};

use super::braces::{expand, split};
use crate::error::{Error, Result};
use crate::files::read_regular;
use crate::source::layout::{split_of, split_of_file};
use crate::source::scan::{entries, sorted_files};
use crate::split::Split;

/// Longest list of shards, in bytes.
const MAX_LIST: u64 = 1 << 24;
/// The ending of shards in a folder.
const ENDING: &str = "tar";

/// The shards of both splits.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Shards {
    pub(super) train: Vec<PathBuf>,
    pub(super) test: Vec<PathBuf>,
    /// What was taken as what.
    pub(super) note: Option<String>,
}

impl Shards {
    /// `TRAIN;TEST`, of which either may be empty; or one list, whose splits the names of its shards say.
    pub(super) fn find(spec: &str) -> Result<Self> {
        match split(spec, ';')[..] {
            [all] => Self::by_name(all),
            [train, test] => {
                let [train, test] = [files(train)?, files(test)?];
                let none = train.is_empty() && test.is_empty();
                if none { Err(no_shards(spec)) } else { Ok(Self { train, test, note: None }) }
            }
            _ => Err(Error::Shards(format!("`{spec}` has several semicolons: expected TRAIN;TEST"))),
        }
    }

    /// The shards of a split.
    pub(super) fn of(&self, split: Split) -> &[PathBuf] {
        match split {
            Split::Train => &self.train,
            Split::Test => &self.test,
        }
    }

    fn by_name(spec: &str) -> Result<Self> {
        let dir = Path::new(spec);
        if dir.is_dir() {
            return Self::of_folder(dir, spec);
        }
        let all = files(spec)?;
        if all.is_empty() {
            return Err(no_shards(spec));
        }
        Ok(Self::sorted(all, spec, true))
    }

    /// Folders of splits in a folder; else the shards in it.
    fn of_folder(dir: &Path, spec: &str) -> Result<Self> {
        let mut folders = Vec::new();
        for folder in entries(dir, None)?.folders {
            let Some((split, place)) = split_of(&folder) else { continue };
            let shards = shards_in(&folder)?;
            if !shards.is_empty() {
                folders.push((place, split, folder, shards));
            }
        }
        folders.sort_by_key(|(place, ..)| *place);
        let own = shards_in(dir)?;
        if folders.is_empty() {
            let all = if own.is_empty() { Err(nothing_in(dir)) } else { Ok(own) };
            return all.map(|all| Self::sorted(all, spec, split_of(dir).is_some()));
        }
        let mut take = |wanted: Split| {
            let at = folders.iter().position(|(_, split, ..)| *split == wanted)?;
            let (_, _, folder, shards) = folders.remove(at);
            Some((folder, shards))
        };
        let (train, test) = (take(Split::Train), take(Split::Test));
        let place = |found: &Option<(PathBuf, Vec<PathBuf>)>| {
            found.as_ref().map_or_else(
                || "none".to_owned(),
                |(folder, shards)| format!("{} in {}", shards.len(), folder.display()),
            )
        };
        let mut note =
            format!("{}: training shards: {}; test shards: {}", dir.display(), place(&train), place(&test));
        let left: Vec<String> =
            folders.iter().map(|(_, _, folder, _)| folder.display().to_string()).collect();
        if !left.is_empty() || !own.is_empty() {
            note += &format!("; not read: {} shards beside these folders, {}", own.len(), list(&left));
        }
        let [train, test] = [train, test].map(|found| found.map(|(_, shards)| shards).unwrap_or_default());
        Ok(Self { train, test, note: Some(note) })
    }

    /// Sorts shards by what their names and folders say. Where none says anything, all are for training; where all say the same and
    /// somebody `named` them, they are what was asked for.
    fn sorted(all: Vec<PathBuf>, spec: &str, named: bool) -> Self {
        let splits: Vec<_> = all.iter().map(|path| split_of_file(path)).collect();
        let of = |wanted: Split| -> Vec<PathBuf> {
            let places = splits.iter().flatten().filter(|(split, _)| *split == wanted);
            let first = places.map(|(_, place)| *place).min();
            let chosen =
                |split: &Option<(Split, usize)>| first.is_some_and(|place| *split == Some((wanted, place)));
            all.iter().zip(&splits).filter(|(_, split)| chosen(split)).map(|(path, _)| path.clone()).collect()
        };
        let (train, test) = (of(Split::Train), of(Split::Test));
        let whole = train.is_empty() && test.is_empty();
        match all.len() {
            _ if whole => Self { train: all, ..Self::default() },
            count if named && [train.len(), test.len()].contains(&count) => {
                Self { train: all.clone(), test: all, note: None }
            }
            count => Self::told(train, test, count, spec),
        }
    }

    fn told(train: Vec<PathBuf>, test: Vec<PathBuf>, all: usize, spec: &str) -> Self {
        let left = all - train.len() - test.len();
        let rest = if left > 0 {
            format!("; {left} of no split or of another test split are not read")
        } else {
            String::new()
        };
        let note = format!(
            "{spec}: by their names and folders {} training shards and {} test shards{rest}",
            train.len(),
            test.len()
        );
        Self { train, test, note: Some(note) }
    }
}

/// The shards that a list names, in its order: files, folders, brace ranges, and `@FILE`, a text file with one of these a line.
fn files(list: &str) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for item in split(list, ',').into_iter().filter(|item| !item.is_empty()) {
        match item.strip_prefix('@') {
            Some(file) => all.extend(listed(Path::new(file))?),
            None => all.extend(named(Path::new(""), item)?),
        }
    }
    Ok(all)
}

/// The shards of a text file, from its folder on. Empty lines and those that begin with `#` do not count.
fn listed(file: &Path) -> Result<Vec<PathBuf>> {
    let read = |source| Error::Read { path: file.to_owned(), source };
    let bytes = read_regular(file, MAX_LIST).map_err(read)?;
    let text = String::from_utf8(bytes).map_err(|error| read(std::io::Error::other(error)))?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut all = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        all.extend(named(folder, line)?);
    }
    Ok(all)
}

/// One file, the shards of one folder, or those of a brace range. What is there as it is written is not taken for a range.
fn named(folder: &Path, item: &str) -> Result<Vec<PathBuf>> {
    let as_written = folder.join(item);
    if as_written.is_dir() {
        let shards = shards_in(&as_written)?;
        return if shards.is_empty() { Err(nothing_in(&as_written)) } else { Ok(shards) };
    }
    if as_written.exists() {
        return Ok(vec![as_written]);
    }
    Ok(expand(item)?.into_iter().map(|name| folder.join(name)).collect())
}

/// The files of a folder whose names end in `.tar`, in the order of their names.
fn shards_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let is_shard =
        |path: &PathBuf| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case(ENDING));
    Ok(sorted_files(folder)?.into_iter().filter(is_shard).collect())
}

fn nothing_in(folder: &Path) -> Error {
    let compressed = sorted_files(folder).unwrap_or_default().into_iter().find(|path| {
        let name = path.to_string_lossy().to_ascii_lowercase();
        name.contains(".tar.") || name.ends_with(".tgz")
    });
    let found = match compressed {
        Some(path) => format!("; unpack the compressed ones first, such as {}", path.display()),
        None => String::new(),
    };
    Error::Shards(format!("no shards in {}: expected files ending in .tar{found}", folder.display()))
}

fn no_shards(spec: &str) -> Error {
    Error::Shards(format!(
        "`{spec}` names no shard: expected a .tar file, a folder of them, a range such as DIR/train-{{000000..000146}}.tar, or @FILE"
    ))
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "no other folder".to_owned() } else { names.join(", ") }
}

/// The files and folders that a text names; none where it is not understood.
pub(crate) fn places(spec: &str) -> Vec<PathBuf> {
    let lists = split(spec, ';').into_iter().flat_map(|part| split(part, ','));
    let of = |item: &str| match item.strip_prefix('@') {
        Some(file) => {
            std::iter::once(PathBuf::from(file)).chain(listed(Path::new(file)).unwrap_or_default()).collect()
        }
        None if Path::new(item).exists() => vec![PathBuf::from(item)],
        None => expand(item).unwrap_or_default().into_iter().map(PathBuf::from).collect(),
    };
    lists.filter(|item| !item.is_empty()).flat_map(of).collect()
}
