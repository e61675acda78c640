//! Training by several processes at once (data-parallel), each with its own micro-batches of every step.

mod hooks;
#[cfg(feature = "mpi")]
mod mpi;
mod part;
mod sum;
mod threads;

pub use hooks::Ranks;
#[cfg(feature = "mpi")]
pub use mpi::Mpi;
pub use sum::sum_over_ranks;
pub use threads::Threads;

use crate::error::{Error, Result};
use beit_data::Shard;
use std::time::Duration;

/// So long a rank may say nothing while another waits for it.
const PATIENCE: Duration = Duration::from_secs(300);

/// How processes that train together, its *ranks*, talk. All of them call the same methods in the same order.
pub trait Communicator {
    /// Which of how many.
    fn shard(&self) -> Shard;

    /// Sends numbers to another rank, which takes part by the same call, and receives its numbers. Either may be none, if the other
    /// rank knows that.
    ///
    /// # Errors
    ///
    /// [`Error::Ranks`](crate::Error::Ranks) where the other rank has ended or says nothing.
    fn exchange(&mut self, with: usize, send: &[f32], receive: &mut [f32]) -> Result<()>;

    /// Gives every rank the record of each, by rank. Records may differ in length, and are short beside gradients.
    ///
    /// # Errors
    ///
    /// As [`exchange`](Communicator::exchange).
    fn gather(&mut self, record: &[f64]) -> Result<Vec<Vec<f64>>>;
}

/// What is found about another rank.
fn disagrees(own: Shard, other: usize, problem: &str) -> Error {
    Error::Ranks { rank: own.rank, other, problem: problem.to_owned() }
}

/// That another rank did not come in time.
fn silent(own: Shard, other: usize, patience: Duration) -> Error {
    disagrees(own, other, &format!("has said nothing for {} seconds", patience.as_secs_f64()))
}
