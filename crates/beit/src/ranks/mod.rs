//! Several processes that train together: who started them, which of them this is, and how they talk.

pub(crate) mod cluster;
mod cores;
mod hosts;
mod launch;
mod local;
#[cfg(feature = "nccl")]
pub(crate) mod nccl;
pub(crate) mod sums;
mod team;

pub use cluster::Predicted;
pub use launch::{Launch, Launcher};
pub use local::LocalRanks;
pub use team::Team;
