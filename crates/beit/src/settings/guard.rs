use super::number::within;
use crate::error::{Result, setting};
use beit_train::SpikeGuard;
use serde::{Deserialize, Serialize};

/// Steps that may be left out where nothing else is said.
const MOST: u64 = 10;

/// Whether steps are left out whose gradients leap.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default)]
pub struct GuardSettings {
    /// Leave out a step whose gradients have so many times the mean norm of the steps before, 10 for example, or are not finite. It is
    /// kept under spikes/ in the run folder, to be looked at by `replay`
    #[cfg_attr(feature = "clap", arg(long, value_name = "FACTOR"))]
    pub skip_spikes: Option<f64>,
    /// Leave out so many at most, then end the run; 10 where not given
    #[cfg_attr(feature = "clap", arg(long, value_name = "N"))]
    pub max_spikes: Option<u64>,
}

impl GuardSettings {
    /// The guard of a run, where it has one.
    pub(crate) fn guard(&self) -> Option<SpikeGuard> {
        let max_spikes = self.max_spikes.unwrap_or(MOST);
        self.skip_spikes.map(|spike_factor| SpikeGuard { spike_factor, max_spikes })
    }

    /// Refuses numbers that no run can have.
    pub(crate) fn check(&self) -> Result<()> {
        if self.max_spikes.is_some() && self.skip_spikes.is_none() {
            setting!("--max-spikes without --skip-spikes: no step is left out; give both, or neither");
        }
        // At 1 half of all steps would be left out.
        self.skip_spikes.map_or(Ok(()), |factor| within("--skip-spikes", "a factor", factor, 1.5..=1e6))
    }
}
