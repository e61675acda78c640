use crate::error::{Result, setting};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Processes that train together, and which of them this is.
///
/// What a launcher says (torchrun, mpirun, srun, Kubernetes) is found in the environment and needs none of these.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[cfg_attr(feature = "clap", command(next_help_heading = "Several processes"))]
#[serde(default)]
pub struct RankSettings {
    /// Train with so many processes on this machine, which share its cores
    #[cfg_attr(feature = "clap", arg(long, value_name = "N", conflicts_with_all = ["rank", "world_size", "local_rank", "master_addr", "master_port"]))]
    pub ranks: Option<usize>,
    /// Which of the processes this is, from 0, where no launcher says it
    #[cfg_attr(feature = "clap", arg(long, value_name = "R", requires = "world_size"))]
    pub rank: Option<usize>,
    /// How many processes train together, on all machines
    #[cfg_attr(feature = "clap", arg(long, value_name = "N"))]
    pub world_size: Option<usize>,
    /// Which of the processes of this machine this is, from 0
    #[cfg_attr(feature = "clap", arg(long, value_name = "R"))]
    pub local_rank: Option<usize>,
    /// Name or address of the machine of rank 0; the environment variable MASTER_ADDR where not given
    #[cfg_attr(feature = "clap", arg(long, value_name = "HOST"))]
    pub master_addr: Option<String>,
    /// Port where rank 0 listens; MASTER_PORT where not given
    #[cfg_attr(feature = "clap", arg(long, value_name = "PORT"))]
    pub master_port: Option<u16>,
    /// Seconds after which a process that says nothing, or does not come, has failed
    #[cfg_attr(feature = "clap", arg(long, value_name = "SECONDS", default_value_t = Self::default().rank_timeout))]
    pub rank_timeout: f64,
}

/// How processes that train together add up what they learnt in a step.
#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[cfg_attr(feature = "clap", command(next_help_heading = "Several processes"))]
pub struct SumSettings {
    /// Where GPUs add up gradients: on themselves by NCCL, or through the memory of their hosts, which is slow; auto is nccl where all
    /// processes can, and says why where they cannot
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t))]
    pub gpu_sums: GpuSums,
}

/// Where GPUs add up gradients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum GpuSums {
    /// On themselves where all processes can, else through their hosts.
    #[default]
    Auto,
    /// On themselves, by NCCL.
    Nccl,
    /// Through the memory of their hosts.
    Host,
}

impl fmt::Display for GpuSums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Nccl => "nccl",
            Self::Host => "host",
        })
    }
}

impl SumSettings {
    /// Refuses what this build cannot do.
    pub(crate) fn check(self) -> Result<()> {
        match self.gpu_sums {
            GpuSums::Nccl if !cfg!(feature = "nccl") => setting!(
                "--gpu-sums nccl: this build has no NCCL; take cargo xtask-nccl (--features nccl), or leave --gpu-sums out"
            ),
            _ => Ok(()),
        }
    }
}

impl Default for RankSettings {
    fn default() -> Self {
        Self {
            ranks: None,
            rank: None,
            world_size: None,
            local_rank: None,
            master_addr: None,
            master_port: None,
            rank_timeout: 300.0,
        }
    }
}
