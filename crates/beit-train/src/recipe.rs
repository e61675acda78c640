//! How a run trains, whatever it trains.

use crate::optimiser::Hyper;
use serde::{Deserialize, Serialize};

/// The part of a run's settings that all tasks share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Micro-batches whose gradients make one step.
    pub accumulate: u64,
    /// Optimiser and schedule; its `total` is the length of the run.
    pub hyper: Hyper,
    /// Steps between two reports.
    pub report_every: u64,
    /// Steps after which losses and norms are read from the device together, 1 where reading costs no wait. A step that is not
    /// finite is not taken; it ends the run when it is read.
    #[serde(default = "one")]
    pub read_every: u64,
    /// Key of everything random.
    pub seed: u64,
}

/// What recipes without `read_every` mean.
fn one() -> u64 {
    1
}
