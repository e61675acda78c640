//! The run that a new one replaces: it lies beside the new one, hidden, until that has a checkpoint of its own.

use super::parts::{self, entries, name, remove};
use super::{checkpoints, lock};
use crate::error::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// Where the parts of the old run are.
pub(super) const ASIDE: &str = ".replaced";
/// The same folder while they are being moved: what is not in it is still in place.
pub(super) const MOVING: &str = ".replaced.new";

/// Moves a run aside. Where an older one lies there still, the one in place has no checkpoint: it is deleted.
pub(super) fn set_aside(dir: &Path) -> Result<()> {
    if dir.join(ASIDE).is_dir() {
        return delete_parts(dir);
    }
    let moving = dir.join(MOVING);
    fs::create_dir(&moving).map_err(Error::file("create", &moving))?;
    move_all(dir, &moving)?;
    fs::rename(&moving, dir.join(ASIDE)).map_err(Error::file("rename", &moving))
}

/// Puts the old run back where the new one made nothing yet, and deletes the old one where the new one has a checkpoint. Where it
/// has a tokenizer only, or a part of its training, both stay. Whether the old run was put back.
pub(super) fn recover(dir: &Path) -> Result<bool> {
    if dir.join(MOVING).is_dir() || in_force(dir) != dir {
        return put_back(dir).map(|()| true);
    }
    if checkpoints::newest(dir).is_some() {
        forget(dir)?;
    }
    Ok(false)
}

/// Where the run is that [`recover`] leaves in the folder.
pub(super) fn in_force(dir: &Path) -> PathBuf {
    let (moving, aside) = (dir.join(MOVING), dir.join(ASIDE));
    let begun = || {
        parts::has_tokenizer(dir)
            || dir.join(parts::TOKENIZER_TRAINING).is_dir()
            || dir.join(parts::SPIKES).is_dir()
            || checkpoints::newest(dir).is_some()
    };
    if moving.is_dir() {
        // What is not in it yet is in place.
        return if moving.join(parts::SETTINGS).is_file() { moving } else { dir.to_owned() };
    }
    if aside.is_dir() && !begun() { aside } else { dir.to_owned() }
}

/// Puts the old run back, whatever the new one made.
pub(super) fn put_back(dir: &Path) -> Result<()> {
    let (moving, aside) = (dir.join(MOVING), dir.join(ASIDE));
    if !moving.is_dir() {
        if !aside.is_dir() {
            return Ok(());
        }
        delete_parts(dir)?;
        // What is in this folder is moved back, now and after a kill.
        fs::rename(&aside, &moving).map_err(Error::file("rename", &aside))?;
    }
    move_all(&moving, dir)?;
    remove(&moving)
}

/// Deletes the old run.
pub(super) fn forget(dir: &Path) -> Result<()> {
    remove(&dir.join(ASIDE))
}

fn delete_parts(dir: &Path) -> Result<()> {
    parts::ALL.iter().try_for_each(|part| remove(&dir.join(part)))
}

/// Moves the parts of a run from one folder to another.
fn move_all(from: &Path, to: &Path) -> Result<()> {
    let ours = |path: &&PathBuf| ![lock::NAME, ASIDE, MOVING].contains(&name(path).as_str());
    for path in entries(from)?.iter().filter(ours) {
        let new = to.join(name(path));
        fs::rename(path, &new).map_err(Error::file("move", path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of two parts, and what it is after it was set aside and put back by `f`.
    fn after(f: impl Fn(&Path)) -> Vec<String> {
        let dir = tempfile::tempdir().expect("a temporary folder");
        for part in ["run.toml", "metrics.jsonl"] {
            fs::write(dir.path().join(part), part).expect("a file");
        }
        f(dir.path());
        let mut names: Vec<_> =
            entries(dir.path()).expect("it is there").iter().map(|path| name(path)).collect();
        names.sort();
        for part in &names {
            assert_eq!(&fs::read_to_string(dir.path().join(part)).expect("a file"), part);
        }
        names
    }

    #[test]
    fn the_old_run_comes_back() {
        let whole = after(|dir| {
            set_aside(dir).expect("it can be moved");
            assert_eq!(in_force(dir), dir.join(ASIDE));
            fs::write(dir.join("run.toml"), "the new one's").expect("a file");
            assert!(recover(dir).expect("it can be moved back"));
        });
        assert_eq!(whole, ["metrics.jsonl", "run.toml"]);
    }

    /// Killed after one of two parts was moved, either way.
    #[test]
    fn half_moved() {
        for moved in ["run.toml", "metrics.jsonl"] {
            let whole = after(|dir| {
                fs::create_dir(dir.join(MOVING)).expect("a folder");
                fs::rename(dir.join(moved), dir.join(MOVING).join(moved)).expect("it can be moved");
                assert!(in_force(dir).join("run.toml").is_file());
                assert!(recover(dir).expect("it can be moved back"));
            });
            assert_eq!(whole, ["metrics.jsonl", "run.toml"]);
        }
    }
}
