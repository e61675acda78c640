//! The processes that train together, as the rest of this crate sees them.

use super::cores;
use super::launch::{Launch, Way};
use super::sums::DeviceSums;
use crate::error::{Error, Place, Result, setting, unfit};
use crate::run::LOGS;
use crate::settings::number::within;
use crate::settings::{DeviceSettings, RankSettings};
use beit_data::Shard;
use beit_ops::Ops;
use beit_train::{Alone, Background, Communicator, Failure, Tcp};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::Any;
use std::cell::{RefCell, RefMut};
use std::fmt;
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

/// The processes that train together: this one and the others, their *ranks*. Cheap to clone.
///
/// All of them do the same, each with its own images of every step, and end with the same numbers. Rank 0 alone writes.
#[derive(Clone)]
pub struct Team {
    shard: Shard,
    /// How many of the processes are on this machine.
    here: usize,
    /// Threads of this process; those of the system where it is alone.
    threads: Option<usize>,
    /// So long another may say nothing.
    patience: Duration,
    ranks: Rc<RefCell<dyn Communicator>>,
    /// The [`DeviceSums`] of the one type of device that is in this team, where it adds up by itself.
    device_sums: Option<Rc<dyn Any>>,
}

impl Team {
    /// One process.
    #[must_use]
    pub fn alone() -> Self {
        Self::of(Alone)
    }

    /// Those of a communicator, for who has one already.
    pub fn of(ranks: impl Communicator + 'static) -> Self {
        let patience = Duration::from_secs_f64(RankSettings::default().rank_timeout);
        let (shard, ranks) = (ranks.shard(), Rc::new(RefCell::new(ranks)));
        Self { shard, here: 1, threads: None, patience, ranks, device_sums: None }
    }

    /// Joins the others. One that does not come for so many seconds, or says nothing later, has failed.
    ///
    /// # Errors
    ///
    /// A time that is none, others that do not come or do not belong together, or an MPI that is not the launcher's.
    pub fn join(launch: &Launch, seconds: f64) -> Result<Self> {
        within("--rank-timeout", "seconds", seconds, TIMEOUTS)?;
        let patience = patience_of(launch.shard(), Duration::from_secs_f64(seconds));
        let team = Self::joined(launch, patience).at(|| launch)?.among(launch.shard())?;
        Ok(Self { patience, ..team })
    }

    /// Learns who else is on this machine.
    fn among(mut self, launched: Shard) -> Result<Self> {
        let Shard { rank, of } = self.shard;
        if self.shard != launched {
            unfit!(
                "started as rank {} of {}, but MPI says rank {rank} of {of}: this program was built with another MPI than the launcher's",
                launched.rank,
                launched.of
            );
        }
        let own = cores::place();
        let places: Vec<String> = self.ranks().gather(own.as_bytes())?.into_iter().map(text).collect();
        self.here = cores::on_the_machine_of(&own, &places);
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        self.threads = Some(cores::share(&own, &places, cores));
        Ok(self)
    }

    fn joined(launch: &Launch, patience: Duration) -> Result<Self> {
        super::local::end_with_the_parent();
        match (&launch.way, launch.meeting(patience)) {
            (Way::Tcp { .. }, Some(meeting)) => Ok(Self::of(Background::start(move || Tcp::join(&meeting))?)),
            #[cfg(feature = "mpi")]
            (Way::Mpi, _) => {
                let start = move || Ok(beit_train::Mpi::start()?.with_patience(patience));
                Ok(Self::of(Background::start(start)?))
            }
            _ => setting!("{launch}: this build has no MPI"),
        }
    }

    /// Which of how many processes this is.
    #[must_use]
    pub const fn shard(&self) -> Shard {
        self.shard
    }

    /// Whether this is rank 0, which writes.
    #[must_use]
    pub const fn leads(&self) -> bool {
        self.shard.rank == 0
    }

    /// How many of the processes are on this machine, and share its memory.
    #[must_use]
    pub const fn here(&self) -> usize {
        self.here
    }

    /// The same, whose devices add up by themselves.
    #[cfg(feature = "nccl")]
    pub(crate) fn with_device_sums<O: Ops + 'static>(self, sums: DeviceSums<O>) -> Self {
        Self { device_sums: Some(Rc::new(sums)), ..self }
    }

    /// What makes devices add up by themselves, where something does.
    pub(crate) fn device_sums<O: Ops + 'static>(&self) -> Option<DeviceSums<O>> {
        self.device_sums.as_ref()?.downcast_ref::<DeviceSums<O>>().cloned()
    }

    /// How long another may say nothing before it has failed.
    #[must_use]
    pub const fn patience(&self) -> Duration {
        self.patience
    }

    /// Tells the others that this process ends because of an error, so that each can say why.
    pub fn fail(&self, error: &(dyn std::error::Error + 'static)) {
        let own = self.shard().rank;
        let failure = match heard(error) {
            Some(error) => Failure::of(own, error),
            None => Failure::own(own, &crate::error::chain(error)),
        };
        self.ranks().fail(&failure);
    }

    /// Whether a person is told of an error by this process. Rank 0 tells of those of all: it is heard of the others by
    /// [`fail`](Team::fail). That it ended or hangs, the others tell.
    #[must_use]
    pub fn tells(&self, error: &(dyn std::error::Error + 'static)) -> bool {
        let silent = |error: &beit_train::Error| matches!(error, beit_train::Error::Ranks { other: 0, problem, .. } if !problem.starts_with("failed: "));
        self.leads() || heard(error).is_some_and(silent)
    }

    /// Makes a step of as many micro-batches as there are processes, where nothing else is asked for: of `update_freq` in the settings of
    /// a run.
    ///
    /// # Errors
    ///
    /// A number that the processes cannot share evenly.
    pub fn share(&self, update_freq: &mut Option<u64>) -> Result<()> {
        let of = self.shard().of as u64;
        let asked = *update_freq.get_or_insert(of);
        if asked == 0 || !asked.is_multiple_of(of) {
            setting!(
                "--update-freq {asked}: the micro-batches of a step are shared by {of} processes; expected a multiple of {of}"
            );
        }
        Ok(())
    }

    /// Whether any process says so.
    pub(crate) fn any(&self, own: bool) -> Result<bool> {
        let all = self.ranks().gather(&[own.into()])?;
        Ok(all.iter().any(|record| record.first() == Some(&1)))
    }

    /// Refuses to go on where another process has something else. `said` is what this one has; `difference` says in a sentence how rank
    /// 0's differs from another's.
    pub(crate) fn same(&self, said: &str, difference: impl Fn(&str, &str) -> String) -> Result<()> {
        let all = self.ranks().gather(said.as_bytes())?;
        let text = |rank: usize| text(all[rank].clone());
        match (1..all.len()).find(|&rank| all[rank] != all[0]) {
            Some(rank) => {
                unfit!("rank {rank} of this run is not like rank 0: {}", difference(&text(0), &text(rank)))
            }
            None => Ok(()),
        }
    }

    /// What `work` makes of each of these, which the processes share; all get all of it, in the same order.
    pub(crate) fn shared<T, R: Serialize + DeserializeOwned>(
        &self,
        all: &[T],
        work: impl Fn(&T) -> Result<R>,
    ) -> Result<Vec<R>> {
        let Shard { rank, of } = self.shard;
        let own = all.iter().skip(rank).step_by(of).map(work).collect::<Result<Vec<R>>>()?;
        if of == 1 {
            return Ok(own);
        }
        let records = self.ranks().gather(&serde_json::to_vec(&own).unwrap_or_default())?;
        let read = |record: Vec<u8>| serde_json::from_slice::<Vec<R>>(&record).ok().map(Vec::into_iter);
        let found: Option<Vec<_>> = records.into_iter().map(read).collect();
        let in_turn =
            |mut found: Vec<std::vec::IntoIter<R>>| (0..all.len()).map(|i| found[i % of].next()).collect();
        found
            .and_then(in_turn)
            .ok_or_else(|| Error::Unfit("the processes of this run do different things".to_owned()))
    }

    /// What rank 0 says.
    pub(crate) fn told(&self, own: &str) -> Result<String> {
        let all = self.ranks().gather(if self.leads() { own.as_bytes() } else { &[] })?;
        Ok(all.into_iter().next().map(text).unwrap_or_default())
    }

    /// To talk to the others by.
    pub(crate) fn ranks(&self) -> RefMut<'_, dyn Communicator> {
        self.ranks.borrow_mut()
    }
}

/// How long a rank waits for another, of more than two: the last rank as long as was asked for, the first a quarter longer.
///
/// Where a rank hangs, others may wait for one that waits itself. In sums over the ranks those that rank 0 waits for in this way are later
/// ranks, each later than the one that waits for it. So the one next to the rank that hangs gives up first and says whom it waited for, and
/// rank 0 hears that.
fn patience_of(shard: Shard, patience: Duration) -> Duration {
    match shard.of {
        0..=2 => patience,
        of => patience.mul_f64(1.0 + 0.25 * (of - 1 - shard.rank) as f64 / (of - 1) as f64),
    }
}

impl fmt::Debug for Team {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shard { rank, of } = self.shard();
        write!(f, "Team(rank {rank} of {of})")
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A time that is no mistake.
const TIMEOUTS: RangeInclusive<f64> = 1e-3..=1e8;

impl Launch {
    /// Where one of several processes computes: its share of the cores, or the GPU with its number on this machine.
    #[must_use]
    pub fn device(&self, team: &Team, settings: &DeviceSettings) -> DeviceSettings {
        let mut settings = settings.clone();
        // A launcher may have given each process the one GPU that it sees.
        let visible = std::env::var("CUDA_VISIBLE_DEVICES").ok();
        let one = visible.is_some_and(|list| !list.is_empty() && !list.contains(','));
        settings.gpu = if one { 0 } else { self.local_rank() };
        settings.threads = settings.threads.or(team.threads);
        settings
    }

    /// Where a process that is not rank 0 writes what it would say to a person.
    #[must_use]
    pub fn log(&self, run: &Path) -> PathBuf {
        run.join(LOGS).join(format!("rank-{}.log", self.shard().rank))
    }
}

/// The error that another rank failed, where that is the cause of this one.
fn heard<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e beit_train::Error> {
    std::iter::successors(Some(error), |error| error.source()).find_map(of_ranks)
}

/// The same of one error of a chain.
fn of_ranks<'e>(error: &'e (dyn std::error::Error + 'static)) -> Option<&'e beit_train::Error> {
    let error = match error.downcast_ref() {
        Some(Error::Train(error)) => error,
        Some(Error::At { source, .. }) => return of_ranks(&**source),
        _ => error.downcast_ref()?,
    };
    matches!(error, beit_train::Error::Ranks { .. }).then_some(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_ranks_give_up_first() {
        let waits = |of| -> Vec<u64> {
            let wait = |rank| patience_of(Shard { rank, of }, Duration::from_secs(300)).as_secs();
            (0..of).map(wait).collect()
        };
        assert_eq!(waits(2), [300, 300]);
        assert_eq!(waits(4), [375, 350, 325, 300]);
    }
}
