//! Which classes the samples of shards are of.

use std::collections::{BTreeSet, HashMap};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::samples::{NONE, TEXT};
use super::shard::Shard;
use crate::error::{Error, Result};
use crate::files::read_regular;
use crate::source::spelling::normal_name;

/// The file that names classes, a line each.
const FILE: &str = "classes.txt";
/// Longest such file, in bytes.
const MAX_FILE: u64 = 1 << 24;
/// Most classes that only have numbers: a wrong number must not make a billion names.
const MOST: u32 = 1 << 22;

/// How classes are known.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// Not at all.
    Nothing,
    /// By numbers that files say.
    Number,
    /// By names that files say.
    Name,
    /// By the folders that samples lie in.
    Folder,
}

/// The classes of a set.
pub(super) struct Classes {
    pub(super) names: Vec<String>,
    by: By,
    /// The file that names them, if one does.
    file: Option<PathBuf>,
}

impl Classes {
    /// The classes of shards.
    pub(super) fn of(shards: &[Shard]) -> Result<Self> {
        let by = known_by(shards)?;
        let (file, listed) = match by {
            By::Nothing => (None, None),
            _ => listed(shards)?.unzip(),
        };
        let names = match (listed, by) {
            (Some(names), _) => names,
            (None, By::Nothing) => Vec::new(),
            (None, By::Number) => numbers(shards)?,
            (None, By::Name | By::Folder) => found(shards, by),
        };
        Ok(Self { names, by, file })
    }

    /// Gives each sample the number of its class, in place of what its files say.
    pub(super) fn number(&self, shards: &mut [Shard]) -> Result<()> {
        if self.by == By::Nothing {
            shards.iter_mut().for_each(|shard| shard.samples.classes = Vec::new());
            return Ok(());
        }
        let by = known_by(shards)?;
        let places: HashMap<&str, u32> =
            self.names.iter().zip(0..).map(|(name, number)| (name.as_str(), number)).collect();
        for shard in shards {
            let numbers: Vec<u32> = (0..shard.samples.names.len())
                .map(|index| {
                    match by {
                        By::Nothing => Some(NONE),
                        By::Number => Some(shard.samples.classes[index])
                            .filter(|&class| class == NONE || (class as usize) < self.names.len()),
                        By::Name | By::Folder => match name_of(shard, index, by) {
                            None => Some(NONE),
                            Some(name) => places.get(name.as_str()).copied(),
                        },
                    }
                    .ok_or_else(|| self.unknown(shard, index, by))
                })
                .collect::<Result<_>>()?;
            shard.samples.classes = numbers;
        }
        Ok(())
    }

    fn unknown(&self, shard: &Shard, index: usize, by: By) -> Error {
        let class = match by {
            By::Number => shard.samples.classes[index].to_string(),
            _ => name_of(shard, index, by).unwrap_or_default(),
        };
        let expected = match &self.file {
            Some(file) => format!("one of the {} in {}", self.names.len(), file.display()),
            None => format!("one of the {} of the training split", self.names.len()),
        };
        Error::Shard {
            path: shard.file.path.clone(),
            problem: format!(
                "{} is of class {class}, expected {expected}",
                String::from_utf8_lossy(shard.samples.names.get(index))
            ),
        }
    }
}

/// Whether samples have numbers or names; some may have neither. Where none has either, folders are classes if every sample lies in one.
fn known_by(shards: &[Shard]) -> Result<By> {
    let all =
        || shards.iter().flat_map(|shard| (0..shard.samples.names.len()).map(move |index| (shard, index)));
    let said = |numbers: bool| {
        all().find(|(shard, index)| {
            let class = shard.samples.classes[*index];
            class != NONE && (class < TEXT) == numbers
        })
    };
    match (said(true), said(false)) {
        (Some(_), None) => Ok(By::Number),
        (None, Some(_)) => Ok(By::Name),
        (None, None) if all().all(|(shard, index)| folder_of(shard.samples.names.get(index)).is_some()) => {
            Ok(By::Folder)
        }
        (None, None) => Ok(By::Nothing),
        (Some((first, number)), Some((second, name))) => {
            let sample = |shard: &Shard, index| {
                format!(
                    "{}: {}",
                    shard.file.path.display(),
                    String::from_utf8_lossy(shard.samples.names.get(index))
                )
            };
            Err(Error::Shards(format!(
                "expected classes by numbers or by names, found both: a number in {} and a name in {}",
                sample(first, number),
                sample(second, name)
            )))
        }
    }
}

/// The name of the class of a sample.
fn name_of(shard: &Shard, index: usize, by: By) -> Option<String> {
    match (by, shard.samples.classes[index]) {
        (By::Folder, _) => folder_of(shard.samples.names.get(index))
            .map(|folder| normal_name(&String::from_utf8_lossy(folder))),
        (_, NONE) => None,
        (_, class) => shard.samples.texts.get((class & !TEXT) as usize).map(|text| normal_name(text)),
    }
}

/// The name of the folder that a file lies in.
fn folder_of(name: &[u8]) -> Option<&[u8]> {
    let slash = name.iter().rposition(|&byte| byte == b'/')?;
    let folder = name[..slash].rsplit(|&byte| byte == b'/').next()?;
    (!folder.is_empty() && folder != b".").then_some(folder)
}

/// Names, up to the greatest number that a sample has.
fn numbers(shards: &[Shard]) -> Result<Vec<String>> {
    let samples =
        shards.iter().flat_map(|shard| shard.samples.classes.iter().map(move |&class| (shard, class)));
    let Some((shard, most)) = samples.filter(|&(_, class)| class != NONE).max_by_key(|&(_, class)| class)
    else {
        return Ok(Vec::new());
    };
    if most >= MOST {
        let problem = format!("it has a sample of class {most}, expected numbers below {MOST}");
        return Err(Error::Shard { path: shard.file.path.clone(), problem });
    }
    Ok((0..=most).map(|class| class.to_string()).collect())
}

/// The names that occur, in their order.
fn found(shards: &[Shard], by: By) -> Vec<String> {
    let mut names = BTreeSet::new();
    for shard in shards {
        let mut last = None;
        for index in 0..shard.samples.names.len() {
            // Neighbours are often of one class.
            let name = name_of(shard, index, by);
            if name != last {
                names.extend(name.clone());
                last = name;
            }
        }
    }
    names.into_iter().collect()
}

/// The file of classes beside the first shard, or in the folder above where that folder is one of a split.
fn listed(shards: &[Shard]) -> Result<Option<(PathBuf, Vec<String>)>> {
    let Some(folder) = shards.first().and_then(|shard| shard.file.path.parent()) else { return Ok(None) };
    let above = crate::source::layout::split_of(folder).and_then(|_| folder.parent());
    for folder in [Some(folder), above].into_iter().flatten() {
        if let Some(names) = read_names(&folder.join(FILE))? {
            return Ok(Some((folder.join(FILE), names)));
        }
    }
    Ok(None)
}

fn read_names(path: &Path) -> Result<Option<Vec<String>>> {
    let read = |source| Error::Read { path: path.to_owned(), source };
    let bytes = match read_regular(path, MAX_FILE) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(read(error)),
    };
    let text = String::from_utf8(bytes).map_err(|error| read(std::io::Error::other(error)))?;
    let names: Vec<String> = text.trim_end().lines().map(|line| normal_name(line.trim())).collect();
    let mut seen = HashMap::new();
    for (name, line) in names.iter().zip(1..) {
        let problem = match seen.insert(name, line) {
            _ if name.is_empty() => format!("line {line} is empty"),
            Some(first) => format!("lines {first} and {line} are both `{name}`"),
            None => continue,
        };
        return Err(Error::Shards(format!(
            "{}: {problem}: expected the name of a class in each line",
            path.display()
        )));
    }
    Ok((!names.is_empty()).then_some(names))
}
