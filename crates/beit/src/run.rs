//! A run is a folder: `run.toml`, `metrics.jsonl`, `pictures/`, `checkpoints/`, and `last`, a link to the newest of those.

use crate::error::{Error, Result, setting, unfit};
use crate::progress::Watch;
use crate::settings::{FolderSettings, RunSettings};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of a run.
pub(crate) struct Run {
    pub(crate) dir: PathBuf,
}

/// What to do about a folder that is there already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Existing {
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
    fn open(out: Option<&Path>, verb: &str, existing: Existing) -> Result<Self> {
        let dir = match out {
            Some(out) => out.to_owned(),
            None if existing == Existing::Resume => {
                setting!("--resume needs --out: the folder of the run to continue")
            }
            None => next_free(Path::new("runs"), verb),
        };
        if existing == Existing::Resume {
            if !dir.join("last").exists() {
                unfit!("{}: no checkpoint to resume; expected a run folder with `last` in it", dir.display());
            }
            return Ok(Self { dir });
        }
        if existing == Existing::Overwrite {
            delete_run(&dir)?;
        }
        refuse_taken(&dir)?;
        fs::create_dir_all(&dir).map_err(Error::file("create the run folder", &dir))?;
        Ok(Self { dir })
    }

    /// Opens the folder of a run and writes down its settings.
    pub(crate) fn begin(folder: &FolderSettings, verb: &str, settings: &impl Serialize) -> Result<Self> {
        let run = Self::open(folder.out.as_deref(), verb, existing(folder))?;
        run.write_settings(folder.command.as_deref(), settings)?;
        Ok(run)
    }

    /// [`begin`](Run::begin), or the folder of the run that is to go on.
    pub(crate) fn begin_or_resume(
        run: &RunSettings,
        verb: &str,
        settings: &impl Serialize,
        watch: &Watch,
    ) -> Result<Self> {
        let opened = match run.resume {
            true => Self::open(run.folder.out.as_deref(), verb, Existing::Resume)?,
            false => Self::begin(&run.folder, verb, settings)?,
        };
        watch.note(&format!("run folder: {}", opened.dir.display()));
        Ok(opened)
    }

    /// What [`begin_or_resume`](Run::begin_or_resume) would refuse, without touching anything.
    pub(crate) fn check(run: &RunSettings) -> Result<()> {
        match &run.folder.out {
            Some(out) if !run.resume && existing(&run.folder) == Existing::Refuse => refuse_taken(out),
            _ => Ok(()),
        }
    }

    pub(crate) fn path(&self, part: &str) -> PathBuf {
        self.dir.join(part)
    }

    /// Writes the merged settings and the command.
    fn write_settings(&self, command: Option<&str>, settings: &impl Serialize) -> Result<()> {
        let path = self.path("run.toml");
        let settings = toml::to_string_pretty(settings)
            .map_err(std::io::Error::other)
            .map_err(Error::file("write the settings to", &path))?;
        let command = command.unwrap_or("beit").replace(char::is_control, " ");
        let text = format!("# {command}\n# version {}\n\n{settings}", env!("CARGO_PKG_VERSION"));
        crate::files::write(&path, text.as_bytes())
    }

    /// The folder of the checkpoint after `step` steps.
    pub(crate) fn checkpoint(&self, step: u64) -> Result<PathBuf> {
        let dir = self.path("checkpoints");
        fs::create_dir_all(&dir).map_err(Error::file("create", &dir))?;
        Ok(dir.join(format!("step-{step:07}")))
    }

    /// Points `last` at a checkpoint, and deletes older ones beyond the newest `keep`.
    pub(crate) fn set_last(&self, checkpoint: &Path, keep: usize) -> Result<()> {
        let name = checkpoint.file_name().expect("a checkpoint has a name");
        let (link, new) = (self.path("last"), self.path("last.new"));
        remove(&new)?;
        link_folder(&Path::new("checkpoints").join(name), &new)
            .and_then(|()| fs::rename(&new, &link))
            .map_err(Error::file("write", &link))?;
        let checkpoints = self.path("checkpoints");
        let entries = fs::read_dir(&checkpoints).map_err(Error::file("read", &checkpoints))?;
        let mut all: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
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
    pub(crate) fn pictures(&self) -> Result<PathBuf> {
        let dir = self.path("pictures");
        fs::create_dir_all(&dir).map_err(Error::file("create", &dir))?;
        Ok(dir)
    }
}

/// The tokenizer in the folder of a run, or the one that the run was given, by its `run.toml`.
#[must_use]
pub fn tokenizer_of(run: &Path) -> Option<PathBuf> {
    let own = run.join("tokenizer");
    if own.exists() {
        return Some(own);
    }
    let config: toml::Table = toml::from_str(&fs::read_to_string(run.join("run.toml")).ok()?).ok()?;
    Some(PathBuf::from(config.get("tokenizer")?.as_str()?))
}

/// The checkpoint that a user means: a file, a checkpoint folder, or a run folder.
pub(crate) fn checkpoint_of(path: &Path) -> Result<PathBuf> {
    if path.is_file() {
        return Ok(path.to_owned());
    }
    if let Some(found) = [path.to_owned(), path.join("last")].into_iter().find(|path| is_checkpoint(path)) {
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

fn existing(folder: &FolderSettings) -> Existing {
    if folder.overwrite { Existing::Overwrite } else { Existing::Refuse }
}

/// A folder with something in it is not written to.
fn refuse_taken(dir: &Path) -> Result<()> {
    if fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some()) {
        setting!("{} is not empty: choose another --out, or --resume or --overwrite that run", dir.display());
    }
    Ok(())
}

fn next_free(parent: &Path, verb: &str) -> PathBuf {
    let number = |n: u32| parent.join(format!("{verb}-{n:03}"));
    (1..).map(number).find(|dir| !dir.exists()).unwrap_or_else(|| number(u32::MAX))
}

/// Deletes what a run wrote; nothing at all where something else lies beside it.
fn delete_run(dir: &Path) -> Result<()> {
    let mut entries = fs::read_dir(dir).into_iter().flatten().flatten();
    if let Some(other) = entries.find(|entry| !PARTS.iter().any(|part| entry.file_name() == *part)) {
        setting!("{} was not written by a run: choose another --out", other.path().display());
    }
    PARTS.iter().try_for_each(|part| remove(&dir.join(part)))
}

/// Deletes a file, a link or a folder, if it is there.
fn remove(path: &Path) -> Result<()> {
    let Ok(kind) = fs::symlink_metadata(path) else { return Ok(()) };
    let removed = if kind.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(Error::file("delete", path))
}

#[cfg(unix)]
fn link_folder(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn link_folder(target: &Path, link: &Path) -> std::io::Result<()> {
    std::os::windows::fs::symlink_dir(target, link)
}
