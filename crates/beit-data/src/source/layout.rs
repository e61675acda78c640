//! Which folders of a folder are its splits.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::scan::{Entries, entries, has_images_below};
use super::spelling::class_name;
use crate::bands::Bands;
use crate::error::Result;
use crate::split::Split;

/// How a folder is divided.
#[derive(Debug, PartialEq)]
pub(crate) enum Layout {
    /// It has no folder of any split.
    Whole,
    /// It has a folder of a split, or both.
    Splits { train: Option<Training>, test: Option<PathBuf> },
}

/// Where the training images are.
#[derive(Debug, PartialEq)]
pub(crate) enum Training {
    /// In a folder of their own.
    Folder(PathBuf),
    /// In these folders of classes, beside the folder of the test split.
    Classes(Vec<PathBuf>),
}

impl Layout {
    /// The layout of `dir`, where pictures are read so, and what its owner should know of it.
    pub(crate) fn find(dir: &Path, bands: Option<Bands>) -> Result<(Self, Option<String>)> {
        let found = entries(dir, bands)?;
        if found.folders.iter().all(|folder| split_of(folder).is_none()) {
            return Ok((Self::Whole, doubt(dir, &found, bands)?));
        }
        let folders = Folders::sort(found)?;
        let layout = folders.layout()?;
        let note = match &layout {
            Self::Whole => folders.read_as_classes(dir),
            Self::Splits { train, test } => Some(folders.sentence(dir, train.as_ref(), test.as_deref())),
        };
        Ok((layout, note))
    }
}

/// The split that the name of a folder says it holds.
pub(crate) fn split_of(folder: &Path) -> Option<(Split, usize)> {
    Split::of_folder(&class_name(folder))
}

/// The split that a file is of by its name, or else by the folder that it lies in.
pub(crate) fn split_of_file(file: &Path) -> Option<(Split, usize)> {
    Split::of_file(file).or_else(|| split_of(file.parent()?))
}

/// The folders beside each other, by what they may be.
struct Folders {
    /// Named as a training split, the first choice first.
    train: Vec<PathBuf>,
    /// Named as a test split, with images in them.
    test: Vec<PathBuf>,
    /// The others that have images in them.
    classes: Vec<PathBuf>,
    /// Whether images lie beside the folders.
    images_beside: bool,
}

impl Folders {
    fn sort(found: Entries) -> Result<Self> {
        let (named, others): (Vec<_>, Vec<_>) =
            found.folders.into_iter().partition(|folder| split_of(folder).is_some());
        let mut classes: Vec<PathBuf> =
            others.into_iter().filter(|folder| has_images_below(folder)).collect();
        let of = |split: Split| {
            let mut folders: Vec<_> =
                named.iter().filter(|path| split_of(path).is_some_and(|(own, _)| own == split)).collect();
            folders.sort_by_key(|path| split_of(path).map(|(_, place)| place));
            folders.into_iter().cloned().collect::<Vec<_>>()
        };
        let mut train = Vec::new();
        let beside = !classes.is_empty();
        for folder in of(Split::Train) {
            // There are pictures of trains.
            if beside && holds_images(&folder)? { classes.push(folder) } else { train.push(folder) }
        }
        classes.sort_by_cached_key(|folder| class_name(folder));
        let test = of(Split::Test).into_iter().filter(|folder| has_images_below(folder)).collect();
        Ok(Self { train, test, classes, images_beside: found.has_images })
    }

    fn layout(&self) -> Result<Layout> {
        let (classes, test) = (&self.classes, self.test.first());
        if let Some(train) = self.train.first() {
            return Ok(Layout::Splits { train: Some(Training::Folder(train.clone())), test: test.cloned() });
        }
        let Some(test) = test else { return Ok(Layout::Whole) };
        let unlabelled = holds_images(test)?;
        if unlabelled && classes.len() == 1 {
            // Two folders of images are two classes: `valid` and `invalid`.
            return Ok(Layout::Whole);
        }
        let beside = unlabelled || shares_names(test, classes)?;
        let train = (beside && !classes.is_empty() && !self.images_beside)
            .then(|| Training::Classes(classes.clone()));
        Ok(Layout::Splits { train, test: Some(test.clone()) })
    }

    /// What was taken as what.
    fn sentence(&self, dir: &Path, train: Option<&Training>, test: Option<&Path>) -> String {
        let (training, taken) = match train {
            Some(Training::Folder(folder)) => (format!("training images from {}", quoted([folder])), false),
            Some(Training::Classes(folders)) => (format!("training images from {}", quoted(folders)), true),
            None => ("no training images".to_owned(), false),
        };
        let testing = match test {
            Some(folder) => format!("test images from {}", quoted([&folder.to_owned()])),
            None => "no test images".to_owned(),
        };
        let read = |folder: &&PathBuf| {
            test == Some(folder.as_path())
                || matches!(train, Some(Training::Folder(own)) if own == *folder)
                || taken && self.classes.contains(folder)
        };
        let left: Vec<_> =
            self.train.iter().chain(&self.test).chain(&self.classes).filter(|folder| !read(folder)).collect();
        let left = match left.is_empty() {
            true => String::new(),
            false => format!("; not read: {} ({})", quoted(left), known_names()),
        };
        format!("{}: {training}, {testing}{left}", dir.display())
    }

    /// Where folders that are named as splits are read as classes.
    fn read_as_classes(&self, dir: &Path) -> Option<String> {
        let named: Vec<_> =
            self.classes.iter().chain(&self.test).filter(|folder| split_of(folder).is_some()).collect();
        (!named.is_empty()).then(|| {
            format!(
                "{}: {} holds images itself, beside folders that are no splits: taken as a class",
                dir.display(),
                quoted(named)
            )
        })
    }
}

/// A warning where folders that are about to be read as classes look like splits of another name.
fn doubt(dir: &Path, found: &Entries, bands: Option<Bands>) -> Result<Option<String>> {
    if found.has_images {
        return Ok(None);
    }
    let mut common: Option<BTreeSet<String>> = None;
    let mut looked_at = Vec::new();
    for folder in &found.folders {
        let inside = entries(folder, bands)?;
        if inside.has_images {
            return Ok(None);
        }
        let names: BTreeSet<String> = inside.folders.iter().map(|folder| class_name(folder)).collect();
        if !names.is_empty() {
            common = Some(common.map_or_else(|| names.clone(), |common| &common & &names));
            looked_at.push(folder);
        }
    }
    let (dir, common) = (dir.display(), common.unwrap_or_default());
    Ok(match looked_at[..] {
        [only] if common.iter().any(|name| Split::of_folder(name).is_some()) => {
            Some(format!("{dir}: {} has splits in it; name that folder to read them", quoted([only])))
        }
        [_, _, ..] if common.len() > 1 => Some(format!(
            "{dir}: {} have the same folders in them and are taken as classes; if they are splits, rename them ({})",
            quoted(looked_at),
            known_names()
        )),
        _ => None,
    })
}

fn holds_images(folder: &Path) -> Result<bool> {
    let found = entries(folder, None)?;
    Ok(found.has_images || found.unread.files() > 0)
}

/// Whether a folder has folders of the same names as others in it.
fn shares_names(folder: &Path, others: &[PathBuf]) -> Result<bool> {
    let others: BTreeSet<String> = others.iter().map(|folder| class_name(folder)).collect();
    Ok(entries(folder, None)?.folders.iter().any(|folder| others.contains(&class_name(folder))))
}

fn known_names() -> String {
    let [train, test] = [Split::Train, Split::Test].map(|split| split.folder_names().join(", "));
    format!("splits are called {train}; {test}")
}

/// The names of folders, not all of many.
pub(crate) fn quoted<'a>(folders: impl IntoIterator<Item = &'a PathBuf>) -> String {
    /// Names that a sentence lists.
    const LISTED: usize = 8;
    let names: Vec<String> = folders.into_iter().map(|folder| format!("`{}`", class_name(folder))).collect();
    match names.len() {
        ..=LISTED => names.join(", "),
        all => format!("{}, … ({all} in all)", names[..LISTED].join(", ")),
    }
}
