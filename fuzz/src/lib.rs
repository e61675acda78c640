//! What the targets share: the readers take paths, so that each input becomes a file.

use beit_data::{Source, Table};
use beit_weights::{Checkpoint, TensorFile, Weights};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;

/// Tensors of no more elements than this are read; a mutated file may rightly hold a few more.
const ELEMENTS: usize = 1 << 16;

/// Most bytes of a picture as it stands in a file.
const MOST: u64 = 256 << 20;

/// A file with these bytes, in a folder of this process alone.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().expect("room for a temporary folder"));
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("room for a temporary file");
    path
}

/// Looks at some rows of a table: their labels and pictures, the last row among them.
pub fn read_rows(table: &Table) {
    let classes = table.class_names().len();
    for index in (0..table.len()).take(8).chain(table.len().saturating_sub(1)..table.len()) {
        assert!(
            table.label(index).is_none_or(|class| (class as usize) < classes),
            "a class beyond {classes}"
        );
        if let Ok(picture) = table.file(index) {
            assert!(picture.len() as u64 <= MOST, "a picture is longer than any may be");
        }
    }
}

/// Opens a file in every way there is, and reads all that is small.
pub fn read_everything(path: &Path) {
    if let Ok(file) = TensorFile::open(path) {
        for name in file.names().to_vec() {
            let small = |shape: &[usize]| shape.iter().product::<usize>() <= ELEMENTS;
            if file.shape(&name).is_some_and(small) {
                let _ = (file.bytes(&name), file.floats(&name), file.integers(&name), file.mask(&name));
            }
        }
    }
    if let Ok(weights) = Weights::open(path) {
        let names: Vec<String> = weights.names().map(str::to_owned).collect();
        names.iter().for_each(|name| drop((weights.shape(name), weights.dtype(name))));
    }
    let _ = Checkpoint::open(path);
}
