//! Folders by their index: what a walk finds, in less time.
// The times of folders are set, which are opened as files for that: only Unix does so.
#![cfg(unix)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use beit_data::{Folder, Indexing, Source, Split};
use proptest::prelude::*;
use tempfile::TempDir;

/// A folder of images and one of caches.
struct Place {
    photos: TempDir,
    cache: TempDir,
}

impl Place {
    fn new(files: &[&str]) -> Self {
        let place = Self { photos: tempfile::tempdir().unwrap(), cache: tempfile::tempdir().unwrap() };
        files.iter().for_each(|name| place.add(name));
        place.age();
        place
    }

    /// A file, or a folder where the name ends with a slash. Where there is something in its way, nothing.
    fn add(&self, name: &str) {
        let path = self.photos.path().join(name);
        let folder = if name.ends_with('/') { Some(path.as_path()) } else { path.parent() };
        let _ = folder.map(fs::create_dir_all);
        let _ = fs::write(&path, "");
    }

    /// Lets all folders look as if they had not changed for a while.
    fn age(&self) {
        age(self.photos.path());
    }

    fn indexing(&self) -> Indexing {
        Indexing { beside: true, cache: Some(self.cache.path().join("beit")), least_files: 0 }
    }

    fn indexed(&self, split: Split) -> Result<Folder, String> {
        Folder::open_indexed(self.photos.path(), split, None, &self.indexing())
            .map_err(|error| error.to_string())
    }

    fn walked(&self, split: Split) -> Result<Folder, String> {
        Folder::open(self.photos.path(), split).map_err(|error| error.to_string())
    }

    fn indices(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.cache.path().join("beit")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

fn age(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            age(&entry.path());
        }
    }
    File::open(folder).unwrap().set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
}

/// All that a source says: images with their labels, classes, files that are not read, notes.
type Said = (Vec<(PathBuf, Option<u32>)>, Vec<String>, Vec<Option<String>>, Vec<String>);

fn all(folder: &Folder) -> Said {
    let images = (0..folder.len()).map(|index| (folder.path(index), folder.label(index))).collect();
    let unread = (0..folder.class_names().len())
        .map(|class| folder.unread(class as u32).map(ToString::to_string))
        .collect();
    (images, folder.class_names().to_vec(), unread, folder.notes().to_vec())
}

fn same(place: &Place) {
    for split in [Split::Train, Split::Test] {
        let walked = place.walked(split).map(|folder| all(&folder));
        // The first makes the index, the second reads it.
        for turn in 0..2 {
            assert_eq!(place.indexed(split).map(|folder| all(&folder)), walked, "{split}, turn {turn}");
        }
    }
}

#[test]
fn an_index_says_what_a_walk_says() {
    let layouts: [&[&str]; 8] = [
        &["a.jpg", "b.png", "deep/er/c.jpg", "x.heic"],
        &["ant/1.jpg", "ant/2.jpg", "bee/1.jpg", "bee/9.psd", "none/"],
        &["train/ant/1.jpg", "train/bee/1.gif", "val/bee/1.jpg", "test/ant/1.jpg"],
        &["train/ant/1.jpg", "val/cat/1.jpg"],
        &["ant/1.jpg", "bee/1.jpg", "valid/ant/1.jpg"],
        &["train/1.jpg", "val/2.jpg"],
        &["Training_Set/10/1.jpg", "Training_Set/2/1.jpg", ".git/x.jpg", "__MACOSX/y.jpg"],
        &["none/", "notes.txt"],
    ];
    for files in layouts {
        same(&Place::new(files));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn an_index_says_what_a_walk_says_of_any_folders(
        files in prop::collection::vec("(train/|val/|test/|)(ant/|bee/|é/|)(x/|)([12]\\.(jpg|png|gif|heic|txt))?", 1..12),
    ) {
        same(&Place::new(&files.iter().map(String::as_str).collect::<Vec<_>>()));
    }
}

/// A file that went while its folder looks unchanged is still there for the index: so it was read.
#[test]
fn no_folder_is_read_again() {
    let place = Place::new(&["ant/1.jpg", "ant/2.jpg", "bee/1.jpg"]);
    assert_eq!(place.indexed(Split::Train).unwrap().len(), 3);
    let index = place.indices();
    assert_eq!(index.len(), 1);
    fs::remove_file(place.photos.path().join("ant/2.jpg")).unwrap();
    let walked = |indexing: &Indexing| {
        Folder::open_indexed(place.photos.path(), Split::Train, None, indexing).unwrap().len()
    };
    let changed = place.indexed(Split::Train).unwrap();
    assert!(
        changed.len() == 2 && changed.notes()[0].contains("a folder has changed since"),
        "{:?}",
        changed.notes()
    );
    place.age();
    assert_eq!(place.indexed(Split::Train).unwrap().len(), 2);
    let aged = fs::metadata(place.photos.path().join("ant")).unwrap().modified().unwrap();
    fs::remove_file(place.photos.path().join("ant/1.jpg")).unwrap();
    File::open(place.photos.path().join("ant")).unwrap().set_modified(aged).unwrap();
    assert_eq!(place.indexed(Split::Train).unwrap().len(), 2, "the index holds");
    assert_eq!(walked(&Indexing::none()), 1);
    assert_eq!(walked(&Indexing { cache: None, ..place.indexing() }), 1);
}

#[test]
fn any_change_of_a_folder_is_met() {
    type Change = fn(&Path);
    let changes: [(&str, Change); 5] = [
        ("a new file", |dir| fs::write(dir.join("train/ant/x/9.jpg"), "").unwrap()),
        ("another name", |dir| fs::rename(dir.join("train/ant/1.jpg"), dir.join("train/ant/0.jpg")).unwrap()),
        ("a new class", |dir| fs::create_dir(dir.join("train/cat")).unwrap()),
        ("a folder that goes", |dir| fs::remove_dir_all(dir.join("train/bee")).unwrap()),
        ("a file of the other split", |dir| fs::write(dir.join("val/ant/9.jpg"), "").unwrap()),
    ];
    for (what, change) in changes {
        let place = Place::new(&["train/ant/1.jpg", "train/ant/x/1.jpg", "train/bee/1.jpg", "val/ant/1.jpg"]);
        place.indexed(Split::Train).unwrap();
        change(place.photos.path());
        let (images, classes, ..) = all(&place.indexed(Split::Train).unwrap());
        let (wanted, names, ..) = all(&place.walked(Split::Train).unwrap());
        assert_eq!((images, classes), (wanted, names), "{what}");
    }
}

#[test]
fn what_changed_just_now_or_is_small_has_no_index() {
    let place = Place::new(&["ant/1.jpg", "bee/1.jpg"]);
    fs::write(place.photos.path().join("bee/2.jpg"), "").unwrap();
    assert_eq!(place.indexed(Split::Train).unwrap().len(), 3);
    assert_eq!(place.indices().len(), 0);
    place.age();
    let small = Indexing { least_files: 4, ..place.indexing() };
    Folder::open_indexed(place.photos.path(), Split::Train, None, &small).unwrap();
    assert_eq!(place.indices().len(), 0);
    place.indexed(Split::Train).unwrap();
    assert_eq!(place.indices().len(), 1);
}

#[test]
fn a_damaged_index_is_made_again() {
    let place = Place::new(&["ant/1.jpg", "bee/1.jpg", "bee/2.heic"]);
    place.indexed(Split::Train).unwrap();
    let index = &place.indices()[0];
    let kept = fs::read(index).unwrap();
    for at in (0..kept.len()).step_by(11) {
        let mut bytes = kept.clone();
        bytes[at] ^= 4;
        for bytes in [&bytes[..], &kept[..at]] {
            fs::write(index, bytes).unwrap();
            let folder = place.indexed(Split::Train).unwrap();
            assert!(
                folder.len() == 2 && folder.notes().iter().any(|note| note.contains("is made again")),
                "byte {at}: {:?}",
                folder.notes()
            );
            assert_eq!(fs::read(index).unwrap(), kept);
        }
    }
}

/// Files of ImageNet's names cost less than 100 bytes each.
#[test]
fn many_files_take_little_memory() {
    let place = Place::new(&[]);
    for class in 0..4 {
        let folder = place.photos.path().join(format!("n{class:08}"));
        fs::create_dir(&folder).unwrap();
        (0..5_000)
            .for_each(|file| drop(File::create(folder.join(format!("n{class:08}_{file}.JPEG"))).unwrap()));
    }
    place.age();
    for turn in ["walked", "indexed"] {
        let folder = place.indexed(Split::Train).unwrap();
        assert_eq!(folder.len(), 20_000);
        assert!(folder.memory() < 40 * folder.len(), "{turn}: {} bytes", folder.memory());
    }
}
