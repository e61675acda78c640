//! How a run trains, whatever it trains.

use crate::error::{Error, Result};
use crate::optimiser::Hyper;
use crate::spikes::SpikeGuard;
use serde::{Deserialize, Serialize};

/// The part of a run's settings that all tasks share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Micro-batches whose gradients make one step, over all processes.
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
    /// Decay of an average of the weights after every step, which is then what the run gives: [`Trainer::model`](crate::Trainer::model).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
    /// When a step is refused because its gradients leap; where nothing is said, only one that is not finite is, and ends the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spikes: Option<SpikeGuard>,
}

impl Recipe {
    /// Refuses numbers with which no step can be taken.
    ///
    /// # Errors
    ///
    /// [`Error::Recipe`], naming the number, what was found and what was expected.
    pub fn check(&self) -> Result<()> {
        match self.ema {
            Some(decay) if !(0.0..1.0).contains(&decay) => Err(Error::Recipe(format!(
                "the decay of the average of the weights is {decay}, expected at least 0 and less than 1"
            ))),
            _ => self.spikes.map_or(Ok(()), |guard| guard.check()).and_then(|()| self.hyper.check()),
        }
    }

    /// Micro-batches of a step that one of so many processes computes.
    ///
    /// # Errors
    ///
    /// [`Error::Recipe`] where they cannot be shared evenly.
    pub(crate) fn each(&self, processes: usize) -> Result<u64> {
        let of = processes.max(1) as u64;
        if self.accumulate == 0 || !self.accumulate.is_multiple_of(of) {
            return Err(Error::Recipe(format!(
                "{} micro-batches in a step: expected a multiple of the {of} processes that share them",
                self.accumulate
            )));
        }
        Ok(self.accumulate / of)
    }
}

/// What recipes without `read_every` mean.
fn one() -> u64 {
    1
}
