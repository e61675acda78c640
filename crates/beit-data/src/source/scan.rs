//! Finding the images below a folder.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::kinds::{Kind, Unread, is_skipped};
use super::names::{Names, os_name};
use super::paths::Paths;
use super::spelling::class_name;
use crate::bands::Bands;
use crate::error::{Error, Result};

/// Folders inside folders that are followed.
const MAX_DEPTH: usize = 32;

/// What lies directly in a folder, what is skipped left out.
pub(crate) struct Entries {
    /// Folders and links to folders, sorted by name.
    pub(crate) folders: Vec<PathBuf>,
    /// Whether there is a file whose name ends as an image's does.
    pub(crate) has_images: bool,
    /// Files beside the folders that are not read.
    pub(crate) unread: Unread,
}

impl Entries {
    /// These folders, as if nothing lay beside them.
    pub(crate) fn of_folders(folders: &[PathBuf]) -> Self {
        Self { folders: folders.to_vec(), has_images: false, unread: Unread::default() }
    }
}

/// What lies directly in a folder, where pictures are read so.
pub(crate) fn entries(folder: &Path, bands: Option<Bands>) -> Result<Entries> {
    let error = |source| Error::Read { path: folder.to_owned(), source };
    let mut found = Entries::of_folders(&[]);
    for entry in fs::read_dir(folder).map_err(error)? {
        let entry = entry.map_err(error)?;
        let name = entry.file_name();
        if is_skipped(&name) {
            continue;
        }
        if is_folder(&entry) {
            found.folders.push(entry.path());
            continue;
        }
        match Kind::of(&name, bands) {
            Kind::Image => found.has_images = true,
            Kind::Unread(ending) => found.unread.add(ending),
            Kind::Other => {}
        }
    }
    // As people read the names, whatever the system made of their letters.
    found.folders.sort_by_cached_key(|folder| (class_name(folder), folder.clone()));
    Ok(found)
}

/// The files of a folder, what is skipped left out, in the order of their names.
pub(crate) fn sorted_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let error = |source| Error::Read { path: folder.to_owned(), source };
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(error)? {
        let entry = entry.map_err(error)?;
        if !is_skipped(&entry.file_name()) && !is_folder(&entry) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

/// Whether there is an image, or what looks like one, anywhere below a folder.
pub(crate) fn has_images_below(folder: &Path) -> bool {
    walk(folder).flatten().any(|entry| {
        !entry.file_type().is_dir() && entry.depth() > 0 && Kind::of(entry.file_name(), None) != Kind::Other
    })
}

/// What is in a folder and in the folders inside it. Links are followed. The order is fixed, since the random choices for an image
/// depend on its number: the images of a folder come in the order of their names, then its folders in the order of theirs.
pub(crate) fn images_below(folder: &Path, bands: Option<Bands>) -> Result<Found> {
    let mut found = Found { bands, ..Found::default() };
    for entry in walk(folder) {
        match entry {
            Ok(entry) if entry.file_type().is_dir() => found.folder(entry.depth(), entry.into_path())?,
            Ok(entry) => found.file(entry.depth(), entry.file_name()),
            Err(error) => found.problem(folder, error)?,
        }
    }
    Ok(found)
}

/// All folders below a folder, itself first, what is skipped left out; those that cannot be read too.
pub(crate) fn folders_below(folder: &Path) -> impl Iterator<Item = PathBuf> {
    let walk = WalkDir::new(folder).follow_links(true).max_depth(MAX_DEPTH).into_iter();
    let walk = walk.filter_entry(|entry| {
        entry.depth() == 0 || entry.file_type().is_dir() && !is_skipped(entry.file_name())
    });
    walk.flatten().map(DirEntry::into_path)
}

fn walk(folder: &Path) -> impl Iterator<Item = walkdir::Result<DirEntry>> {
    let walk = WalkDir::new(folder).follow_links(true).max_depth(MAX_DEPTH).sort_by_file_name();
    walk.into_iter().filter_entry(|entry| entry.depth() == 0 || !is_skipped(entry.file_name()))
}

/// What a walk has met so far.
#[derive(Default)]
pub(crate) struct Found {
    /// Folders as they were met, each with the names of its own images. A folder is met before the folders inside it.
    folders: Vec<(PathBuf, Names)>,
    /// For each depth above the next entry, the number of the folder that this entry is in.
    inside: Vec<usize>,
    /// Files that are not read.
    pub(crate) unread: Unread,
    /// GIFs, of which only the first picture is read.
    pub(crate) gifs: usize,
    /// How pictures are read.
    bands: Option<Bands>,
}

impl Found {
    /// Whether there is no image, read or not.
    pub(crate) fn is_void(&self) -> bool {
        self.unread.files() == 0 && self.folders.iter().all(|(_, names)| names.is_empty())
    }

    /// Paths of all images.
    pub(crate) fn paths(&self) -> impl Iterator<Item = PathBuf> {
        self.folders.iter().flat_map(|(folder, names)| names.iter().map(|name| folder.join(os_name(name))))
    }

    pub(crate) fn add_to(self, images: &mut Paths) {
        self.folders.into_iter().for_each(|(path, names)| images.add(path, &names));
    }

    fn folder(&mut self, depth: usize, path: PathBuf) -> Result<()> {
        if depth == MAX_DEPTH {
            return Err(Error::TooDeep { path, depth: MAX_DEPTH });
        }
        self.inside.truncate(depth);
        self.inside.push(self.folders.len());
        self.folders.push((path, Names::default()));
        Ok(())
    }

    /// A file comes between the folders beside it, so its own folder need not be the one that was met last.
    fn file(&mut self, depth: usize, name: &OsStr) {
        match Kind::of(name, self.bands) {
            Kind::Image => {
                self.gifs += usize::from(name.to_ascii_lowercase().as_encoded_bytes().ends_with(b".gif"));
                self.folders[self.inside[depth - 1]].1.push(name.as_encoded_bytes());
            }
            Kind::Unread(ending) => self.unread.add(ending),
            Kind::Other => {}
        }
    }

    /// A link that leads nowhere counts as a file, which then cannot be read. Everything else ends the walk.
    fn problem(&mut self, root: &Path, error: walkdir::Error) -> Result<()> {
        let path = error.path().unwrap_or(root).to_owned();
        let name = path.file_name().unwrap_or_default();
        if error.depth() > 0 && is_skipped(name) {
            return Ok(());
        }
        if let Some(ancestor) = error.loop_ancestor() {
            return Err(Error::Loop { ancestor: ancestor.to_owned(), path });
        }
        if path.is_dir() {
            return Err(Error::Read { path, source: error.into() });
        }
        self.file(error.depth(), name);
        Ok(())
    }
}

/// Whether an entry is a folder or a link to one. Only for a link does this ask the file system again.
fn is_folder(entry: &fs::DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_dir() || kind.is_symlink() && entry.path().is_dir())
}
