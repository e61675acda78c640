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
pub use sum::sum;
pub use threads::Threads;

use crate::error::Result;
use beit_data::Shard;

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

    /// Gives every rank the record of each, by rank. Records are small, and may differ in length.
    ///
    /// # Errors
    ///
    /// As [`exchange`](Communicator::exchange).
    fn gather(&mut self, record: &[f64]) -> Result<Vec<Vec<f64>>>;
}
