//! The page of a run, drawn anew while it goes on.

use super::write;
use crate::progress::Watch;
use crate::run::Run;
use std::time::{Duration, Instant};

/// It is drawn again when at least so many times as long as drawing took have passed: that costs below 1 % of the run.
const COSTS: u32 = 100;

/// When the page of a run is drawn next.
#[derive(Default)]
pub(crate) struct Page {
    due: Option<Instant>,
}

impl Page {
    /// Draws the page, where it was not drawn just now.
    pub(crate) fn draw_if_due(&mut self, run: &Run, watch: &Watch) {
        let begun = Instant::now();
        if self.due.is_none_or(|due| begun >= due) {
            draw(run, watch);
            self.due = begun.checked_add(begun.elapsed().max(Duration::from_millis(10)) * COSTS);
        }
    }
}

/// Draws the page. A page that cannot be written is said once, and no reason to end a run.
pub(crate) fn draw(run: &Run, watch: &Watch) {
    if run.follows() {
        return;
    }
    if let Err(error) = write(std::slice::from_ref(&run.dir), &run.report()) {
        watch.note_once(&format!("the page of the run is not drawn, and the run goes on: {error}"));
    }
}
