//! Event files, as TensorBoard reads them.

mod file;
mod message;

pub use file::is_event_file;

use crate::error::Result;
use crate::metrics::is_of_a_step;
use crate::record::Record;
use crate::scalars::Scalars;
use crate::sink::Sink;
use file::EventFile;
use message::{START, Scalar, SessionLog, Summary, What};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};

/// Writes every number that is measured as a scalar, in a folder for each phase of `metrics.jsonl`, so that TensorBoard draws numbers of
/// one name into one chart. A process that goes on begins a new file in each, which takes out of the older ones what they have beyond
/// its steps. Nothing is made before there is something to write.
///
/// ```
/// use beit_train::{Events, Record, Sink, StepReport};
/// let run = tempfile::tempdir()?;
/// let mut events = Events::resume(run.path(), "pretrain", 0);
/// events.record(&Record::Step(&StepReport { phase: "pretrain", step: 1, loss: 0.5, ..StepReport::default() }))?;
/// assert_eq!(std::fs::read_dir(run.path().join("pretrain"))?.count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Events {
    folder: PathBuf,
    /// The phase that goes on.
    phase: String,
    /// Steps that it had done.
    begun: u64,
    /// The newest step that was reported: what is measured of a model at its end is of this one.
    newest: u64,
    files: HashMap<String, EventFile>,
}

impl Events {
    /// Writes below `folder` what comes after `step` steps of `phase`.
    #[must_use]
    pub fn resume(folder: &Path, phase: &str, step: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            phase: phase.to_owned(),
            begun: step,
            newest: step,
            files: HashMap::new(),
        }
    }

    /// The first step that is written anew: of the phase that goes on the one after those that are done, of one that begins and of others
    /// all. It is the rule of [`Metrics::resume`](crate::Metrics::resume).
    fn first_new(&self, phase: &str) -> u64 {
        if self.begun > 0 && is_of_a_step(phase, &self.phase) { self.begun + 1 } else { 0 }
    }

    fn file(&mut self, phase: String) -> Result<&mut EventFile> {
        let (folder, first) = (self.folder.join(&phase), self.first_new(&phase));
        match self.files.entry(phase) {
            Entry::Occupied(open) => Ok(open.into_mut()),
            Entry::Vacant(place) => {
                let (mut file, others) = EventFile::create(&folder)?;
                if others {
                    file.append(first, What::Session(SessionLog { status: START }))?;
                }
                Ok(place.insert(file))
            }
        }
    }
}

/// Writes one entry; the error is [`Error::Write`](crate::Error::Write).
impl Sink for Events {
    fn record(&mut self, record: &Record<'_>) -> Result<()> {
        // A record is always JSON, and has a phase.
        let line = serde_json::to_value(record).unwrap_or_default();
        let Some(Scalars { phase, step, values }) = Scalars::of(&line) else { return Ok(()) };
        if let Record::Step(report) = record {
            self.newest = report.step;
        }
        let step = step.unwrap_or(self.newest);
        let values =
            values.into_iter().map(|(tag, value)| Scalar { tag, value: Some(value as f32) }).collect();
        self.file(phase)?.append(step, What::Summary(Summary { values }))
    }
}
