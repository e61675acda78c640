//! What flags and environment variables say of which process this is.

use super::{JOB_PORTS, Launch, Launcher, OWN, PORT, Way};
use crate::error::{Result, setting};
use crate::ranks::hosts;
use crate::settings::RankSettings;
use beit_data::Shard;
use std::str::FromStr;

/// The environment.
pub(super) struct Env<'a>(pub(super) &'a dyn Fn(&str) -> Option<String>);

impl Env<'_> {
    fn text(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    fn number<N: FromStr>(&self, name: &str) -> Result<Option<N>> {
        match self.text(name) {
            None => Ok(None),
            Some(text) => match text.trim().parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => setting!("the environment variable {name} is {text:?}, expected a number"),
            },
        }
    }
}

/// Looks for who says it.
pub(super) struct Finder<'a> {
    pub(super) settings: &'a RankSettings,
    pub(super) env: Env<'a>,
    /// Whether this build has MPI.
    pub(super) mpi: bool,
}

impl Finder<'_> {
    pub(super) fn flags(&self) -> Result<Option<Launch>> {
        let RankSettings { rank: Some(rank), world_size: Some(of), local_rank, .. } = *self.settings else {
            return Ok(None);
        };
        let local = (local_rank.unwrap_or(0), None);
        self.tcp((rank, of), local, Launcher::Flags, None).map(Some)
    }

    pub(super) fn torchrun(&self) -> Result<Option<Launch>> {
        let env = &self.env;
        // Each alone may mean something else.
        if env.text("RANK").is_none() || env.text("WORLD_SIZE").is_none() {
            return Ok(None);
        }
        let (Some(rank), Some(of)) = (env.number("RANK")?, env.number("WORLD_SIZE")?) else {
            return Ok(None);
        };
        let (local, size) = (env.number("LOCAL_RANK")?, env.number("LOCAL_WORLD_SIZE")?);
        let launcher = match local {
            _ if env.text(OWN).is_some() => Launcher::Ranks,
            Some(_) => Launcher::Torchrun,
            None => Launcher::PyTorchJob,
        };
        // Its own store listens at the port; a restart begins with other keys.
        let restart = || env.text("TORCHELASTIC_RESTART_COUNT").unwrap_or_default();
        let store = env.text("TORCHELASTIC_USE_AGENT_STORE").filter(|uses| uses == "True");
        let store = store.map(|_| format!("/beit/{}", restart()));
        let size = if local.is_some() { size } else { Some(1) };
        self.tcp((rank, of), (local.unwrap_or(0), size), launcher, store).map(Some)
    }

    pub(super) fn mpi(&self) -> Result<Option<Launch>> {
        let names = [
            (
                Launcher::OpenMpi,
                ["OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"],
                ["OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"],
            ),
            (Launcher::Mpich, ["PMI_RANK", "PMI_SIZE"], ["MPI_LOCALRANKID", "MPI_LOCALNRANKS"]),
        ];
        for (launcher, [rank, size], [local_rank, local_size]) in names {
            let env = &self.env;
            let (Some(rank), Some(of)) = (env.number(rank)?, env.number(size)?) else { continue };
            // srun may set these too, for programs that have an MPI.
            if launcher == Launcher::Mpich && !self.mpi && env.text("SLURM_STEP_ID").is_some() {
                continue;
            }
            let local = (env.number(local_rank)?.unwrap_or(0), env.number(local_size)?);
            if self.mpi {
                return Ok(Some(Launch { shard: Shard { rank, of }, launcher, local, way: Way::Mpi }));
            }
            if of > 1 && self.host().is_none() {
                setting!(
                    "started as one of {of} processes by {launcher}, and this build has no MPI: take cargo xtask-mpi (--features mpi), or \
                     say with --master-addr (MASTER_ADDR) where rank 0 is"
                );
            }
            return self.tcp((rank, of), local, launcher, None).map(Some);
        }
        Ok(None)
    }

    pub(super) fn slurm(&self) -> Result<Option<Launch>> {
        let env = &self.env;
        // A script of sbatch has the variables too, and is one process.
        let step = env.text("SLURM_STEP_ID").is_some();
        let tasks: Option<usize> = env.number("SLURM_STEP_NUM_TASKS")?;
        let of = tasks.map_or_else(|| env.number("SLURM_NTASKS"), |tasks| Ok(Some(tasks)))?;
        let (true, Some(rank), Some(of)) = (step, env.number("SLURM_PROCID")?, of) else {
            return Ok(None);
        };
        let tasks = env.text("SLURM_STEP_TASKS_PER_NODE").or_else(|| env.text("SLURM_TASKS_PER_NODE"));
        let size = tasks.and_then(|tasks| hosts::tasks_of_each(&tasks));
        let local = (env.number("SLURM_LOCALID")?.unwrap_or(0), size);
        if of < 2 {
            return Ok(None);
        }
        if self.mpi && env.text("PMIX_RANK").is_some() {
            return Ok(Some(Launch {
                shard: Shard { rank, of },
                launcher: Launcher::Slurm,
                local,
                way: Way::Mpi,
            }));
        }
        let list = ["SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST", "SLURM_NODELIST"];
        let first = list.iter().find_map(|name| env.text(name)).map(|list| hosts::first(&list));
        let job: Option<u64> = env.number("SLURM_JOB_ID")?;
        let step: u64 = env.number("SLURM_STEP_ID")?.unwrap_or(0);
        let port = job.map(|job| (JOB_PORTS.0 + (job + step) % JOB_PORTS.1) as u16);
        self.tcp_at((rank, of), local, Launcher::Slurm, (self.host().or(first), port, None)).map(Some)
    }

    pub(super) fn indexed_job(&self) -> Result<Option<Launch>> {
        let Some(of) = self.settings.world_size else { return Ok(None) };
        let Some(rank) = self.env.number("JOB_COMPLETION_INDEX")? else {
            setting!(
                "--world-size {of} without --rank: expected a launcher that says which process this is, or --rank"
            );
        };
        self.tcp((rank, of), (0, Some(1)), Launcher::IndexedJob, None).map(Some)
    }

    fn host(&self) -> Option<String> {
        self.settings.master_addr.clone().or_else(|| self.env.text("MASTER_ADDR"))
    }

    fn tcp(
        &self,
        ranks: (usize, usize),
        local: (usize, Option<usize>),
        launcher: Launcher,
        store: Option<String>,
    ) -> Result<Launch> {
        self.tcp_at(ranks, local, launcher, (self.host(), None, store))
    }

    /// `port` is what is usual for the launcher.
    fn tcp_at(
        &self,
        (rank, of): (usize, usize),
        (local_rank, size): (usize, Option<usize>),
        launcher: Launcher,
        (host, port, store): (Option<String>, Option<u16>, Option<String>),
    ) -> Result<Launch> {
        let host = match host {
            Some(host) => host,
            None if of < 2 => String::new(),
            None => setting!(
                "rank {rank} of {of} (by {launcher}): expected --master-addr or MASTER_ADDR, the name of the machine of rank 0"
            ),
        };
        let asked = self
            .settings
            .master_port
            .map_or_else(|| self.env.number("MASTER_PORT"), |port| Ok(Some(port)))?;
        let port = asked.or(port).unwrap_or(PORT);
        let local = (self.settings.local_rank.unwrap_or(local_rank), size);
        Ok(Launch { shard: Shard { rank, of }, launcher, local, way: Way::Tcp { host, port, store } })
    }
}

/// What launchers call a run, so that two of them do not take each other's ranks.
pub(super) fn run_of(env: &dyn Fn(&str) -> Option<String>) -> u32 {
    let names = ["SLURM_JOB_ID", "SLURM_STEP_ID", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", OWN];
    let mut crc = flate2::Crc::new();
    for name in names {
        crc.update(format!("{name}={}\n", env(name).unwrap_or_default()).as_bytes());
    }
    crc.sum()
}
