//! Checkpoints from the hub.

use crate::error::{Result, unfit};
use crate::progress::{Transfer, Watch};
use beit_weights::catalogue::Entry;
use beit_weights::{Hub, HubId};
use std::path::PathBuf;

/// The folder of a checkpoint on the hub.
pub(crate) fn fetch(id: &HubId, watch: &Watch) -> Result<PathBuf> {
    let folder = Hub::from_env().fetch(id, &mut Transfer::new(watch))?;
    watch.note(&format!("{id}: {}", folder.display()));
    Ok(folder)
}

/// The folder of an official checkpoint, asked for by `name`: that repository of the hub if it is one's name, else the first there is.
pub(crate) fn fetch_entry(entry: &Entry, name: &str, watch: &Watch) -> Result<PathBuf> {
    let (repo, revision) =
        name.split_once('@').map_or((name, None), |(repo, revision)| (repo, Some(revision)));
    let asked = entry.hub.iter().find(|hub| {
        let ids = [hub.id.as_str(), hub.id.trim_start_matches("timm/")];
        ids.iter().any(|id| id.eq_ignore_ascii_case(repo))
    });
    let Some(hub) = asked.or(entry.hub.first()) else {
        unfit!(
            "{} is not on the hub; download {} and give that file instead",
            entry.name,
            entry.urls().collect::<Vec<_>>().join(" or ")
        );
    };
    let id = match revision {
        Some(revision) => format!("{}@{revision}", hub.id),
        None => hub.id.clone(),
    };
    fetch(&id.parse::<HubId>()?, watch)
}
