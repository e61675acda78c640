//! Which of how many processes this is, as the flags or a launcher say.

use super::hosts;
use crate::error::{Result, setting};
use crate::settings::RankSettings;
use beit_data::Shard;
use beit_train::Meeting;
use std::fmt;
use std::str::FromStr;
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
pub(super) enum Way {
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
                local: self.local.1 == Some(self.shard.of),
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

/// What launchers call a run, so that two of them do not take each other's ranks.
fn run_of(env: &dyn Fn(&str) -> Option<String>) -> u32 {
    let names = ["SLURM_JOB_ID", "SLURM_STEP_ID", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", OWN];
    let mut crc = flate2::Crc::new();
    for name in names {
        crc.update(format!("{name}={}\n", env(name).unwrap_or_default()).as_bytes());
    }
    crc.sum()
}

struct Env<'a>(&'a dyn Fn(&str) -> Option<String>);

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

struct Finder<'a> {
    settings: &'a RankSettings,
    env: Env<'a>,
    mpi: bool,
}

impl Finder<'_> {
    fn flags(&self) -> Result<Option<Launch>> {
        let RankSettings { rank: Some(rank), world_size: Some(of), local_rank, .. } = *self.settings else {
            return Ok(None);
        };
        let local = (local_rank.unwrap_or(0), None);
        self.tcp((rank, of), local, Launcher::Flags, None).map(Some)
    }

    fn torchrun(&self) -> Result<Option<Launch>> {
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

    fn mpi(&self) -> Result<Option<Launch>> {
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

    fn slurm(&self) -> Result<Option<Launch>> {
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

    fn indexed_job(&self) -> Result<Option<Launch>> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a process with these variables, or the error.
    fn said(mpi: bool, settings: &RankSettings, variables: &[(&str, &str)]) -> String {
        let env = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
        };
        match Launch::by(settings, &env, mpi) {
            Ok(Some(launch)) => launch.to_string(),
            Ok(None) => "alone".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    fn found(variables: &[(&str, &str)]) -> String {
        said(false, &RankSettings::default(), variables)
    }

    const TORCHRUN: [(&str, &str); 6] = [
        ("RANK", "3"),
        ("WORLD_SIZE", "4"),
        ("LOCAL_RANK", "1"),
        ("LOCAL_WORLD_SIZE", "2"),
        ("MASTER_ADDR", "node1"),
        ("MASTER_PORT", "29400"),
    ];
    const SRUN: [(&str, &str); 7] = [
        ("SLURM_STEP_ID", "0"),
        ("SLURM_PROCID", "5"),
        ("SLURM_NTASKS", "8"),
        ("SLURM_LOCALID", "1"),
        ("SLURM_STEP_TASKS_PER_NODE", "4(x2)"),
        ("SLURM_STEP_NODELIST", "gpu[03-04]"),
        ("SLURM_JOB_ID", "123456"),
    ];
    const MPIRUN: [(&str, &str); 4] = [
        ("OMPI_COMM_WORLD_RANK", "1"),
        ("OMPI_COMM_WORLD_SIZE", "2"),
        ("OMPI_COMM_WORLD_LOCAL_RANK", "1"),
        ("OMPI_COMM_WORLD_LOCAL_SIZE", "2"),
    ];

    #[test]
    fn launchers_are_understood() {
        assert_eq!(found(&[]), "alone");
        assert_eq!(
            found(&TORCHRUN),
            "rank 3 of 4, by RANK and WORLD_SIZE, of torchrun; 1 of 2 on this machine; over TCP, meeting at node1:29400"
        );
        let elastic = [("TORCHELASTIC_USE_AGENT_STORE", "True"), ("TORCHELASTIC_RESTART_COUNT", "2")];
        assert!(found(&[&TORCHRUN[..], &elastic].concat()).ends_with("meeting by the store at node1:29400"));
        assert_eq!(
            found(&[&TORCHRUN[..2], &TORCHRUN[4..]].concat()),
            "rank 3 of 4, by RANK and WORLD_SIZE, with no LOCAL_RANK: taken for one process a machine; 0 of 1 on this machine; over TCP, \
             meeting at node1:29400"
        );
        assert_eq!(
            found(&SRUN),
            "rank 5 of 8, by SLURM_PROCID, of srun; 1 of 4 on this machine; over TCP, meeting at gpu03:13456"
        );
        assert_eq!(
            said(true, &RankSettings::default(), &MPIRUN),
            "rank 1 of 2, by OMPI_COMM_WORLD_RANK, of Open MPI; 1 of 2 on this machine; over MPI"
        );
        assert!(
            said(true, &RankSettings::default(), &[("PMI_RANK", "0"), ("PMI_SIZE", "2")])
                .ends_with("over MPI")
        );
        assert!(
            said(true, &RankSettings::default(), &[&SRUN[..], &[("PMIX_RANK", "5")]].concat())
                .ends_with("over MPI")
        );
        let pmi2 = [&SRUN[..], &[("PMI_RANK", "5"), ("PMI_SIZE", "8")]].concat();
        assert!(found(&pmi2).starts_with("rank 5 of 8, by SLURM_PROCID"));
        // A part of the tasks of a job.
        assert!(found(&[&SRUN[..], &[("SLURM_STEP_NUM_TASKS", "6")]].concat()).starts_with("rank 5 of 6, "));
        assert!(
            found(&[&MPIRUN[..], &[("MASTER_ADDR", "a")]].concat()).ends_with("over TCP, meeting at a:29500")
        );
        let job = RankSettings {
            world_size: Some(2),
            master_addr: Some("job-0.net".to_owned()),
            ..Default::default()
        };
        assert_eq!(
            said(false, &job, &[("JOB_COMPLETION_INDEX", "1")]),
            "rank 1 of 2, by JOB_COMPLETION_INDEX, of an indexed Job, and --world-size; 0 of 1 on this machine; over TCP, meeting at \
             job-0.net:29500"
        );
    }

    /// In the order that is documented.
    #[test]
    fn what_is_found_first_counts() {
        let flags =
            RankSettings { rank: Some(0), world_size: Some(3), local_rank: Some(2), ..Default::default() };
        let all = [&TORCHRUN[..], &SRUN, &MPIRUN].concat();
        assert!(said(true, &flags, &all).starts_with("rank 0 of 3, by --rank and --world-size; 2 on"));
        assert!(said(true, &RankSettings::default(), &all).contains("of torchrun"));
        let all = [&SRUN[..], &MPIRUN].concat();
        assert!(said(true, &RankSettings::default(), &all).contains("of Open MPI"));
    }

    #[test]
    fn one_process_is_alone() {
        assert_eq!(found(&[("RANK", "0"), ("WORLD_SIZE", "1")]), "alone");
        assert_eq!(found(&[("OMPI_COMM_WORLD_RANK", "0"), ("OMPI_COMM_WORLD_SIZE", "1")]), "alone");
        // The script of sbatch, and srun with one task.
        assert_eq!(found(&SRUN[1..]), "alone");
        assert_eq!(found(&[("SLURM_STEP_ID", "0"), ("SLURM_PROCID", "0"), ("SLURM_NTASKS", "1")]), "alone");
        // An indexed Job whose pods have nothing to do with each other; a number that somebody else means.
        assert_eq!(found(&[("JOB_COMPLETION_INDEX", "4")]), "alone");
        assert_eq!(found(&[("RANK", "colonel")]), "alone");
    }

    #[test]
    fn what_does_not_say_enough_is_refused() {
        for (variables, says) in [
            (
                &TORCHRUN[..4],
                "rank 3 of 4 (by RANK and WORLD_SIZE, of torchrun): expected --master-addr or MASTER_ADDR",
            ),
            (&MPIRUN[..], "this build has no MPI: take cargo xtask-mpi"),
            (&[("RANK", "1"), ("WORLD_SIZE", "x")], "WORLD_SIZE is \"x\", expected a number"),
            (
                &[("RANK", "4"), ("WORLD_SIZE", "4"), ("MASTER_ADDR", "a")],
                "rank 4 of 4 (by RANK and WORLD_SIZE",
            ),
            (
                &[("RANK", "0"), ("WORLD_SIZE", "0"), ("MASTER_ADDR", "a")],
                "0 processes (by RANK and WORLD_SIZE",
            ),
            (
                &[("RANK", "0"), ("WORLD_SIZE", "1000000000000"), ("MASTER_ADDR", "a")],
                "expected at most 65536",
            ),
            (
                &[("RANK", "1"), ("WORLD_SIZE", "4"), ("MASTER_ADDR", "a"), ("MASTER_PORT", "70000")],
                "MASTER_PORT is \"70000\"",
            ),
        ] {
            let found = found(variables);
            assert!(found.contains(says), "{found}");
        }
        let world = RankSettings { world_size: Some(2), ..Default::default() };
        assert!(said(false, &world, &[]).contains("--world-size 2 without --rank"));
    }
}
