//! Files that PyTorch wrote, files that are damaged, files that lie.

mod golden;
mod hostile;
mod liars;
mod written;

use super::*;
use std::fs;
use tempfile::TempDir;

/// A file of `crates/beit-weights/tests/goldens/torch`.
fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/torch").join(name)
}

/// What `torch_goldens.py` says of its files.
fn expected() -> serde_json::Value {
    serde_json::from_slice(&fs::read(golden("expected.json")).unwrap()).unwrap()
}

/// Opens a file of these bytes.
fn open(bytes: &[u8]) -> Result<TorchFile> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("weights.pth");
    fs::write(&path, bytes).unwrap();
    TorchFile::open(&path)
}

/// What is said of a file of these bytes.
fn problem(bytes: &[u8]) -> String {
    open(bytes).map(|file| format!("{:?}", file.entries())).unwrap_err().to_string()
}
