//! Paths of many files in little memory.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// Numbered files, folder by folder. The path of a folder is stored once; a file costs 16 bytes and its name.
#[derive(Default)]
pub(crate) struct Paths {
    /// Folders with at least one file, each with the number of its first.
    folders: Vec<(usize, PathBuf)>,
    names: Vec<Box<OsStr>>,
}

impl Paths {
    /// Adds the files `names` of a folder, in this order.
    pub(crate) fn add(&mut self, folder: PathBuf, names: Vec<OsString>) {
        if !names.is_empty() {
            self.folders.push((self.names.len(), folder));
            self.names.extend(names.into_iter().map(OsString::into_boxed_os_str));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// File `index`, below [`len`](Self::len).
    pub(crate) fn get(&self, index: usize) -> PathBuf {
        let after = self.folders.partition_point(|&(first, _)| first <= index);
        self.folders[after - 1].1.join(&*self.names[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_keep_their_numbers() {
        let mut paths = Paths::default();
        let names = |names: &[&str]| names.iter().map(OsString::from).collect();
        paths.add("a".into(), names(&["2", "1"]));
        paths.add("empty".into(), Vec::new());
        paths.add("a/b".into(), names(&["3"]));
        let all: Vec<_> = (0..paths.len()).map(|index| paths.get(index)).collect();
        assert_eq!(all, ["a/2", "a/1", "a/b/3"].map(PathBuf::from));
    }
}
