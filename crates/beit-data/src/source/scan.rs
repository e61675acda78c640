//! Finding the images below a folder.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Extensions of images, compared without case.
const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];
/// Folders inside folders that are followed.
const MAX_DEPTH: usize = 32;

/// What lies directly in a folder, hidden entries left out, each sorted by name.
pub(crate) struct Entries {
    /// Folders and links to folders.
    pub(crate) folders: Vec<PathBuf>,
    /// Files whose name ends as an image's does.
    pub(crate) images: Vec<PathBuf>,
}

pub(crate) fn entries(folder: &Path) -> Result<Entries> {
    let error = |source| Error::Read { path: folder.to_owned(), source };
    let mut found = Entries { folders: Vec::new(), images: Vec::new() };
    for entry in std::fs::read_dir(folder).map_err(error)? {
        let entry = entry.map_err(error)?;
        let path = entry.path();
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if path.is_dir() {
            found.folders.push(path);
        } else if is_image(&path) {
            found.images.push(path);
        }
    }
    found.folders.sort_unstable();
    found.images.sort_unstable();
    Ok(found)
}

/// All images in a folder and the folders inside it, in a fixed order.
pub(crate) fn images_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut images = Vec::new();
    collect(folder, MAX_DEPTH, &mut images)?;
    Ok(images)
}

fn collect(folder: &Path, depth: usize, images: &mut Vec<PathBuf>) -> Result<()> {
    if depth == 0 {
        return Err(Error::TooDeep { path: folder.to_owned(), depth: MAX_DEPTH });
    }
    let found = entries(folder)?;
    images.extend(found.images);
    found.folders.iter().try_for_each(|inner| collect(inner, depth - 1, images))
}

fn is_image(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension)))
}
