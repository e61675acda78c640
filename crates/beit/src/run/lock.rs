//! One process at a time in a folder.

use crate::error::{Error, Result, unfit};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

/// The file that is locked. A process that is killed leaves it, unlocked.
pub(crate) const NAME: &str = "run.lock";

/// A folder that nobody else may write to. The lock ends with the process at the latest; then the file is removed.
pub(crate) struct Lock {
    path: PathBuf,
    /// None where the file system has no locks.
    file: Option<File>,
}

impl Lock {
    /// Takes the lock of a folder, which must exist.
    pub(crate) fn take(dir: &Path) -> Result<Self> {
        let path = dir.join(NAME);
        loop {
            let opened = File::options().create(true).truncate(false).write(true).open(&path);
            let file = opened.map_err(Error::file("create", &path))?;
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => return Ok(Self { path, file: Some(file) }),
                // Another process removed it between the two: its lock is of no use.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => unfit!(
                    "{}: another process writes to this folder; wait until it ends, or choose another --out",
                    dir.display()
                ),
                Err(TryLockError::Error(_)) => return Ok(Self { path, file: None }),
            }
        }
    }
}

/// Keeps other runs out of a folder that is to be written as a whole, and makes it where it is not there.
///
/// ```
/// # let tmp = tempfile::tempdir().unwrap();
/// let folder = tmp.path().join("converted");
/// let lock = beit::FolderLock::take(&folder)?;
/// assert!(beit::FolderLock::take(&folder).is_err());
/// drop(lock);
/// assert!(!folder.exists(), "nothing was written to it");
/// # Ok::<(), beit::Error>(())
/// ```
pub struct FolderLock {
    lock: Option<Lock>,
    /// The folder, if it was made for this.
    made: Option<PathBuf>,
}

impl FolderLock {
    /// Takes it.
    ///
    /// # Errors
    ///
    /// A folder that another process writes to, or that cannot be made.
    pub fn take(dir: &Path) -> Result<Self> {
        let made = !dir.exists();
        fs::create_dir_all(dir).map_err(Error::file("create the folder", dir))?;
        Ok(Self { lock: Some(Lock::take(dir)?), made: made.then(|| dir.to_owned()) })
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        drop(self.lock.take());
        if let Some(made) = &self.made {
            // Only if nothing is in it.
            let _ = fs::remove_dir(made);
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is locked, so that nobody locks a file that is gone; and never another's, where the folder was replaced. A file that
        // stays does no harm.
        if self.file.as_ref().is_some_and(|file| is_at(file, &self.path)) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether an open file is the one of this name.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |data: fs::Metadata| (data.dev(), data.ino());
    file.metadata().ok().map(id).is_some_and(|own| fs::metadata(path).ok().map(id) == Some(own))
}

/// Where open files cannot be removed it always is.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let first = Lock::take(dir.path()).expect("nobody else is there");
        let refused = Lock::take(dir.path()).err().expect("it is taken").to_string();
        assert!(refused.contains("another process"), "{refused}");
        drop(first);
        assert!(!dir.path().join(NAME).exists());
        drop(Lock::take(dir.path()).expect("it is free again"));
    }
}
