//! The readers of foreign files, each as a function of bytes: what it must do with any input, right or damaged.
//!
//! Two programs call them. The test of this crate reads a corpus and inputs that are damaged blindly. The fuzz targets in `fuzz/`
//! are guided by what an input reaches, and take longer to build than all tests.

mod arrow;
mod channels;
mod config;
mod folder;
mod idx;
mod image;
mod masks;
mod parquet;
mod pickle;
mod resume;
mod safetensors;
mod shards;

use beit_data::{Source, Table};
use beit_weights::{Checkpoint, TensorFile, Weights};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What is done with an input.
pub type Reader = fn(&[u8]);

/// The readers by name. `fuzz/corpus/NAME` has inputs of each.
pub const READERS: [(&str, Reader); 12] = [
    ("arrow", arrow::run),
    ("channels", channels::run),
    ("config", config::run),
    ("folder", folder::run),
    ("idx", idx::run),
    ("image", image::run),
    ("masks", masks::run),
    ("parquet", parquet::run),
    ("pickle", pickle::run),
    ("resume", resume::run),
    ("safetensors", safetensors::run),
    ("shards", shards::run),
];

/// Gives an input to a reader.
///
/// # Panics
///
/// If the reader does what it must not, or if no reader has this name.
pub fn read(reader: &str, bytes: &[u8]) {
    let found = READERS.iter().find(|(name, _)| *name == reader);
    found.unwrap_or_else(|| panic!("no reader is called {reader}")).1(bytes);
}

/// Tensors of no more elements than this are read; a mutated file may rightly hold a few more.
const ELEMENTS: usize = 1 << 16;

/// Most bytes of a picture as it stands in a file.
const MOST: u64 = 256 << 20;

/// A file with these bytes, in a folder of this thread alone.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    thread_local! {
        static FOLDER: TempDir = tempfile::tempdir().expect("room for a temporary folder");
    }
    let path = FOLDER.with(|folder| folder.path().join(name));
    std::fs::write(&path, bytes).expect("room for a temporary file");
    path
}

/// Looks at some rows of a table: their labels and pictures, the last row among them.
fn read_rows(table: &Table) {
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
fn read_everything(path: &Path) {
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
