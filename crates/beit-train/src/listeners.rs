//! Who listens to a run.

use crate::progress::Progress;
use crate::sink::Sink;

/// Who listens to a run: a person, and whoever keeps what was measured.
pub struct Listeners<'a> {
    /// Shows progress.
    pub progress: &'a mut dyn Progress,
    /// Keeps the records: a sink, a list of sinks, or `()` for none. What it returns as an error ends the run.
    pub sinks: &'a mut dyn Sink,
}
