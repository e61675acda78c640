//! A run is a folder: `run.toml`, `metrics.jsonl`, `tensorboard/`, `report.html`, `pictures/`, `checkpoints/`, `logs/` of several processes,
//! `last`, a link to the newest checkpoint, and `best`, one to the best where that is kept.

mod checkpoints;
mod lock;
mod machine;
mod on_the_way;
mod parts;
mod paths;
mod place;
mod record;
mod replaced;

pub(crate) use checkpoints::{checkpoint_of, newest};
pub use lock::FolderLock;
pub(crate) use lock::{Lock, NAME as LOCK};
pub(crate) use on_the_way::step_of;
pub(crate) use parts::{LOGS, METRICS, PICTURES, REPORT, SETTINGS};
pub use record::merged;
pub(crate) use record::{Recorded, data_stamp, difference, training_stamp};

use crate::error::{Error, Result, setting, unfit};
use crate::progress::Watch;
use crate::ranks::Team;
use crate::settings::{FolderSettings, RunSettings};
use place::Place;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// The folder of a run, which nobody else writes to.
pub(crate) struct Run {
    pub(crate) dir: PathBuf,
    /// Made for this run, so that it is removed if nothing gets into it.
    made: bool,
    /// Whether what it replaces must be put back if it ends now.
    replaces: bool,
    lock: Option<Lock>,
    /// Whether another process writes to it, and this one must not.
    follows: bool,
    /// Whether event files are written.
    has_events: bool,
}

impl Run {
    /// Opens the folder of a new run, and writes down its settings. `inputs` are what the run reads: none of them may lie in a
    /// folder that is replaced.
    fn begin(
        folder: &FolderSettings,
        verb: &str,
        inputs: &[PathBuf],
        recorded: &Recorded<'_, impl Serialize + Default>,
        watch: &Watch,
    ) -> Result<Self> {
        let mut run = match &folder.out {
            Some(out) => Self::lock(out)?,
            None => Self::make_next(Path::new("runs"), verb)?,
        };
        run.recover(watch)?;
        if folder.overwrite {
            run.replace(inputs)?;
        }
        refuse_taken(&run.dir)?;
        recorded.write(&run.path(parts::SETTINGS), folder.command.as_deref())?;
        watch.note(&format!("run folder: {}", run.dir.display()));
        Ok(run)
    }

    /// [`begin`](Run::begin), or the folder of the run that is to go on, whose settings must be these.
    fn begin_or_resume(
        settings: &RunSettings,
        verb: &str,
        inputs: &[PathBuf],
        recorded: &Recorded<'_, impl Serialize + Default>,
        watch: &Watch,
    ) -> Result<Self> {
        if !settings.resumes() {
            return Self::begin(&settings.folder, verb, inputs, recorded, watch);
        }
        let run = Self::resume(&settings.folder, verb, watch)?;
        let path = run.path(parts::SETTINGS);
        recorded.refuse_other(&path)?;
        recorded.other_machine(&path)?.into_iter().for_each(|line| watch.note(&line));
        Ok(run)
    }

    /// [`begin_or_resume`](Run::begin_or_resume) by rank 0 of a team; the others see what it makes, and must be like it.
    pub(crate) fn of_team(
        team: &Team,
        settings: &RunSettings,
        verb: &str,
        inputs: &[PathBuf],
        recorded: &Recorded<'_, impl Serialize + Default>,
        watch: &Watch,
    ) -> Result<Self> {
        Self::same_settings(team, recorded)?;
        if team.leads() {
            let mut run = Self::begin_or_resume(settings, verb, inputs, recorded, watch)?;
            run.has_events = !settings.folder.no_tensorboard;
            team.told(&Place { dir: run.dir.clone(), newest: run.newest() }.written())?;
            Ok(run)
        } else {
            Self::follow(team, Place::read(&team.told("")?), watch)
        }
    }

    /// Refuses to begin with processes that have other settings.
    fn same_settings(team: &Team, recorded: &Recorded<'_, impl Serialize + Default>) -> Result<()> {
        if team.shard().of == 1 {
            return Ok(());
        }
        team.same(&recorded.required()?, record::different)
    }

    /// The folder of a run to which rank 0 writes.
    fn follow(team: &Team, Place { dir, newest }: Place, watch: &Watch) -> Result<Self> {
        watch.folder(&dir);
        let run = Self { dir, made: false, replaces: false, lock: None, follows: true, has_events: false };
        if run.newest() != newest {
            unfit!(
                "rank {} does not see the checkpoint {} that rank 0 goes on with: the folder of a run must be the same on all machines",
                team.shard().rank,
                newest.as_deref().unwrap_or(&run.dir).display()
            );
        }
        Ok(run)
    }

    /// Whether another process writes to the folder.
    pub(crate) const fn follows(&self) -> bool {
        self.follows
    }

    fn resume(folder: &FolderSettings, verb: &str, watch: &Watch) -> Result<Self> {
        let Some(out) = &folder.out else {
            setting!("--resume needs --out: the folder of the run to continue");
        };
        if !is_begun(out) {
            unfit!(
                "{}: no run to resume; expected a run folder with {} in it",
                out.display(),
                parts::SETTINGS
            );
        }
        let run = Self::lock(out)?;
        run.recover(watch)?;
        watch.note(&format!("run folder: {}", run.dir.display()));
        let (newest, mut damaged) = checkpoints::newest_and_damaged(&run.dir)?;
        match (newest, damaged.pop()) {
            (Some(newest), None) => checkpoints::point(&run.dir, &newest)?,
            (Some(newest), Some(problem)) => {
                watch.note(&format!("a newer checkpoint than {} is damaged: {problem}", newest.display()));
                checkpoints::point(&run.dir, &newest)?;
            }
            // To begin again would write over what may be mended.
            (None, Some(problem)) => return Err(problem),
            (None, None) => watch.note(run.stands_without_checkpoint(verb)),
        }
        Ok(run)
    }

    /// What a run that has no checkpoint goes on with.
    fn stands_without_checkpoint(&self, verb: &str) -> &'static str {
        match verb {
            _ if self.tokenizer_training().is_dir() => {
                "it was stopped while its tokenizer was trained: it goes on with that"
            }
            "tokenizer" if self.has_tokenizer() => "its tokenizer is trained: it is measured again",
            _ => "it was stopped before its first checkpoint: it begins with its first step",
        }
    }

    /// What [`begin`](Run::begin) would refuse, without touching anything.
    pub(crate) fn check(run: &RunSettings) -> Result<()> {
        match &run.folder.out {
            Some(out) if !run.resumes() && !run.folder.overwrite => refuse_taken(out),
            _ => Ok(()),
        }
    }

    /// Makes a folder, if it is not there, and locks it.
    fn lock(dir: &Path) -> Result<Self> {
        let made = !dir.exists();
        fs::create_dir_all(dir).map_err(Error::file("create the run folder", dir))?;
        Self::locked(dir.to_owned(), made)
    }

    /// Makes the folder with the next free number, exclusively.
    fn make_next(parent: &Path, verb: &str) -> Result<Self> {
        fs::create_dir_all(parent).map_err(Error::file("create the folder of runs", parent))?;
        for number in 1..u32::MAX {
            let dir = parent.join(format!("{verb}-{number:03}"));
            match fs::create_dir(&dir) {
                Ok(()) => return Self::locked(dir, true),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::file("create the run folder", dir)(error)),
            }
        }
        setting!("{}: every number of a run is taken; give --out", parent.display())
    }

    fn locked(dir: PathBuf, made: bool) -> Result<Self> {
        let lock = Some(Lock::take(&dir)?);
        Ok(Self { dir, made, replaces: false, lock, follows: false, has_events: false })
    }

    /// Mends what a process left that was killed.
    fn recover(&self, watch: &Watch) -> Result<()> {
        if parts::foreign(&self.dir)?.is_some() {
            // Not ours to touch: whoever asked for it is told elsewhere.
            return Ok(());
        }
        parts::clean(&self.dir)?;
        if replaced::recover(&self.dir)? {
            let dir = self.dir.display();
            watch.note(&format!("{dir}: the run that was to be replaced is in its place again"));
        }
        Ok(())
    }

    /// Moves what is there aside.
    fn replace(&mut self, inputs: &[PathBuf]) -> Result<()> {
        let dir = &self.dir;
        if let Some(other) = parts::foreign(dir)? {
            setting!(
                "{} was not written by a run, so that {} is not replaced: choose another --out",
                other.display(),
                dir.display()
            );
        }
        if let Some(input) = inputs.iter().find(|input| lies_in(input, dir)) {
            setting!(
                "--overwrite would delete {}, which this run reads: choose another --out",
                input.display()
            );
        }
        if is_taken(dir)? {
            replaced::set_aside(dir)?;
            self.replaces = true;
        }
        Ok(())
    }

    /// Says that the run has something to show for itself: what it replaced is deleted.
    pub(crate) fn commit(&mut self) -> Result<()> {
        if self.follows {
            return Ok(());
        }
        self.replaces = false;
        replaced::forget(&self.dir)
    }

    /// Says that what was saved so far is to be gone on with, however the process ends: what the run replaces stays beside it until there
    /// is a checkpoint.
    pub(crate) fn stays(&mut self) {
        self.replaces = false;
    }

    /// Whether there is something to go on with.
    pub(crate) fn has_saved(&self) -> bool {
        self.newest().is_some() || self.has_tokenizer() || self.tokenizer_training().is_dir()
    }

    /// Whether the run trained a tokenizer to its end.
    pub(crate) fn has_tokenizer(&self) -> bool {
        parts::has_tokenizer(&self.dir)
    }

    /// Deletes what is of no use once the tokenizer is there.
    pub(crate) fn end_tokenizer_training(&self) -> Result<()> {
        parts::remove(&self.tokenizer_training())
    }

    /// The newest checkpoint that is whole.
    pub(crate) fn newest(&self) -> Option<PathBuf> {
        checkpoints::newest(&self.dir)
    }

    /// Refuses to go on with other settings than those of the run; of a new one they are written down again, with what was found since it
    /// began.
    pub(crate) fn same_or_write(
        &self,
        team: &Team,
        recorded: &Recorded<'_, impl Serialize + Default>,
        new: bool,
        folder: &FolderSettings,
    ) -> Result<()> {
        Self::same_settings(team, recorded)?;
        if self.follows {
            return Ok(());
        }
        let path = self.path(parts::SETTINGS);
        recorded.refuse_other(&path)?;
        if new { recorded.write(&path, folder.command.as_deref()) } else { Ok(()) }
    }

    /// Points `last` at a checkpoint, and `best` at the best where there is one, and deletes others beyond the newest `keep`.
    pub(crate) fn set_last(&mut self, checkpoint: &Path, best: Option<&Path>, keep: usize) -> Result<()> {
        checkpoints::point(&self.dir, checkpoint)?;
        best.map_or(Ok(()), |best| checkpoints::point_best(&self.dir, best))?;
        self.commit()?;
        let spared = [checkpoint, best.unwrap_or(checkpoint)];
        checkpoints::delete_old(&self.path(parts::CHECKPOINTS), keep, &spared)
    }

    /// Deletes older steps that were not taken beyond the newest `keep`.
    pub(crate) fn keep_spikes(&self, newest: &Path, keep: usize) -> Result<()> {
        checkpoints::delete_old(&self.path(parts::SPIKES), keep, &[newest])
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.replaces {
            // A failure here must not hide the one that led here; the next run tries again.
            let _ = replaced::put_back(&self.dir);
        }
        drop(self.lock.take());
        if self.made {
            // Only if nothing is in it.
            let _ = fs::remove_dir(&self.dir);
        }
    }
}

/// Where the settings of a run are written down.
pub(crate) fn settings_file(run: &Path) -> PathBuf {
    run.join(parts::SETTINGS)
}

/// Whether a run was begun in this folder.
pub(crate) fn is_begun(out: &Path) -> bool {
    out.join(parts::SETTINGS).is_file() || out.join(replaced::ASIDE).is_dir()
}

/// The folder of the run that a folder or file belongs to: it is that folder, `last`, or a checkpoint.
pub(crate) fn run_of(path: &Path) -> Option<&Path> {
    path.ancestors().take(4).find(|folder| folder.join(parts::SETTINGS).is_file())
}

/// The tokenizer in the folder of a run, or the one that the run was given, by its `run.toml`.
#[must_use]
pub fn tokenizer_of(run: &Path) -> Option<PathBuf> {
    let own = run.join(parts::TOKENIZER);
    if own.exists() {
        return Some(own);
    }
    let config: toml::Table = toml::from_str(&fs::read_to_string(run.join(parts::SETTINGS)).ok()?).ok()?;
    Some(PathBuf::from(config.get("tokenizer")?.as_str()?))
}

/// Whether a path leads into a folder.
fn lies_in(path: &Path, dir: &Path) -> bool {
    match (fs::canonicalize(path), fs::canonicalize(dir)) {
        (Ok(path), Ok(dir)) => path.starts_with(dir),
        _ => false,
    }
}

/// Whether something is in a folder besides its lock. What was moved aside is taken care of.
pub(crate) fn is_taken(dir: &Path) -> Result<bool> {
    let mine = |path: &PathBuf| [lock::NAME, replaced::ASIDE].contains(&parts::name(path).as_str());
    Ok(!parts::entries(dir)?.iter().all(mine))
}

/// A folder with something in it is not written to.
fn refuse_taken(dir: &Path) -> Result<()> {
    if is_taken(dir)? {
        setting!("{} is not empty: choose another --out, or --resume or --overwrite that run", dir.display());
    }
    Ok(())
}
