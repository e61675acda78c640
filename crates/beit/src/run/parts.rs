//! What a run writes into its folder, and how that is told from what others put there.

use crate::error::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// The settings: the first thing that a run writes.
pub(crate) const SETTINGS: &str = "run.toml";
pub(super) const CHECKPOINTS: &str = "checkpoints";
pub(crate) const PICTURES: &str = "pictures";
pub(super) const TOKENIZER: &str = "tokenizer";
/// Steps that were not taken, each a checkpoint before it.
pub(super) const SPIKES: &str = "spikes";
/// The tokenizer while it is trained.
pub(super) const TOKENIZER_TRAINING: &str = "tokenizer-training";
pub(super) const LAST: &str = "last";
pub(super) const NEW_LAST: &str = "last.new";
pub(super) const BEST: &str = "best";
pub(super) const NEW_BEST: &str = "best.new";
/// Of processes that are not rank 0: a file each.
pub(crate) const LOGS: &str = "logs";
pub(crate) const METRICS: &str = "metrics.jsonl";
/// What TensorBoard reads: a folder for each phase.
pub(super) const TENSORBOARD: &str = "tensorboard";
/// A page that shows the run.
pub(crate) const REPORT: &str = "report.html";
/// Everything.
pub(super) const ALL: [&str; 14] = [
    SETTINGS,
    METRICS,
    TENSORBOARD,
    REPORT,
    PICTURES,
    CHECKPOINTS,
    SPIKES,
    TOKENIZER,
    TOKENIZER_TRAINING,
    LOGS,
    LAST,
    NEW_LAST,
    BEST,
    NEW_BEST,
];

/// Deletes a file, a link or a folder, if it is there.
pub(super) fn remove(path: &Path) -> Result<()> {
    let Ok(kind) = fs::symlink_metadata(path) else { return Ok(()) };
    let removed = if kind.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(Error::file("delete", path))
}

/// The entries of a folder; none where it is not there.
pub(super) fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Ok(entries) => Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::file("read", dir)(error)),
    }
}

pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether a name is that of a checkpoint: `step-` and digits.
pub(super) fn is_checkpoint_name(name: &str) -> bool {
    name.strip_prefix("step-").is_some_and(|step| step.len() >= 7 && step.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether a name is that of something half written that a process left when it was killed: a hidden sibling of a part or of a
/// checkpoint.
pub(super) fn is_left_over(name: &str) -> bool {
    let Some((of, rest)) = name.strip_prefix('.').and_then(|name| name.rsplit_once('.')) else {
        return false;
    };
    let part = |of: &str| ALL.contains(&of) || is_checkpoint_name(of.strip_suffix(".json").unwrap_or(of));
    (rest.starts_with("new-") || rest.starts_with("old-")) && part(of)
}

/// Deletes what processes left that were killed. The folder must be locked.
pub(super) fn clean(dir: &Path) -> Result<()> {
    for folder in [dir.to_owned(), dir.join(CHECKPOINTS), dir.join(SPIKES), dir.join(PICTURES)] {
        for path in entries(&folder)? {
            let hidden_picture = folder.ends_with(PICTURES) && name(&path).starts_with('.');
            if is_left_over(&name(&path)) || hidden_picture {
                remove(&path)?;
            }
        }
    }
    if has_tokenizer(dir) {
        // It is of no use any more.
        remove(&dir.join(TOKENIZER_TRAINING))?;
    }
    remove(&dir.join(NEW_LAST))?;
    remove(&dir.join(NEW_BEST))
}

/// Whether the run trained a tokenizer to its end.
pub(super) fn has_tokenizer(dir: &Path) -> bool {
    dir.join(TOKENIZER).join("config.json").is_file()
}

/// Something in the folder that no run writes, if there is any.
pub(super) fn foreign(dir: &Path) -> Result<Option<PathBuf>> {
    let ours = |name: &str| {
        ALL.contains(&name)
            || is_left_over(name)
            || [super::lock::NAME, super::replaced::ASIDE, super::replaced::MOVING].contains(&name)
    };
    let find = |dir: PathBuf, ours: &dyn Fn(&str) -> bool| -> Result<Option<PathBuf>> {
        Ok(entries(&dir)?.into_iter().find(|path| !ours(&name(path))))
    };
    if let Some(path) = find(dir.to_owned(), &ours)? {
        return Ok(Some(path));
    }
    if !dir.join(SETTINGS).is_file() {
        // Without settings it is no run, whatever the names are.
        return Ok(entries(dir)?.into_iter().find(|path| name(path) != super::lock::NAME));
    }
    let picture = |name: &str| name.ends_with(".png") || name.starts_with('.');
    if let Some(path) = find(dir.join(PICTURES), &picture)? {
        return Ok(Some(path));
    }
    let events = dir.join(TENSORBOARD);
    if events.exists() && !events.is_dir() {
        return Ok(Some(events));
    }
    for phase in entries(&events)? {
        let found = if phase.is_dir() { find(phase, &beit_train::is_event_file)? } else { Some(phase) };
        if found.is_some() {
            return Ok(found);
        }
    }
    let log = |name: &str| name.starts_with("rank-") && name.ends_with(".log");
    if let Some(path) = find(dir.join(LOGS), &log)? {
        return Ok(Some(path));
    }
    let checkpoint =
        |name: &str| is_checkpoint_name(name.strip_suffix(".json").unwrap_or(name)) || is_left_over(name);
    let mut saved = Vec::new();
    for folder in [CHECKPOINTS, SPIKES].map(|folder| dir.join(folder)) {
        if let Some(path) = find(folder.clone(), &checkpoint)? {
            return Ok(Some(path));
        }
        saved.extend(entries(&folder)?.into_iter().filter(|path| is_checkpoint_name(&name(path))));
    }
    for folder in saved.into_iter().chain([TOKENIZER, TOKENIZER_TRAINING].map(|part| dir.join(part))) {
        if let Some(path) = beit_weights::foreign_file(&folder) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_among_those_of_tensorboard_are_foreign() {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let write = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("it is in a folder")).expect("a folder");
            fs::write(&path, "").expect("a file");
            path
        };
        write("run.toml");
        write("tensorboard/pretrain/events.out.tfevents.1700000000.beit");
        assert_eq!(foreign(dir.path()).expect("it can be read"), None);
        for name in ["tensorboard/notes.txt", "tensorboard/pretrain/events.out.tfevents.1700000000.host.1.0"]
        {
            let other = write(name);
            assert_eq!(foreign(dir.path()).expect("it can be read").as_ref(), Some(&other));
            fs::remove_file(other).expect("it is there");
        }
        fs::remove_dir_all(dir.path().join("tensorboard")).expect("it is there");
        let file = write("tensorboard");
        assert_eq!(foreign(dir.path()).expect("it can be read"), Some(file));
    }

    #[test]
    fn names() {
        assert!(is_checkpoint_name("step-0000010"));
        assert!(!is_checkpoint_name("step-7") && !is_checkpoint_name("step-00000x0"));
        for left in [
            ".tokenizer.new-77-0",
            ".step-0000010.json.new-x",
            ".tokenizer-training.old-77-0",
            ".step-0000010.old-1-2",
            ".run.toml.new-aB3",
        ] {
            assert!(is_left_over(left), "{left}");
        }
        for other in [".git", ".notes.new-1", "tokenizer.new-1", ".tokenizer"] {
            assert!(!is_left_over(other), "{other}");
        }
    }
}
