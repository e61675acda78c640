//! Image files that a user names one by one or by their folders, and writing files.

use crate::error::{Error, Result};
use beit_data::{Bands, Folder, Image, Source, file_version};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub(crate) use beit_weights::write_file as write_whole;

/// Makes a folder, and those that it is in.
pub(crate) fn make_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(Error::file("create", path))
}

/// Images in the order in which they were named; those of a folder in the order of their names.
pub struct Files {
    paths: Vec<PathBuf>,
    /// With how many channels they are read as they are; `None` for RGB.
    bands: Option<Bands>,
    /// How its folders were read.
    notes: Vec<String>,
}

impl Files {
    /// Folders are searched at any depth. A file that is not there is found out when it is read, like one that is no image.
    ///
    /// # Errors
    ///
    /// A folder that cannot be read or has no images.
    pub fn find(paths: &[PathBuf]) -> Result<Self> {
        Self::find_as(paths, None)
    }

    /// The same, of so many channels, which are read as they are.
    ///
    /// # Errors
    ///
    /// As [`find`](Self::find).
    pub fn find_as(paths: &[PathBuf], bands: Option<Bands>) -> Result<Self> {
        let (mut files, mut notes) = (Vec::new(), Vec::new());
        for path in paths {
            if path.is_dir() {
                let folder = Folder::open_exact_as(path, bands)?;
                files.extend((0..folder.len()).map(|index| folder.path(index)));
                notes.extend_from_slice(folder.notes());
            } else {
                files.push(path.clone());
            }
        }
        Ok(Self { paths: files, bands, notes })
    }
}

impl Source for Files {
    fn len(&self) -> usize {
        self.paths.len()
    }
    fn image(&self, index: usize) -> beit_data::Result<Image> {
        Image::open_as(&self.paths[index], self.bands)
    }
    fn label(&self, _: usize) -> Option<u32> {
        None
    }
    fn class_names(&self) -> &[String] {
        &[]
    }
    fn name(&self, index: usize) -> String {
        self.paths[index].display().to_string()
    }
    fn version(&self, index: usize) -> Option<(u64, SystemTime)> {
        file_version(&self.paths[index])
    }
    fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// [`write_whole`] whose error names the file.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_whole(path, bytes).map_err(Error::file("write", path))
}
