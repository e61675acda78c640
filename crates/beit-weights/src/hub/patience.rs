//! How long to insist.

use super::config::HubConfig;
use super::failure::Failure;
use super::progress::Progress;
use super::waiting::Waits;
use std::thread;
use std::time::{Duration, Instant};

/// Tries that are left, each after twice the pause of the one before.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    retries: u32,
    first: Duration,
    used: u32,
    waits: Waits,
    /// Since when nothing has come, pauses that were asked for aside.
    since: Instant,
}

/// The longest pause that nobody asked for.
const LONGEST: Duration = Duration::from_secs(30);

impl Patience {
    pub(super) fn new(config: &HubConfig, waits: Waits) -> Self {
        Self { retries: config.retries, first: config.pause, used: 0, waits, since: Instant::now() }
    }

    /// There was progress.
    pub(super) fn renew(&mut self) {
        self.used = 0;
        self.since = Instant::now();
    }

    /// Waits when another try may help, as the caller may know (`anyway`); else gives the failure back.
    pub(super) fn wait_after(
        &mut self,
        failure: Failure,
        anyway: bool,
        progress: &mut dyn Progress,
    ) -> Result<(), Failure> {
        let asked = failure.asks_to_wait();
        let spent = self.used >= self.retries || self.since.elapsed() >= self.waits.end;
        if spent || !(anyway || failure.passes()) || asked > Some(self.waits.asked) {
            return Err(failure);
        }
        let usual = self.first.saturating_mul(1 << self.used.min(16)).min(LONGEST);
        let pause = asked.map_or(usual, |asked| asked.max(usual));
        if pause >= self.waits.word || asked.is_some_and(|asked| !asked.is_zero()) {
            let why = failure.brief();
            progress.wait(&format!("{why}: asked again in {} s", pause.as_secs_f32()));
        }
        thread::sleep(pause);
        self.since += pause;
        self.used += 1;
        Ok(())
    }
}
