//! How long to insist.

use super::config::HubConfig;
use super::failure::Failure;
use std::thread;
use std::time::Duration;

/// Tries that are left, each after twice the pause of the one before.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    retries: u32,
    first: Duration,
    used: u32,
}

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(30);

impl Patience {
    pub(super) fn new(config: &HubConfig) -> Self {
        Self { retries: config.retries, first: config.pause, used: 0 }
    }

    /// There was progress.
    pub(super) fn renew(&mut self) {
        self.used = 0;
    }

    /// Waits when another try may help, as the caller may know (`anyway`); else gives the failure back.
    pub(super) fn wait_after(&mut self, failure: Failure, anyway: bool) -> Result<(), Failure> {
        if self.used >= self.retries || !(anyway || failure.passes()) {
            return Err(failure);
        }
        thread::sleep(self.first.saturating_mul(1 << self.used.min(16)).min(LONGEST));
        self.used += 1;
        Ok(())
    }
}
