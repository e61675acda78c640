//! Finding the images below a folder.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::paths::Paths;
use crate::error::{Error, Result};

/// Extensions of images, compared without case.
const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];
/// Folders inside folders that are followed.
const MAX_DEPTH: usize = 32;

/// What lies directly in a folder, hidden entries left out.
pub(crate) struct Entries {
    /// Folders and links to folders, sorted by name.
    pub(crate) folders: Vec<PathBuf>,
    /// Whether there is a file whose name ends as an image's does.
    pub(crate) has_images: bool,
}

pub(crate) fn entries(folder: &Path) -> Result<Entries> {
    let error = |source| Error::Read { path: folder.to_owned(), source };
    let mut found = Entries { folders: Vec::new(), has_images: false };
    for entry in fs::read_dir(folder).map_err(error)? {
        let entry = entry.map_err(error)?;
        let name = entry.file_name();
        if is_hidden(&name) {
            continue;
        }
        if is_folder(&entry) {
            found.folders.push(entry.path());
        } else {
            found.has_images |= is_image(&name);
        }
    }
    found.folders.sort_unstable();
    Ok(found)
}

/// Adds all images in a folder and in the folders inside it. Links are followed. The order is fixed, since the random choices for
/// an image depend on its number: the images of a folder come in the order of their names, then its folders in the order of theirs.
pub(crate) fn add_images_below(folder: &Path, images: &mut Paths) -> Result<()> {
    let mut found = Found::default();
    let walk = WalkDir::new(folder).follow_links(true).max_depth(MAX_DEPTH).sort_by_file_name();
    for entry in walk.into_iter().filter_entry(|entry| entry.depth() == 0 || !is_hidden(entry.file_name())) {
        match entry {
            Ok(entry) if entry.file_type().is_dir() => found.folder(entry.depth(), entry.into_path())?,
            Ok(entry) => found.file(entry.depth(), entry.file_name()),
            Err(error) => found.problem(folder, error)?,
        }
    }
    found.folders.into_iter().for_each(|(path, names)| images.add(path, names));
    Ok(())
}

/// What a walk has met so far.
#[derive(Default)]
struct Found {
    /// Folders as they were met, each with the names of its own images. A folder is met before the folders inside it.
    folders: Vec<(PathBuf, Vec<OsString>)>,
    /// For each depth above the next entry, the number of the folder that this entry is in.
    inside: Vec<usize>,
}

impl Found {
    fn folder(&mut self, depth: usize, path: PathBuf) -> Result<()> {
        if depth == MAX_DEPTH {
            return Err(Error::TooDeep { path, depth: MAX_DEPTH });
        }
        self.inside.truncate(depth);
        self.inside.push(self.folders.len());
        self.folders.push((path, Vec::new()));
        Ok(())
    }

    /// A file comes between the folders beside it, so its own folder need not be the one that was met last.
    fn file(&mut self, depth: usize, name: &OsStr) {
        if is_image(name) {
            self.folders[self.inside[depth - 1]].1.push(name.to_owned());
        }
    }

    /// A link that leads nowhere counts as a file, which then cannot be read. Everything else ends the walk.
    fn problem(&mut self, root: &Path, error: walkdir::Error) -> Result<()> {
        let path = error.path().unwrap_or(root).to_owned();
        let name = path.file_name().unwrap_or_default();
        if error.depth() > 0 && is_hidden(name) {
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

fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// Whether an entry is a folder or a link to one. Only for a link does this ask the file system again.
fn is_folder(entry: &fs::DirEntry) -> bool {
    entry.file_type().is_ok_and(|kind| kind.is_dir() || kind.is_symlink() && entry.path().is_dir())
}

fn is_image(name: &OsStr) -> bool {
    let extension = Path::new(name).extension().and_then(OsStr::to_str);
    extension.is_some_and(|extension| EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension)))
}
