//! Folders that are there whole or not at all.

use crate::error::{Error, Result};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Writes a folder in one step: `fill` gets a temporary sibling, which then takes the folder's place.
///
/// Every file is on the disk before the folder gets its name. A folder that is there already stays until the new one is
/// complete; when anything fails it stays for good, and the temporary one is removed. Only a crash of the machine between the two
/// renames at the end leaves neither under the name; both are then whole beside it, under hidden names. A link is followed.
///
/// ```
/// # let tmp = tempfile::tempdir().unwrap();
/// # let path = tmp.path().join("checkpoint");
/// use beit_data::Preprocessing;
/// use beit_weights::{replace_folder, write_preprocessing};
/// replace_folder(&path, |folder| write_preprocessing(folder, &Preprocessing::unilm([224, 224])))?;
/// assert!(path.join("preprocessor_config.json").exists());
/// # Ok::<(), beit_weights::Error>(())
/// ```
///
/// # Errors
///
/// What `fill` returns; or when the disk does not take the folder.
pub fn replace_folder<E: From<Error>>(
    path: impl AsRef<Path>,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    let path = target(path.as_ref())?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(Error::write(parent))?;
    let new = Temporary::new(sibling(&path, "new"))?;
    fill(&new.0)?;
    sync_all(&new.0).map_err(Error::write(&new.0))?;
    let old = swap(&new.0, &path).map_err(Error::write(&path))?;
    sync(parent).map_err(Error::write(parent))?;
    old.map_or(Ok(()), |old| fs::remove_dir_all(&old).map_err(Error::write(&old)))?;
    Ok(())
}

/// For a checkpoint that needs no files besides the model's.
///
/// # Errors
///
/// Never.
pub fn no_more_files(_: &Path) -> Result<()> {
    Ok(())
}

/// What a link points to; an error when a file is in the way.
fn target(path: &Path) -> Result<PathBuf> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if path.exists() && !path.is_dir() {
        let source = io::Error::new(io::ErrorKind::NotADirectory, "there is a file of this name");
        return Err(Error::Write { path, source });
    }
    Ok(path)
}

/// A hidden name beside `path` that no other process or thread uses.
fn sibling(path: &Path, purpose: &str) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{purpose}-{}-{number}", std::process::id()));
    path.with_file_name(name)
}

/// Puts `new` where `path` is; returns where what was there is now.
fn swap(new: &Path, path: &Path) -> io::Result<Option<PathBuf>> {
    if !path.exists() {
        return fs::rename(new, path).map(|()| None);
    }
    let old = sibling(path, "old");
    fs::rename(path, &old)?;
    if let Err(error) = fs::rename(new, path) {
        fs::rename(&old, path)?;
        return Err(error);
    }
    Ok(Some(old))
}

/// Waits until everything below a folder is on the disk.
fn sync_all(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_all(&entry.path())?
        } else {
            File::open(entry.path())?.sync_all()?
        }
    }
    sync(folder)
}

/// Waits until the names in a folder are on the disk, where a folder can be opened for that.
fn sync(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

/// A folder that is removed unless it got another name.
struct Temporary(PathBuf);

impl Temporary {
    fn new(path: PathBuf) -> Result<Self> {
        // A process that was killed may have left one of this name.
        if path.exists() {
            fs::remove_dir_all(&path).map_err(Error::write(&path))?;
        }
        fs::create_dir(&path).map_err(Error::write(&path))?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // It is gone when it was renamed; and a failure here must not hide the one that led here.
        let _ = fs::remove_dir_all(&self.0);
    }
}
