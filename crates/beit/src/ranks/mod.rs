//! Several processes that train together: who started them, which of them this is, and how they talk.

mod cores;
mod hosts;
mod launch;
mod local;
mod team;

pub use launch::{Launch, Launcher};
pub use local::LocalRanks;
pub use team::Team;
