//! Training by several processes at once (data-parallel), each with its own micro-batches of every step.

mod all_gather;
mod alone;
mod background;
mod hooks;
#[cfg(feature = "mpi")]
mod mpi;
mod part;
mod share;
mod sum;
mod tcp;
mod tensors;
mod threads;

pub use all_gather::all_gather;
pub use alone::Alone;
pub use background::Background;
pub use hooks::Ranks;
#[cfg(feature = "mpi")]
pub use mpi::Mpi;
pub use share::share_batches;
pub use sum::sum_over_ranks;
pub use tcp::{Meeting, Tcp};
pub use tensors::TensorSums;
pub use threads::Threads;

use crate::error::{Error, Result};
use beit_data::Shard;
use std::time::Duration;

/// So long a rank may say nothing while another waits for it, where nothing else is asked for.
const PATIENCE: Duration = Duration::from_secs(300);

/// How processes that train together, their *ranks*, talk. All of them call the same methods in the same order.
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
    fn gather(&mut self, record: &[u8]) -> Result<Vec<Vec<u8>>>;

    /// Tells the others that this rank ends because of an error, so that theirs names it. Whoever cannot be told any more is left out.
    fn fail(&mut self, failure: &Failure);

    /// Sums over the ranks that go on while this rank does something else, where the communicator can do that.
    fn background(&mut self) -> Option<&mut dyn BackgroundSums> {
        None
    }
}

/// Sums over the ranks in the background, as [`sum_over_ranks`] makes them, in the order in which all ranks begin them.
pub trait BackgroundSums {
    /// Begins one.
    fn begin(&mut self, values: Vec<f32>);

    /// Waits for the first that has not ended yet: the sum, and how long it took.
    ///
    /// # Errors
    ///
    /// Those of the communicator.
    fn end(&mut self) -> Result<(Vec<f32>, Duration)>;
}

/// Gives every rank the numbers of each, by rank.
///
/// # Errors
///
/// Those of the communicator.
pub fn gather_numbers<C: Communicator + ?Sized>(ranks: &mut C, numbers: &[f64]) -> Result<Vec<Vec<f64>>> {
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let number = |bytes: &[u8; 8]| f64::from_le_bytes(*bytes);
    let numbers = |record: Vec<u8>| record.as_chunks().0.iter().map(number).collect();
    Ok(ranks.gather(&bytes)?.into_iter().map(numbers).collect())
}

/// Why a rank ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Who failed first.
    pub rank: usize,
    /// What that one does, as the end of a sentence that begins with its name.
    pub problem: String,
}

impl Failure {
    /// Of rank `own`, because of what it says itself.
    #[must_use]
    pub fn own(own: usize, error: &str) -> Self {
        Self { rank: own, problem: format!("failed: {error}") }
    }

    /// Of rank `own`, because of this error: where the error is that another rank failed, that one is named.
    #[must_use]
    pub fn of(own: usize, error: &Error) -> Self {
        match error {
            Error::Ranks { other, problem, .. } => Self { rank: *other, problem: problem.clone() },
            error => Self::own(own, &error.to_string()),
        }
    }

    /// As it travels.
    fn to_bytes(&self) -> Vec<u8> {
        [&(self.rank as u64).to_le_bytes(), self.problem.as_bytes()].concat()
    }

    /// The error that it is for another rank.
    fn heard(own: Shard, from: usize, bytes: &[u8]) -> Error {
        match bytes.split_first_chunk() {
            Some((rank, problem)) => {
                disagrees(own, u64::from_le_bytes(*rank) as usize, &String::from_utf8_lossy(problem))
            }
            None => disagrees(own, from, "failed"),
        }
    }
}

/// What is found about another rank.
fn disagrees(own: Shard, other: usize, problem: &str) -> Error {
    Error::Ranks { rank: own.rank, other, problem: problem.to_owned() }
}

/// That another rank did not come in time.
fn silent(own: Shard, other: usize, patience: Duration) -> Error {
    disagrees(own, other, &format!("has said nothing for {} seconds", patience.as_secs_f64()))
}
