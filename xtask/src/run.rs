//! A run is a folder: `run.toml`, `metrics.jsonl`, `pictures/`, `checkpoints/`, and `last`, a link to the newest of those.

use crate::usage::usage;
use anyhow::Context;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of a run.
pub(crate) struct Run {
    pub(crate) dir: PathBuf,
}

/// What to do about a folder that is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    /// Refuse it unless it is empty.
    Refuse,
    /// Continue in it.
    Resume,
    /// Delete what a run wrote there.
    Overwrite,
}

/// What a run writes.
const PARTS: [&str; 7] =
    ["run.toml", "metrics.jsonl", "pictures", "checkpoints", "tokenizer", "last", "last.new"];

impl Run {
    /// The folder `out`, or `runs/VERB-N` with the next free number.
    pub(crate) fn open(out: Option<&Path>, verb: &str, existing: Existing) -> anyhow::Result<Self> {
        let dir = match out {
            Some(out) => out.to_owned(),
            None if existing == Existing::Resume => {
                usage!("--resume needs --out: the folder of the run to continue")
            }
            None => next_free(Path::new("runs"), verb),
        };
        if existing == Existing::Resume {
            if !dir.join("last").exists() {
                anyhow::bail!(
                    "{}: no checkpoint to resume; expected a run folder with `last` in it",
                    dir.display()
                );
            }
            return Ok(Self { dir });
        }
        if existing == Existing::Overwrite {
            delete_run(&dir)?;
        }
        refuse_taken(&dir)?;
        fs::create_dir_all(&dir)
            .with_context(|| format!("cannot create the run folder {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// What [`open`](Run::open) would refuse, without touching anything.
    pub(crate) fn check(out: Option<&Path>, existing: Existing) -> anyhow::Result<()> {
        match out {
            Some(out) if existing == Existing::Refuse => refuse_taken(out),
            _ => Ok(()),
        }
    }

    /// The tokenizer that the run was given with `--tokenizer`, by its `run.toml`.
    pub(crate) fn given_tokenizer(dir: &Path) -> Option<PathBuf> {
        let config: toml::Table = toml::from_str(&fs::read_to_string(dir.join("run.toml")).ok()?).ok()?;
        Some(PathBuf::from(config.get("tokenizer")?.as_str()?))
    }

    pub(crate) fn path(&self, part: &str) -> PathBuf {
        self.dir.join(part)
    }

    /// Writes the merged configuration and the command.
    pub(crate) fn write_config(&self, options: &impl Serialize) -> anyhow::Result<()> {
        let path = self.path("run.toml");
        let command: Vec<_> = std::env::args_os()
            .skip(1)
            .map(|arg| arg.to_string_lossy().replace(char::is_control, " "))
            .collect();
        let options = toml::to_string_pretty(options)
            .with_context(|| format!("cannot write the options to {}", path.display()))?;
        let text = format!(
            "# cargo xtask {}\n# version {}\n\n{options}",
            command.join(" "),
            env!("CARGO_PKG_VERSION"),
        );
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The folder of the checkpoint after `step` steps.
    pub(crate) fn checkpoint(&self, step: u64) -> anyhow::Result<PathBuf> {
        let dir = self.path("checkpoints");
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(dir.join(format!("step-{step:07}")))
    }

    /// Points `last` at a checkpoint, and deletes older ones beyond the newest `keep`.
    pub(crate) fn set_last(&self, checkpoint: &Path, keep: usize) -> anyhow::Result<()> {
        let name = checkpoint.file_name().context("a checkpoint has a name")?;
        let (link, new) = (self.path("last"), self.path("last.new"));
        remove(&new)?;
        link_folder(&Path::new("checkpoints").join(name), &new)
            .and_then(|()| fs::rename(&new, &link))
            .with_context(|| format!("cannot write {}", link.display()))?;
        let mut all: Vec<_> =
            fs::read_dir(self.path("checkpoints"))?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        let begins = |path: &Path, with: &str| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(with))
        };
        // What a run that was killed had not finished writing.
        all.iter().filter(|path| begins(path, ".step-")).try_for_each(|path| remove(path))?;
        all.retain(|path| begins(path, "step-"));
        all.sort();
        let old = all.len().saturating_sub(keep.max(1));
        all[..old].iter().filter(|path| *path != checkpoint).try_for_each(|path| remove(path))
    }

    /// The folder for pictures.
    pub(crate) fn pictures(&self) -> anyhow::Result<PathBuf> {
        let dir = self.path("pictures");
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        Ok(dir)
    }
}

/// The checkpoint that a user means: a file, a checkpoint folder, or a run folder.
pub(crate) fn checkpoint_of(path: &Path) -> anyhow::Result<PathBuf> {
    if path.is_file() {
        return Ok(path.to_owned());
    }
    if let Some(found) = [path.to_owned(), path.join("last")].into_iter().find(|path| is_checkpoint(path)) {
        return Ok(found);
    }
    if !path.exists() {
        anyhow::bail!("{}: no such file or folder; expected a run or a checkpoint", path.display());
    }
    anyhow::bail!(
        "{}: neither a checkpoint (no config.json, no weights) nor a run (no last/config.json)",
        path.display()
    )
}

fn is_checkpoint(folder: &Path) -> bool {
    folder.join("config.json").is_file() || beit_weights::has_weights(folder)
}

/// A folder with something in it is not written to.
fn refuse_taken(dir: &Path) -> anyhow::Result<()> {
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        usage!("{} is not empty: choose another --out, or --resume or --overwrite that run", dir.display());
    }
    Ok(())
}

fn next_free(parent: &Path, verb: &str) -> PathBuf {
    let number = |n: u32| parent.join(format!("{verb}-{n:03}"));
    (1..).map(number).find(|dir| !dir.exists()).unwrap_or_else(|| number(u32::MAX))
}

/// Deletes what a run wrote; nothing at all where something else lies beside it.
fn delete_run(dir: &Path) -> anyhow::Result<()> {
    let mut entries = fs::read_dir(dir).into_iter().flatten().flatten();
    if let Some(other) = entries.find(|entry| !PARTS.iter().any(|part| entry.file_name() == *part)) {
        usage!("{} was not written by a run: choose another --out", other.path().display());
    }
    PARTS.iter().try_for_each(|part| remove(&dir.join(part)))
}

/// Deletes a file, a link or a folder, if it is there.
fn remove(path: &Path) -> anyhow::Result<()> {
    let Ok(kind) = fs::symlink_metadata(path) else { return Ok(()) };
    let removed = if kind.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.with_context(|| format!("cannot delete {}", path.display()))
}

#[cfg(unix)]
fn link_folder(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn link_folder(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_dir(target, link)
}
