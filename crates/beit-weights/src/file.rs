//! Files that are there whole or not at all.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use tempfile::{Builder, TempPath};

/// Writes a file in one step: a reader finds the whole file, or the one that was there before, or none.
///
/// The bytes go to a hidden sibling first. When this returns, they and the name are on the disk, where the file system can promise that.
/// A link of this name is replaced, not followed.
///
/// # Errors
///
/// When the disk does not take the file. What was there before stays, and the sibling is removed.
pub fn write_file(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    write_file_with(path.as_ref(), |new| fs::write(new, bytes))
}

/// [`write_file`] for what is not in memory as a whole: `fill` gets the path of the sibling, an empty file.
pub(crate) fn write_file_with(path: &Path, fill: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let parent = parent(path);
    let new = sibling(path, parent)?;
    let permissions = fs::metadata(&new)?.permissions();
    fill(&new)?;
    // `fill` may have replaced the file by one with other permissions.
    fs::set_permissions(&new, permissions)?;
    File::options().write(true).open(&new)?.sync_all()?;
    new.persist(path).map_err(|error| error.error)?;
    sync_names(parent)
}

/// Finds out whether [`write_file`] could write a file, before there is anything to write: its folder must be there and take one.
///
/// # Errors
///
/// What `write_file` would say.
pub fn check_writable(path: impl AsRef<Path>) -> io::Result<()> {
    let path = path.as_ref();
    if path.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "there is a folder of this name"));
    }
    sibling(path, parent(path)).map(drop)
}

/// The folder that a path lies in.
pub(crate) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Waits until the names in a folder are on the disk, where a folder can be opened for that.
pub(crate) fn sync_names(folder: &Path) -> io::Result<()> {
    if cfg!(not(unix)) {
        return Ok(());
    }
    match File::open(folder)?.sync_all() {
        // Some network file systems have no such operation for folders.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Ok(())
        }
        done => done,
    }
}

/// An empty file beside `path`, with the permissions of any new file. It is removed when it is dropped.
fn sibling(path: &Path, parent: &Path) -> io::Result<TempPath> {
    let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no file name"))?;
    let prefix = format!(".{}.new-", name.to_string_lossy());
    let mut builder = Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    Ok(builder.prefix(&prefix).tempfile_in(parent)?.into_temp_path())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn the_new_file_replaces_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        for text in ["a longer text", "short"] {
            write_file(&path, text).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(names(folder.path()), ["a.json"]);
    }

    #[test]
    fn a_failure_leaves_the_old_file_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_file(&path, "old").unwrap();
        let failing = write_file_with(&path, |new| {
            fs::write(new, "half")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(failing.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(names(folder.path()), ["a.json"]);
        assert_eq!(
            write_file(folder.path().join(".."), "x").unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
    }

    #[cfg(unix)]
    #[test]
    fn others_may_read_it_as_any_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let (path, usual) = (folder.path().join("a.json"), folder.path().join("usual"));
        fs::write(&usual, "").unwrap();
        write_file_with(&path, |new| {
            fs::remove_file(new)?;
            fs::write(new, "replaced")?;
            fs::set_permissions(new, std::os::unix::fs::PermissionsExt::from_mode(0o600))
        })
        .unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions(), fs::metadata(&usual).unwrap().permissions());
    }
}
