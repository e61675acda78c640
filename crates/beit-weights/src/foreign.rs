//! What may be replaced: the files of a checkpoint, and nothing else.

use crate::checkpoint::{DECODERS, WEIGHTS};
use crate::config::CONFIG;
use crate::preprocessor::PREPROCESSOR;
use std::path::{Path, PathBuf};

/// The folder in which training keeps its state.
const TRAINING: &str = "training";
/// Its files: of all training, of averages of weights, of the best checkpoint, and of tokenizers.
const STATE: [&str; 7] = [
    "state.json",
    "optimiser.safetensors",
    "buffers.safetensors",
    "last.safetensors",
    "best.json",
    "attempt.json",
    "centroids.safetensors",
];

/// Something below a folder that is not written there when a checkpoint is saved: replacing the folder would lose it. None where
/// there is nothing of the kind, or no folder.
#[must_use]
pub fn foreign_file(folder: &Path) -> Option<PathBuf> {
    if folder.is_file() {
        return Some(folder.to_owned());
    }
    other(folder, &[CONFIG, PREPROCESSOR, WEIGHTS[0], DECODERS[0], TRAINING]).or_else(|| {
        let training = folder.join(TRAINING);
        if training.is_file() { Some(training) } else { other(&training, &STATE) }
    })
}

/// The first entry of a folder with another name than these.
fn other(folder: &Path, names: &[&str]) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    entries
        .into_iter()
        .find(|path| !names.iter().any(|name| path.file_name().is_some_and(|own| own == *name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_what_is_saved_is_ours() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(foreign_file(&dir.path().join("none")), None);
        fs::create_dir(dir.path().join("training")).unwrap();
        for name in ["config.json", "model.safetensors", "training/state.json", "training/last.safetensors"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(foreign_file(dir.path()), None);
        let notes = dir.path().join("training/notes.txt");
        fs::write(&notes, "mine").unwrap();
        assert_eq!(foreign_file(dir.path()), Some(notes));
    }
}
