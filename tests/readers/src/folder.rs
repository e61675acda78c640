//! Folders of pictures: names of splits, classes and files, whatever bytes they are.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use beit_data::{Folder, Source, Split};

/// Most entries of a folder, and folders above each.
const ENTRIES: usize = 24;
const DEPTH: usize = 6;

pub(crate) fn run(bytes: &[u8]) {
    let folder = tempfile::tempdir().expect("room for a temporary folder");
    // Each line is a file, or a folder where it ends with a slash.
    for line in bytes.split(|&byte| byte == b'\n').take(ENTRIES) {
        if let Some(path) = path_of(folder.path(), line) {
            let made = if line.ends_with(b"/") { Some(path.as_path()) } else { path.parent() };
            // A file may be where a folder is needed, and the other way round.
            let _ = made.map(fs::create_dir_all);
            let _ = fs::write(&path, b"");
        }
    }
    let all = [Split::Train, Split::Test].map(|split| Folder::open(folder.path(), split));
    let exact = Folder::open_exact(folder.path());
    for found in all.into_iter().chain([exact]).flatten() {
        check(&found, folder.path());
    }
}

/// A path of at most [`DEPTH`] names, none of which leads upwards. Long names are cut.
fn path_of(folder: &Path, line: &[u8]) -> Option<PathBuf> {
    let is_name = |name: &&[u8]| !matches!(*name, b"" | b"." | b"..") && !name.contains(&0);
    let names: Vec<&[u8]> = line.split(|&byte| byte == b'/').filter(is_name).take(DEPTH).collect();
    let add = |path: PathBuf, name: &&[u8]| path.join(OsStr::from_bytes(&name[..name.len().min(99)]));
    (!names.is_empty()).then(|| names.iter().fold(folder.to_owned(), add))
}

/// Every picture is a file of the folder, its class has a name, and no picture comes twice.
fn check(found: &Folder, folder: &Path) {
    assert!(found.len() > 0, "a source that is open is not empty");
    let mut paths: Vec<PathBuf> = (0..found.len()).map(|index| found.path(index)).collect();
    for (index, path) in paths.iter().enumerate() {
        assert!(path.starts_with(folder) && path.is_file(), "{}", path.display());
        assert!(found.image(index).is_err(), "the file is empty");
        let classes = found.class_names().len();
        assert_eq!(found.label(index).is_some(), classes > 0);
        assert!(found.label(index).is_none_or(|label| (label as usize) < classes));
        assert!(!found.name(index).is_empty());
    }
    paths.sort_unstable();
    assert!(paths.windows(2).all(|pair| pair[0] != pair[1]));
}
