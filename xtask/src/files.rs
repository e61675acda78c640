//! Image files that a user names one by one or by their folders, and files that are whole or absent.

use anyhow::Context;
use beit_data::{Folder, Image, Source};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Images in the order in which they were named; those of a folder in the order of their names.
pub(crate) struct Files(Vec<PathBuf>);

impl Files {
    /// Folders are searched at any depth. A file that is not there is found out when it is read, like one that is no image.
    pub(crate) fn find(paths: &[PathBuf]) -> anyhow::Result<Self> {
        let mut files = Vec::new();
        for path in paths {
            if path.is_dir() {
                let folder = Folder::open_exact(path)?;
                files.extend((0..folder.len()).map(|index| folder.path(index)));
            } else {
                files.push(path.clone());
            }
        }
        Ok(Self(files))
    }
}

impl Source for Files {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn image(&self, index: usize) -> beit_data::Result<Image> {
        Image::open(&self.0[index])
    }
    fn label(&self, _: usize) -> Option<u32> {
        None
    }
    fn class_names(&self) -> &[String] {
        &[]
    }
    fn name(&self, index: usize) -> String {
        self.0[index].display().to_string()
    }
}

/// Writes a hidden sibling, then gives it the name: a reader finds the whole file or none.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!(".{name}.new-{}", std::process::id()));
    let write = || {
        let mut file = fs::File::create(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    let written = write();
    if written.is_err() {
        // The failure itself is what the caller hears of.
        let _ = fs::remove_file(&new);
    }
    written
}

/// [`write_whole`] whose error names the file.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    write_whole(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
