//! Folders that are there whole or not at all.

use crate::error::{Error, Result};
use crate::file::{parent, sync_names};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Writes a folder in one step: `fill` gets a temporary sibling, which then takes the folder's place.
///
/// Every file is on the disk before the folder gets its name, and the name is on the disk when this returns. A folder that is
/// there already stays until the new one is complete; when anything fails it stays for good, and the temporary one is removed.
/// A link is followed.
///
/// On Linux the two folders exchange their names in one step, so that a reader finds one or the other at any moment, after a crash
/// too. Other systems, and file systems that cannot exchange names, take two renames. A crash between these leaves no folder of
/// this name; both are then whole beside it, under hidden names.
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
    let parent = parent(&path);
    fs::create_dir_all(parent).map_err(Error::write(parent))?;
    let new = Temporary::new(sibling(&path, "new"))?;
    fill(&new.0)?;
    sync_all(&new.0).map_err(Error::write(&new.0))?;
    let old = swap(&new.0, &path).map_err(Error::write(&path))?;
    sync_names(parent).map_err(Error::write(parent))?;
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
    if exchange(new, path)? { Ok(Some(new.to_owned())) } else { rename_both(new, path).map(Some) }
}

/// Exchanges the names of two folders in one step; false where the file system cannot.
#[cfg(target_os = "linux")]
fn exchange(one: &Path, other: &Path) -> io::Result<bool> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        Err(Errno::NOSYS | Errno::INVAL | Errno::NOTSUP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn exchange(_: &Path, _: &Path) -> io::Result<bool> {
    Ok(false)
}

/// Renames the folder at `path` to a hidden sibling, which is returned, then `new` to `path`.
fn rename_both(new: &Path, path: &Path) -> io::Result<PathBuf> {
    let old = sibling(path, "old");
    fs::rename(path, &old)?;
    if let Err(error) = fs::rename(new, path) {
        fs::rename(&old, path)?;
        return Err(error);
    }
    Ok(old)
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
    sync_names(folder)
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
        // It is gone when it was renamed, and a failure here must not hide the one that led here.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two folders, `new` and `here`, with one file each: `new/1` and `here/2`.
    fn two_folders() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let place = tempfile::tempdir().unwrap();
        let (new, here) = (place.path().join("new"), place.path().join("here"));
        for (folder, file) in [(&new, "1"), (&here, "2")] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join(file), "").unwrap();
        }
        (place, new, here)
    }

    #[test]
    fn the_old_folder_is_where_swap_says() {
        let swaps: [fn(&Path, &Path) -> io::Result<PathBuf>; 2] =
            [|new, path| swap(new, path).map(Option::unwrap), rename_both];
        for swap in swaps {
            let (_place, new, here) = two_folders();
            let old = swap(&new, &here).unwrap();
            assert!(here.join("1").exists() && old.join("2").exists());
            assert!(old == new || !new.exists());
        }
    }

    #[test]
    fn a_rename_that_fails_takes_the_first_back() {
        let (_place, new, here) = two_folders();
        fs::remove_dir_all(&new).unwrap();
        assert!(rename_both(&new, &here).is_err());
        assert!(here.join("2").exists());
    }

    /// Where the file system exchanges names, a reader never finds nothing.
    #[cfg(target_os = "linux")]
    #[test]
    fn there_is_no_moment_without_a_folder() {
        let (_place, new, here) = two_folders();
        if !exchange(&new, &here).unwrap() {
            return;
        }
        std::thread::scope(|scope| {
            let replacing = scope.spawn(|| {
                for _ in 0..50 {
                    replace_folder::<Error>(&here, |_| Ok(())).unwrap();
                }
            });
            while !replacing.is_finished() {
                assert!(here.exists());
            }
        });
    }
}
