//! Which files of a model are needed.

use super::id::is_inside;
use super::problem::{Failure, HubProblem};
use crate::error::Error;
use crate::{CONFIG, PREPROCESSOR};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Gives a file by its name: where it is, or `None` when the model has none of this name.
pub(super) type Get<'a> = &'a mut dyn FnMut(&str) -> Result<Option<PathBuf>, Failure>;

/// The usual names of weights, best first: transformers prefers them in this order.
const WEIGHTS: [Weights; 4] = [
    Weights::Whole("model.safetensors"),
    Weights::Index("model.safetensors.index.json"),
    Weights::Whole("pytorch_model.bin"),
    Weights::Index("pytorch_model.bin.index.json"),
];

enum Weights {
    /// All in one file.
    Whole(&'static str),
    /// A file that names the files with the weights.
    Index(&'static str),
}

/// Gets what a checkpoint needs: its configuration, the preprocessor's if there is one, and the first weights there are.
pub(super) fn checkpoint(get: Get<'_>) -> Result<(), Failure> {
    file(get, CONFIG)?;
    get(PREPROCESSOR)?;
    for weights in &WEIGHTS {
        let (Weights::Whole(name) | Weights::Index(name)) = weights;
        let Some(path) = get(name)? else { continue };
        if let Weights::Index(_) = weights {
            shards(&path)?.iter().try_for_each(|shard| file(get, shard).map(drop))?;
        }
        return Ok(());
    }
    Err(HubProblem::NoWeights { has: Vec::new() }.into())
}

/// Gets one file that must be there.
pub(super) fn file(get: Get<'_>, name: &str) -> Result<PathBuf, Failure> {
    get(name)?.ok_or_else(|| HubProblem::NoFile { file: name.to_owned(), has: Vec::new() }.into())
}

#[derive(Deserialize)]
struct Index {
    /// Tensor to file.
    weight_map: BTreeMap<String, String>,
}

/// The files that an index names, each once.
fn shards(path: &Path) -> Result<BTreeSet<String>, Failure> {
    let text = fs::read(path).map_err(Error::read(path))?;
    let index: Index =
        serde_json::from_slice(&text).map_err(|source| Error::Json { path: path.to_owned(), source })?;
    let shards: BTreeSet<String> = index.weight_map.into_values().collect();
    match shards.iter().find(|shard| !is_inside(shard)) {
        Some(shard) => Err(HubProblem::FileName { file: shard.clone() }.into()),
        None => Ok(shards),
    }
}
