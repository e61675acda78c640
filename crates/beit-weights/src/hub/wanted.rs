//! Which files of a model are needed.

use super::failure::Failure;
use super::problem::HubProblem;
use crate::checkpoint::WEIGHTS;
use crate::tensors::{Shards, is_index};
use crate::{CONFIG, PREPROCESSOR};
use std::path::PathBuf;

/// Gives a file by its name: where it is, or `None` when the model has none of this name.
pub(super) type Get<'a> = &'a mut dyn FnMut(&str) -> Result<Option<PathBuf>, Failure>;

/// Gets what a checkpoint needs: its configuration, the preprocessor's if there is one, and the first weights there are.
pub(super) fn checkpoint(get: Get<'_>) -> Result<(), Failure> {
    file(get, CONFIG)?;
    get(PREPROCESSOR)?;
    for name in WEIGHTS {
        let Some(path) = get(name)? else { continue };
        if is_index(&path) {
            Shards::read(&path)?.names().try_for_each(|shard| file(get, shard).map(drop))?;
        }
        return Ok(());
    }
    Err(HubProblem::NoWeights { has: Vec::new() }.into())
}

/// Gets one file that must be there.
pub(super) fn file(get: Get<'_>, name: &str) -> Result<PathBuf, Failure> {
    get(name)?.ok_or_else(|| HubProblem::NoFile { file: name.to_owned(), has: Vec::new() }.into())
}
