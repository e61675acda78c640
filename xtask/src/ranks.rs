//! Verbs that several processes do together.

use crate::output::{Output, note, pace, plain};
use crate::signals;
use crate::usage;
use beit::{
    Device, DeviceSettings, Launch, LocalRanks, Progress, RankSettings, StepReport, Task, Team, Watch,
};
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

/// One of the processes of a verb, or the only one.
pub(crate) struct Member {
    pub(crate) team: Team,
    launch: Option<Launch>,
    /// Who is told what this process says to a person.
    pub(crate) watch: Watch,
}

impl Member {
    /// The device of this process, which it says.
    pub(crate) fn open(&self, settings: &DeviceSettings) -> anyhow::Result<Device> {
        let settings = self
            .launch
            .as_ref()
            .map_or_else(|| settings.clone(), |launch| launch.device(&self.team, settings));
        Ok(crate::device::open(&settings, &self.watch)?.in_team(&self.team))
    }

    /// The answer, which rank 0 gives for all.
    pub(crate) fn answer(
        &self,
        output: Output,
        value: &impl serde::Serialize,
        sentence: &str,
    ) -> anyhow::Result<()> {
        if self.team.leads() { output.answer(value, sentence) } else { Ok(()) }
    }
}

/// Does a verb as one of the processes that the flags or a launcher ask for. With `--ranks` this process starts them and waits.
pub(crate) fn run(
    settings: &RankSettings,
    output: Output,
    verb: impl FnOnce(&Member) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    if let Some(ranks) = settings.ranks {
        signals::catch();
        let ranks = LocalRanks::start(ranks, without_ranks(std::env::args_os().skip(1)))?;
        // Whoever is left finds out that another failed when its step is done.
        let grace = Duration::try_from_secs_f64(settings.rank_timeout.clamp(0.0, 1e8)).unwrap_or_default();
        let Some((rank, code)) = ranks.wait(grace, signals::received)? else { return Ok(()) };
        if code > 128 && signals::received().is_none() {
            note(&format!("error: rank {rank} was ended by signal {}", code - 128));
        }
        return Err(anyhow::Error::new(Ended(code)));
    }
    let Some(launch) = Launch::find(settings)? else {
        return verb(&Member { team: Team::alone(), launch: None, watch: output.watch() });
    };
    let rank = launch.shard().rank;
    let watch = if rank == 0 { output.watch() } else { Watch::new(Log::of(&launch)) };
    watch.note(&launch.to_string());
    let team = Team::join(&launch, settings.rank_timeout)?;
    let done = verb(&Member { team: team.clone(), launch: Some(launch), watch: watch.clone() });
    done.map_err(|error| {
        if rank > 0 {
            watch.note(&format!("error: {error:#}"));
        }
        if team.tells(error.as_ref()) {
            note(&format!("error: {error:#}"));
        }
        team.fail(error.as_ref());
        anyhow::Error::new(Ended(usage::exit_code(&error)))
    })
}

/// A process failed, and has said why.
#[derive(Debug)]
pub(crate) struct Ended(pub(crate) u8);

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a process of this run has failed")
    }
}

impl std::error::Error for Ended {}

/// The same command line for a single process.
fn without_ranks(args: impl Iterator<Item = OsString>) -> impl Iterator<Item = OsString> {
    let mut value_follows = false;
    args.filter(move |arg| {
        if std::mem::take(&mut value_follows) {
            return false;
        }
        value_follows = arg == "--ranks";
        !value_follows && !arg.to_string_lossy().starts_with("--ranks=")
    })
}

/// What a process that is not rank 0 says to a person: lines of a file in the folder of the run.
struct Log {
    launch: Launch,
    written: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    file: Option<File>,
    /// What was said before the folder was known.
    before: String,
}

impl Log {
    fn of(launch: &Launch) -> Self {
        Self { launch: launch.clone(), written: Mutex::default() }
    }

    fn with(&self, change: impl FnOnce(&mut Written)) {
        change(&mut self.written.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}

impl Progress for Log {
    fn note(&self, line: &str) {
        self.with(|Written { file, before }| match file {
            // A log that cannot be written is no reason to stop.
            Some(file) => drop(writeln!(file, "{}", plain(line))),
            None => *before += &format!("{}\n", plain(line)),
        });
    }

    fn folder(&self, run: &Path) {
        let path = self.launch.log(run);
        let opened = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        let opened = opened.and_then(|()| File::options().create(true).append(true).open(&path));
        self.with(|written| match opened {
            Ok(mut file) => {
                let _ = file.write_all(std::mem::take(&mut written.before).as_bytes());
                written.file = Some(file);
            }
            Err(error) => note(&format!("no log of this process: cannot write {}: {error}", path.display())),
        });
    }

    fn begin(&self, task: &Task<'_>) {
        if let Task::Train { phase, done, total } = *task {
            self.note(&format!("{phase}: {done} of {total} steps are done"));
        }
    }

    fn report(&self, report: &StepReport) {
        let StepReport { phase, step, total, loss, .. } = report;
        self.note(&format!("{phase} {step}/{total}  loss {loss:.3}  {}", pace(report)));
    }

    fn stops(&self) -> bool {
        signals::received().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_ranks_is_not_passed_on() {
        let args =
            |args: &[&str]| -> Vec<OsString> { without_ranks(args.iter().map(OsString::from)).collect() };
        assert_eq!(args(&["pretrain", "--ranks", "2", "--seed", "1"]), ["pretrain", "--seed", "1"]);
        assert_eq!(args(&["pretrain", "--ranks=2", "--json"]), ["pretrain", "--json"]);
    }
}
