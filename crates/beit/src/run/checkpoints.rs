//! The checkpoints of a run.

use super::parts::{self, CHECKPOINTS, entries, is_checkpoint_name, name, remove};
use super::replaced::ASIDE;
use crate::error::{Error, Result, unfit};
use std::fs;
use std::path::{Path, PathBuf};

/// The name of what is saved after `step` steps.
pub(super) fn name_of(step: u64) -> String {
    format!("step-{step:07}")
}

/// The newest checkpoint of a run that is whole, whatever `last` says.
pub(crate) fn newest(dir: &Path) -> Option<PathBuf> {
    newest_and_damaged(dir).ok()?.0
}

/// [`newest`], and what is wrong with those that are newer still.
pub(super) fn newest_and_damaged(dir: &Path) -> Result<(Option<PathBuf>, Vec<Error>)> {
    let mut damaged = Vec::new();
    for path in all(&dir.join(CHECKPOINTS))?.into_iter().rev() {
        match beit_train::checkpoint_step(&path) {
            Ok(_) => return Ok((Some(path), damaged)),
            Err(error) => damaged.push(error.into()),
        }
    }
    Ok((None, damaged))
}

/// The checkpoints in a folder, oldest first.
fn all(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut all = entries(folder)?;
    all.retain(|path| is_checkpoint_name(&name(path)));
    all.sort();
    Ok(all)
}

/// Points `last` at a checkpoint.
pub(super) fn point(dir: &Path, checkpoint: &Path) -> Result<()> {
    link(dir, checkpoint, [parts::LAST, parts::NEW_LAST])
}

/// Points `best` at a checkpoint, if it does not lead there.
pub(super) fn point_best(dir: &Path, checkpoint: &Path) -> Result<()> {
    let leads = fs::read_link(dir.join(parts::BEST)).is_ok_and(|to| name(&to) == name(checkpoint));
    if leads { Ok(()) } else { link(dir, checkpoint, [parts::BEST, parts::NEW_BEST]) }
}

/// Makes a link to a checkpoint in one step, by way of a new one.
fn link(dir: &Path, checkpoint: &Path, names: [&str; 2]) -> Result<()> {
    let [link, new] = names.map(|name| dir.join(name));
    remove(&new)?;
    link_folder(&Path::new(CHECKPOINTS).join(name(checkpoint)), &new)
        .and_then(|()| fs::rename(&new, &link))
        .map_err(Error::file("write", &link))
}

/// Deletes the oldest checkpoints in a folder but for the newest `keep`, and none of those that are `spared`.
pub(super) fn delete_old(folder: &Path, keep: usize, spared: &[&Path]) -> Result<()> {
    let all = all(folder)?;
    let old = all.len().saturating_sub(keep.max(1));
    all[..old].iter().filter(|path| !spared.contains(&path.as_path())).try_for_each(|path| remove(path))
}

/// The checkpoint that a user means: a file, a checkpoint folder, or a run folder, whose newest it is.
pub(crate) fn checkpoint_of(path: &Path) -> Result<PathBuf> {
    // Whatever is no folder is opened as a file, which says what it is.
    if path.exists() && !path.is_dir() {
        return Ok(path.to_owned());
    }
    let last = path.join(parts::LAST);
    if let Some(found) = [path.to_owned(), last].into_iter().find(|path| is_checkpoint(path)) {
        return Ok(found);
    }
    // A run that was killed between two steps of saving, or before it replaced another.
    let beside = || Some(path.join(ASIDE).join(parts::LAST)).filter(|path| is_checkpoint(path));
    if let Some(found) = newest(path).or_else(beside) {
        return Ok(found);
    }
    if !path.exists() {
        unfit!("{}: no such file or folder; expected a run or a checkpoint", path.display());
    }
    unfit!(
        "{}: neither a checkpoint (no config.json, no weights) nor a run (no last/config.json)",
        path.display()
    )
}

fn is_checkpoint(folder: &Path) -> bool {
    folder.join("config.json").is_file() || beit_weights::has_weights(folder)
}

#[cfg(unix)]
fn link_folder(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn link_folder(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_dir(target, link)
}
