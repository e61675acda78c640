//! What can go wrong with NCCL.

use super::library::{FILE, NAMES};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Why GPUs cannot add up by NCCL.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NcclError {
    /// Its library is not among those of the machine.
    Missing {
        /// What the system says of the first name.
        reason: String,
    },
    /// The file that was named is no library.
    Unusable {
        /// Which.
        file: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A library that lacks something.
    Incomplete {
        /// Which.
        file: PathBuf,
        /// The function that it lacks.
        function: &'static str,
    },
    /// NCCL says that it failed.
    Failed {
        /// What it did.
        doing: &'static str,
        /// Its own words.
        words: String,
    },
    /// Another process does not come, or hangs.
    Late {
        /// What was waited for.
        doing: &'static str,
        /// For how long.
        patience: Duration,
    },
    /// It has failed before.
    Ended,
    /// The driver or the device.
    Device(String),
}

impl fmt::Display for NcclError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { reason } => write!(
                f,
                "NCCL is not on this machine: found no {} ({reason}); install NVIDIA's libnccl2, or a wheel of it (nvidia-nccl-cu12) \
                 whose {} is then named by the environment variable {FILE}",
                NAMES.join(" and no "),
                NAMES[0]
            ),
            Self::Unusable { file, reason } => {
                write!(
                    f,
                    "{FILE}={}: cannot be loaded ({reason}); expected the path of a {}",
                    file.display(),
                    NAMES[0]
                )
            }
            Self::Incomplete { file, function } => {
                write!(f, "{} has no {function}: expected NCCL from 2.14 on", file.display())
            }
            Self::Failed { doing, words } => write!(f, "NCCL failed to {doing}: {words}"),
            Self::Late { doing, patience } => {
                write!(
                    f,
                    "NCCL failed to {doing} within {} seconds: another process has ended or hangs",
                    patience.as_secs_f64()
                )
            }
            Self::Ended => write!(f, "NCCL has failed before: nothing can be added up any more"),
            Self::Device(problem) => write!(f, "NCCL: {problem}"),
        }
    }
}

impl std::error::Error for NcclError {}
