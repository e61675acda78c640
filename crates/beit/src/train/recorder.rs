//! Where a run writes what it measures.

use crate::error::Result;
use crate::progress::Watch;
use crate::run::Run;
use beit_train::{Events, Metrics, Record, Sink};

/// `metrics.jsonl`, and the event files of TensorBoard.
pub(super) struct Recorder {
    metrics: Metrics,
    /// None where they are not asked for, or could not be written.
    events: Option<Events>,
    watch: Watch,
}

impl Recorder {
    /// Goes on after `step` steps of `phase`; none where another process writes.
    pub(super) fn open(run: &Run, watch: &Watch, phase: &str, step: u64) -> Result<Option<Self>> {
        if run.follows() {
            return Ok(None);
        }
        let metrics = Metrics::resume(&run.metrics(), phase, step)?;
        let events = run.tensorboard().map(|folder| Events::resume(&folder, phase, step));
        Ok(Some(Self { metrics, events, watch: watch.clone() }))
    }
}

/// Where the metrics cannot be written the run ends; of event files, on which nothing depends, there are then no more.
impl Sink for Recorder {
    fn record(&mut self, record: &Record<'_>) -> beit_train::Result<()> {
        self.metrics.record(record)?;
        if let Some(Err(error)) = self.events.as_mut().map(|events| events.record(record)) {
            self.events = None;
            self.watch.note(&format!(
                "{error}: the run goes on, with no more for TensorBoard; what it measures is in metrics.jsonl"
            ));
        }
        Ok(())
    }
}
