//! Checkpoints from the hub, with a bar.

use crate::output::{bytes_bar, note};
use beit_weights::catalogue::Entry;
use beit_weights::{Hub, HubId, Progress};
use indicatif::ProgressBar;
use std::path::PathBuf;

/// A bar for each file.
#[derive(Default)]
struct Bar(Option<ProgressBar>);

impl Progress for Bar {
    fn begin(&mut self, file: &str, bytes: u64) {
        self.end();
        self.0 = Some(bytes_bar(file, bytes));
    }
    fn advance(&mut self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(bytes);
        }
    }
    fn end(&mut self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}

/// The folder of a checkpoint on the hub.
pub(crate) fn fetch(id: &HubId) -> anyhow::Result<PathBuf> {
    let folder = Hub::from_env().fetch(id, &mut Bar::default())?;
    note(&format!("{id}: {}", folder.display()));
    Ok(folder)
}

/// The folder of an official checkpoint, asked for by `name`: that repository of the hub if it is one's name, else the first there is.
pub(crate) fn fetch_entry(entry: &Entry, name: &str) -> anyhow::Result<PathBuf> {
    let (repo, revision) =
        name.split_once('@').map_or((name, None), |(repo, revision)| (repo, Some(revision)));
    let asked = entry.hub.iter().find(|hub| {
        let ids = [hub.id.as_str(), hub.id.trim_start_matches("timm/")];
        ids.iter().any(|id| id.eq_ignore_ascii_case(repo))
    });
    let Some(hub) = asked.or(entry.hub.first()) else {
        anyhow::bail!(
            "{} is not on the hub; download {} and give that file instead",
            entry.name,
            entry.urls().collect::<Vec<_>>().join(" or ")
        );
    };
    let id = match revision {
        Some(revision) => format!("{}@{revision}", hub.id),
        None => hub.id.clone(),
    };
    fetch(&id.parse()?)
}
