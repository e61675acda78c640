//! Which of how many processes this is, as the flags or a launcher say.

mod finder;

use crate::error::{Result, setting};
use crate::settings::RankSettings;
use beit_data::Shard;
use beit_train::Meeting;
use finder::{Env, Finder, run_of};
use std::fmt;
use std::time::Duration;

/// Who says which of how many processes this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launcher {
    /// The flags `--rank` and `--world-size`.
    Flags,
    /// This program itself, for `--ranks`.
    Ranks,
    /// `RANK` and `WORLD_SIZE`, as torchrun sets them.
    Torchrun,
    /// The same without `LOCAL_RANK`, as a PyTorchJob of Kubernetes sets them: a process for each machine.
    PyTorchJob,
    /// `OMPI_COMM_WORLD_RANK` and `OMPI_COMM_WORLD_SIZE`, as the mpirun of Open MPI sets them.
    OpenMpi,
    /// `PMI_RANK` and `PMI_SIZE`, as the mpirun of MPICH and Intel MPI sets them.
    Mpich,
    /// `SLURM_PROCID` and `SLURM_NTASKS`, as srun sets them.
    Slurm,
    /// `JOB_COMPLETION_INDEX`, as an indexed Job of Kubernetes sets it, with `--world-size`.
    IndexedJob,
}

impl fmt::Display for Launcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flags => "--rank and --world-size",
            Self::Ranks => "--ranks",
            Self::Torchrun => "RANK and WORLD_SIZE, of torchrun",
            Self::PyTorchJob => "RANK and WORLD_SIZE, with no LOCAL_RANK: taken for one process a machine",
            Self::OpenMpi => "OMPI_COMM_WORLD_RANK, of Open MPI",
            Self::Mpich => "PMI_RANK, of MPICH or Intel MPI",
            Self::Slurm => "SLURM_PROCID, of srun",
            Self::IndexedJob => "JOB_COMPLETION_INDEX, of an indexed Job, and --world-size",
        })
    }
}

/// How the processes talk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::ranks) enum Way {
    /// Each with each, after they have met at rank 0.
    Tcp {
        host: String,
        port: u16,
        /// The key under which rank 0 leaves its port in the store of the launcher, where there is one.
        store: Option<String>,
    },
    /// By the MPI that started them.
    Mpi,
}

/// One of several processes that train together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    pub(super) shard: Shard,
    launcher: Launcher,
    /// Which of how many on this machine, as far as it is known.
    local: (usize, Option<usize>),
    pub(super) way: Way,
}

/// More processes than have ever trained together.
pub(super) const MOST: usize = 1 << 16;
/// Tells that this program started its ranks itself, by the number of the process that did.
pub(super) const OWN: &str = "BEIT_RANKS";
/// Where nothing else is said, as in torch.
const PORT: u16 = 29500;
/// Ports that are derived from the number of a job are from here, and so many: below those that systems give out.
const JOB_PORTS: (u64, u64) = (10_000, 20_000);

impl Launch {
    /// Finds out which of how many processes this is; none where it is the only one. What is found first counts: the flags; `RANK` and
    /// `WORLD_SIZE`; the variables of Open MPI, then those of MPICH; those of srun, within a step of it; those of an indexed Job.
    ///
    /// # Errors
    ///
    /// Variables that are no numbers, or that do not say enough.
    pub fn find(settings: &RankSettings) -> Result<Option<Self>> {
        Self::by(settings, &|name| std::env::var(name).ok(), cfg!(feature = "mpi"))
    }

    /// The same in an environment; `mpi` says whether this build has MPI.
    fn by(settings: &RankSettings, env: &dyn Fn(&str) -> Option<String>, mpi: bool) -> Result<Option<Self>> {
        let finder = Finder { settings, env: Env(env), mpi };
        let ways = [Finder::flags, Finder::torchrun, Finder::mpi, Finder::slurm, Finder::indexed_job];
        let found = ways.iter().find_map(|way| way(&finder).transpose()).transpose()?;
        if let Some(Self { shard: Shard { rank, of }, launcher, .. }) = &found {
            match *of {
                0 => setting!("0 processes (by {launcher}): expected at least 1"),
                1..=MOST if rank >= of => {
                    setting!("rank {rank} of {of} (by {launcher}): expected a rank below {of}")
                }
                1..=MOST => {}
                _ => setting!("{of} processes (by {launcher}): expected at most {MOST}"),
            }
        }
        Ok(found.filter(|found| found.shard.of > 1))
    }

    /// Which of how many processes.
    #[must_use]
    pub const fn shard(&self) -> Shard {
        self.shard
    }

    /// Which of the processes of its machine.
    #[must_use]
    pub const fn local_rank(&self) -> usize {
        self.local.0
    }

    /// How many of them are on its machine, as far as that is known.
    #[must_use]
    pub const fn local_size(&self) -> Option<usize> {
        self.local.1
    }

    pub(super) fn meeting(&self, patience: Duration) -> Option<Meeting> {
        match &self.way {
            Way::Mpi => None,
            Way::Tcp { host, port, store } => Some(Meeting {
                // Elsewhere the name of rank 0's machine may lead to an address of the network, even on that machine.
                local: self.launcher == Launcher::Ranks,
                run: run_of(&|name| std::env::var(name).ok()),
                shard: self.shard,
                host: host.clone(),
                port: *port,
                store: store.clone(),
                patience,
            }),
        }
    }
}

impl fmt::Display for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shard: Shard { rank, of }, launcher, local: (local, size), way } = self;
        write!(f, "rank {rank} of {of}, by {launcher}; {local} ")?;
        if let Some(size) = size {
            write!(f, "of {size} ")?;
        }
        write!(f, "on this machine; ")?;
        match way {
            Way::Mpi => write!(f, "over MPI"),
            Way::Tcp { host, port, store: None } => write!(f, "over TCP, meeting at {host}:{port}"),
            Way::Tcp { host, port, store: Some(_) } => {
                write!(f, "over TCP, meeting by the store at {host}:{port}")
            }
        }
    }
}

#[cfg(test)]
mod tests;
