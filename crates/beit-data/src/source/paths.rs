//! Paths of many files in little memory.

use std::path::PathBuf;

use super::index::{Reader, Writer};
use super::names::{Names, os_name};

/// Numbered files, folder by folder. The path of a folder is stored once; a file costs 8 bytes and its name.
#[derive(Default)]
pub(crate) struct Paths {
    /// Folders with at least one file, each with the number of its first.
    folders: Vec<(usize, PathBuf)>,
    names: Names,
}

impl Paths {
    /// Adds the files `names` of a folder, in this order.
    pub(crate) fn add(&mut self, folder: PathBuf, names: &Names) {
        if !names.is_empty() {
            self.folders.push((self.names.len(), folder));
            self.names.extend(names);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// File `index`, below [`len`](Self::len).
    pub(crate) fn get(&self, index: usize) -> PathBuf {
        let after = self.folders.partition_point(|&(first, _)| first <= index);
        self.folders[after - 1].1.join(os_name(self.names.get(index)))
    }

    /// Gives back what was reserved for more.
    pub(crate) fn shrink(&mut self) {
        self.names.shrink();
        self.folders.shrink_to_fit();
    }

    /// Bytes in use.
    pub(crate) fn memory(&self) -> usize {
        let folders: usize =
            self.folders.iter().map(|(_, path)| size_of::<(usize, PathBuf)>() + path.capacity()).sum();
        self.names.memory() + folders
    }

    /// Stores them.
    pub(crate) fn write(&self, to: &mut Writer) {
        let mut folders = Names::default();
        self.folders.iter().for_each(|(_, path)| folders.push(path.as_os_str().as_encoded_bytes()));
        let firsts: Vec<u64> = self.folders.iter().map(|&(first, _)| first as u64).collect();
        to.u64s(&firsts);
        to.names(&folders);
        to.names(&self.names);
    }

    /// What was stored. None where a folder has no file, or a file no folder.
    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let (firsts, folders, names) = (from.u64s()?, from.names()?, from.names()?);
        let rises = firsts.windows(2).all(|pair| pair[0] < pair[1]);
        let begins =
            firsts.first() == Some(&0) && firsts.last().is_some_and(|&last| last < names.len() as u64);
        let sound = firsts.len() == folders.len() && rises && begins;
        let folders = firsts
            .iter()
            .zip(folders.iter())
            .map(|(&first, path)| (first as usize, os_name(path).into_owned().into()));
        sound.then(|| Self { folders: folders.collect(), names })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Paths {
        let mut paths = Paths::default();
        let names = |all: &[&str]| {
            let mut names = Names::default();
            all.iter().for_each(|name| names.push(name.as_bytes()));
            names
        };
        paths.add("a".into(), &names(&["2", "1"]));
        paths.add("empty".into(), &names(&[]));
        paths.add("a/b".into(), &names(&["3"]));
        paths
    }

    fn all(paths: &Paths) -> Vec<PathBuf> {
        (0..paths.len()).map(|index| paths.get(index)).collect()
    }

    #[test]
    fn files_keep_their_numbers() {
        assert_eq!(all(&some()), ["a/2", "a/1", "a/b/3"].map(PathBuf::from));
    }

    #[test]
    fn what_is_stored_is_read_and_nothing_else() {
        let mut stored = Writer::default();
        some().write(&mut stored);
        assert_eq!(all(&Paths::read(&mut Reader(&stored.0)).unwrap()), all(&some()));
        for cut in 0..stored.0.len() {
            assert!(Paths::read(&mut Reader(&stored.0[..cut])).is_none(), "cut at {cut}");
        }
        let paths = |firsts: Vec<usize>| {
            let mut to = Writer::default();
            Paths {
                folders: firsts.into_iter().map(|first| (first, "a".into())).collect(),
                names: some().names,
            }
            .write(&mut to);
            Paths::read(&mut Reader(&to.0)).is_some()
        };
        for (firsts, sound) in [
            (vec![0, 2], true),
            (vec![0, 3], false),
            (vec![1, 2], false),
            (vec![0, 0], false),
            (vec![], false),
        ] {
            assert_eq!(paths(firsts.clone()), sound, "{firsts:?}");
        }
    }
}
