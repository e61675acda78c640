//! Which model a name means: a run, a checkpoint folder, a file, an official name, or a name on the hub.

use crate::error::{Result, unfit};
use crate::progress::Watch;
use crate::run::checkpoint_of;
use beit_weights::catalogue::Entry;
use std::path::{Path, PathBuf};

/// A checkpoint on this machine, and the official one that it is by its name.
#[derive(Clone, Debug)]
pub struct Located {
    /// The file or folder.
    pub path: PathBuf,
    /// The official checkpoint of this name.
    pub entry: Option<&'static Entry>,
}

/// Finds what `name` means: what is there on this machine wins, then the catalogue, then the hub, from which it is fetched.
///
/// # Errors
///
/// Nothing of this name anywhere, or a hub that cannot be reached.
pub fn locate(name: &str, watch: &Watch) -> Result<Located> {
    let path = Path::new(name);
    if path.exists() {
        // A run that trained a tokenizer and nothing else is meant as that.
        let tokenizer = path.join("tokenizer");
        let found = checkpoint_of(path).or_else(|error| {
            if tokenizer.join("config.json").is_file() { Ok(tokenizer) } else { Err(error) }
        });
        // A file under the name of the authors' is taken for theirs; a folder tells its own preprocessing.
        let name = path.file_name().and_then(|name| name.to_str()).filter(|_| path.is_file());
        return Ok(Located { path: found?, entry: name.and_then(Entry::find) });
    }
    if let Some(entry) = Entry::find(name) {
        return Ok(Located { path: fetch_entry(entry, name, watch)?, entry: Some(entry) });
    }
    if !name.contains('/') {
        unfit!(
            "{name}: no such file or folder, no official checkpoint (`cargo xtask weights list` names them) and no name \
             on the hub (org/name)"
        );
    }
    Ok(Located { path: fetch(name, watch)?, entry: None })
}

/// The official name of the tokenizer that the released models were trained with; `dalle` means it too.
const DALLE: &str = "dalle_encoder";

/// The official checkpoint that a name means where nothing on this machine has it; `dalle` is one too.
pub(crate) fn known(name: &Path) -> Option<&'static Entry> {
    let text = name.to_str().filter(|_| !name.exists())?;
    Entry::find(if text == "dalle" { DALLE } else { text })
}

/// Finds a tokenizer: a folder, the folder `tokenizer` of a run, an encoder's file, an official name or a name on the hub.
pub(crate) fn locate_tokenizer(name: &Path, watch: &Watch) -> Result<PathBuf> {
    let nested = name.join("tokenizer");
    if nested.join("config.json").is_file() {
        return Ok(nested);
    }
    match name.to_str() {
        Some("dalle") if !name.exists() => Ok(locate(DALLE, watch)?.path),
        Some(text) if !name.exists() => Ok(locate(text, watch)?.path),
        _ => Ok(name.to_owned()),
    }
}

/// The file or folder of an official checkpoint: `path` where that is given, else fetched.
pub(crate) fn official(entry: &Entry, name: &str, path: Option<&Path>, watch: &Watch) -> Result<PathBuf> {
    match path {
        Some(path) => checkpoint_of(path),
        None => fetch_entry(entry, name, watch),
    }
}

#[cfg(feature = "hub")]
use crate::hub::fetch_entry;

#[cfg(feature = "hub")]
fn fetch(name: &str, watch: &Watch) -> Result<PathBuf> {
    use crate::error::Place;
    let id: beit_weights::HubId = name.parse().at(|| format!("{name}: no such file or folder"))?;
    crate::hub::fetch(&id, watch)
}

#[cfg(not(feature = "hub"))]
fn fetch(name: &str, _: &Watch) -> Result<PathBuf> {
    unfit!("{name}: no such file or folder, and this build has no hub (feature hub)")
}

#[cfg(not(feature = "hub"))]
fn fetch_entry(_: &Entry, name: &str, watch: &Watch) -> Result<PathBuf> {
    fetch(name, watch)
}
