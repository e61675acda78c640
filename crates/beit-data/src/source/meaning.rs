//! What the values of mask files mean.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::error::{Error, Result};
use crate::files::read_regular;
use crate::mask::{ClassTable, Mask, Raw, Values};
use crate::ordered::Ordered;

/// Classes of ADE20K's scene parsing.
const ADE_CLASSES: u8 = 150;
/// Longest file of names, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// What the values of mask files mean.
pub(crate) enum Meaning {
    /// A table says it.
    Table(ClassTable),
    /// The values are the classes: as many as occur in these files.
    Values { files: Arc<[PathBuf]>, found: OnceLock<Found> },
}

/// The classes that occur.
#[derive(Default)]
pub(crate) struct Found {
    names: Vec<String>,
    palette: Option<Vec<[u8; 3]>>,
}

impl Meaning {
    /// ADE20K: value 0 is ignored, value n is class n - 1. Names are those of `file`, if it is there, else numbers.
    pub(crate) fn ade(file: &Path) -> Result<Self> {
        let classes = std::iter::once(Mask::IGNORED).chain(0..ADE_CLASSES).collect();
        let names = match file.exists() {
            true => ade_names(file)?,
            false => (0..ADE_CLASSES).map(|class| class.to_string()).collect(),
        };
        Ok(Self::Table(ClassTable { names, classes, ..ClassTable::default() }))
    }

    /// Numbers as they are, up to the greatest in these files.
    pub(crate) fn values(files: impl Iterator<Item = PathBuf>) -> Self {
        Self::Values { files: files.collect(), found: OnceLock::new() }
    }

    pub(crate) fn names(&self) -> &[String] {
        match self {
            Self::Table(table) => &table.names,
            Self::Values { files, found } => &found.get_or_init(|| Found::in_files(files)).names,
        }
    }

    pub(crate) fn palette(&self) -> Option<&[[u8; 3]]> {
        match self {
            Self::Table(table) => table.palette.as_deref(),
            Self::Values { files, found } => found.get_or_init(|| Found::in_files(files)).palette.as_deref(),
        }
    }

    /// Reads a mask file.
    pub(crate) fn open(&self, path: &Path) -> Result<Mask> {
        let Raw { height, width, values, .. } = Raw::open(path)?;
        let place = |at: usize| format!("pixel ({}, {})", at % width, at / width);
        let ids = match values {
            Values::Numbers(numbers) => self.classes_of(numbers, place),
            Values::Colours(colours) => self.of_colours(&colours, place),
        };
        match ids {
            Ok(ids) => Ok(Mask::new(height, width, ids)),
            Err(reason) => Err(Error::Mask { name: path.display().to_string(), reason }),
        }
    }

    /// `values [H · W] -> ids [H · W]`
    fn classes_of(
        &self,
        mut values: Vec<u8>,
        place: impl Fn(usize) -> String,
    ) -> std::result::Result<Vec<u8>, String> {
        let mut classes = [None; 256];
        match self {
            Self::Table(table) => {
                classes.iter_mut().zip(&table.classes).for_each(|(class, &known)| *class = Some(known));
            }
            Self::Values { .. } => {
                (0..self.names().len()).for_each(|class| classes[class] = Some(class as u8));
            }
        }
        let most = classes.iter().flatten().count().saturating_sub(1);
        classes[usize::from(Mask::IGNORED)].get_or_insert(Mask::IGNORED);
        for (at, value) in values.iter_mut().enumerate() {
            *value = classes[usize::from(*value)].ok_or_else(|| {
                format!(
                    "{} has the number {value}; expected 0 to {most}, or {} to ignore it",
                    place(at),
                    Mask::IGNORED
                )
            })?;
        }
        Ok(values)
    }

    /// `colours [H, W, 3] -> ids [H · W]`
    fn of_colours(
        &self,
        colours: &[u8],
        place: impl Fn(usize) -> String,
    ) -> std::result::Result<Vec<u8>, String> {
        let table = match self {
            Self::Table(table) if !table.colours.is_empty() => &table.colours,
            _ => return Err(NO_COLOURS.to_owned()),
        };
        let mut last = None;
        let class = |(at, colour): (usize, &[u8; 3])| match last {
            Some((same, class)) if same == *colour => Ok(class),
            _ => {
                let class = table.get(colour).copied();
                last = class.map(|class| (*colour, class));
                class.ok_or_else(|| {
                    format!(
                        "{} has the colour {} {} {}, which no class has: add it to the file of classes",
                        place(at),
                        colour[0],
                        colour[1],
                        colour[2]
                    )
                })
            }
        };
        colours.as_chunks::<3>().0.iter().enumerate().map(class).collect()
    }
}

const NO_COLOURS: &str = "an RGB picture, whose colours mean nothing without a table of them: name a file of classes as the third \
                          part of masks:IMAGES,MASKS,CLASSES, with a line `NAME R G B` for each class";

impl Found {
    /// Reads every file. One that cannot be read says nothing here; it is refused when its mask is asked for.
    fn in_files(files: &Arc<[PathBuf]>) -> Self {
        let look = |file: &Path| Raw::open(file).ok().map(|raw| (greatest(&raw), raw.palette));
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let shared = Arc::clone(files);
        let job = move |number: u64| look(&shared[number as usize]);
        let seen: Vec<_> = match Ordered::start(0..files.len() as u64, workers, 4 * workers, job) {
            Ok(all) => all.flatten().flatten().collect(),
            Err(_) => files.iter().filter_map(|file| look(file)).collect(),
        };
        let classes =
            seen.iter().filter_map(|(greatest, _)| *greatest).max().map_or(0, |most| usize::from(most) + 1);
        let palette = seen.into_iter().find_map(|(_, palette)| palette.filter(|all| all.len() >= classes));
        Self {
            names: (0..classes).map(|class| class.to_string()).collect(),
            palette: palette.map(|all| all[..classes].to_vec()),
        }
    }
}

/// The greatest number that is not ignored.
fn greatest(raw: &Raw) -> Option<u8> {
    match &raw.values {
        Values::Numbers(numbers) => numbers.iter().copied().filter(|&number| number != Mask::IGNORED).max(),
        Values::Colours(_) => None,
    }
}

/// The names in ADE20K's `objectInfo150.txt`: a table whose columns are parted by tabs, with a first line that names them. Of several
/// names of a class the first counts.
fn ade_names(path: &Path) -> Result<Vec<String>> {
    let bytes =
        read_regular(path, MAX_BYTES).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    let text = String::from_utf8_lossy(&bytes);
    let name = |line: &str| {
        let last = line.rsplit('\t').next().unwrap_or_default();
        last.split(',').next().unwrap_or_default().trim().to_owned()
    };
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let header = lines.next().map(name).unwrap_or_default();
    let names: Vec<String> = lines.map(name).collect();
    let problem = if header != "Name" {
        format!("expected a first line whose last column is Name, found `{header}`")
    } else if names.len() != usize::from(ADE_CLASSES) {
        format!("expected {ADE_CLASSES} classes, found {}", names.len())
    } else {
        return Ok(names);
    };
    Err(Error::MaskClasses { path: path.to_owned(), problem })
}
