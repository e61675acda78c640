//! The index of weights that are spread over several files (`model.safetensors.index.json`).

use crate::error::{Error, Result};
use crate::json::read_json;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Which file holds which tensors.
pub(crate) struct Shards {
    /// Name of a tensor to name of a file.
    pub(super) weight_map: BTreeMap<String, String>,
    /// The files, each once.
    pub(super) files: Vec<PathBuf>,
}

/// Whether this is an index and no file of tensors.
pub(crate) fn is_index(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(".index.json"))
}

impl Shards {
    /// Reads an index. The files must lie beside it: an index from elsewhere shall not make us open others.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let Index { weight_map } = read_json(path)?;
        let names: BTreeSet<&String> = weight_map.values().collect();
        if let Some(name) = names.iter().find(|name| !is_plain(name)) {
            let problem = format_args!("it asks for the file `{name}`, expected one beside the index");
            return Err(Error::malformed(path, problem));
        }
        if names.is_empty() {
            return Err(Error::malformed(path, "`weight_map` is empty, expected a file for every tensor"));
        }
        let files = names.into_iter().map(|name| path.with_file_name(name)).collect();
        Ok(Self { weight_map, files })
    }

    /// The names of the files, each once.
    #[cfg(feature = "hub")]
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().filter_map(|file| file.file_name()?.to_str())
    }
}

fn is_plain(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_elsewhere_are_refused() {
        assert!(is_plain("model-00001-of-00002.safetensors"));
        for name in ["../model", "/etc/passwd", "a/b", "", "..", "."] {
            assert!(!is_plain(name), "{name}");
        }
    }
}
