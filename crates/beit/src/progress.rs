//! Who watches.

use crate::settings::DataSettings;
use beit_data::Source;
use beit_train::StepReport;
use std::collections::HashSet;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Whoever watches what takes a while. Every method does nothing unless it is written.
///
/// Data is loaded by several threads, so notes may come from any of them.
pub trait Progress: Send + Sync {
    /// A line for a person: what was left out, resized or assumed.
    fn note(&self, line: &str) {
        let _ = line;
    }
    /// The folder of the run is known, in which others write too: only [rank 0](crate::Team::leads) does so besides.
    fn folder(&self, run: &Path) {
        let _ = run;
    }
    /// Something begins that takes a while.
    fn begin(&self, task: &Task<'_>) {
        let _ = task;
    }
    /// So much of it is done since it began: steps of the run, images, or bytes.
    fn done(&self, amount: u64) {
        let _ = amount;
    }
    /// What the last steps of training measured.
    fn report(&self, report: &StepReport) {
        let _ = report;
    }
    /// What began has ended.
    fn end(&self) {}
    /// Whether training or evaluation is to stop: it then saves what it has, and ends with [`Error::Stopped`](crate::Error::Stopped).
    /// Asked after every step and every batch.
    fn stops(&self) -> bool {
        false
    }
}

/// What takes a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Task<'a> {
    /// Optimiser steps.
    Train {
        /// `tokenizer`, `pretrain` or `finetune`.
        phase: &'static str,
        /// Steps done before, where a run goes on.
        done: u64,
        /// Steps of the run.
        total: u64,
    },
    /// Images that a model looks at.
    Images {
        /// How many.
        total: u64,
    },
    /// A file that is fetched.
    Fetch {
        /// Its name.
        file: &'a str,
        /// Its size.
        bytes: u64,
    },
}

/// A watcher, shared by the threads that tell it something.
///
/// ```
/// struct Print;
/// impl beit::Progress for Print {
///     fn note(&self, line: &str) {
///         println!("{line}");
///     }
/// }
/// let watch = beit::Watch::new(Print);
/// watch.note("three files were left out");
/// beit::Watch::silent().note("nobody hears this");
/// ```
#[derive(Clone)]
pub struct Watch {
    progress: Arc<dyn Progress>,
    /// Notes of sources that were told: a source that is opened again says the same again.
    told: Arc<Mutex<HashSet<String>>>,
}

impl Watch {
    /// Tells this watcher.
    pub fn new(progress: impl Progress + 'static) -> Self {
        Self { progress: Arc::new(progress), told: Arc::default() }
    }

    /// Tells how a source was read (its [notes](Source::notes)), each thing once.
    pub fn notes_of(&self, source: &dyn Source) {
        source.notes().iter().for_each(|note| self.note_once(note));
    }

    /// [`notes_of`](Self::notes_of) a source that is learnt from, and in which order where not any image may come after any other.
    pub(crate) fn notes_of_training(&self, source: &dyn Source, data: &DataSettings) {
        self.notes_of(source);
        if let Some(groups) = beit_data::Shuffle::from(data.shuffle).windows(source) {
            self.note_once(&format!(
                "{}: images that lie together come near each other in training, which is shuffled in windows of {} of {} groups; \
                 --shuffle global shuffles all alike, and reads more",
                data.data,
                groups.window(),
                groups.count()
            ));
        }
    }

    /// Tells something once, however often it happens.
    pub(crate) fn note_once(&self, note: &str) {
        let new = self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(note.to_owned());
        if new {
            self.note(note);
        }
    }

    /// Tells nobody.
    #[must_use]
    pub fn silent() -> Self {
        Self::new(Silent)
    }
}

impl Default for Watch {
    fn default() -> Self {
        Self::silent()
    }
}

impl Deref for Watch {
    type Target = dyn Progress;
    fn deref(&self) -> &(dyn Progress + 'static) {
        &*self.progress
    }
}

struct Silent;

impl Progress for Silent {}

/// Passes on what training loops tell.
impl beit_train::Progress for Watch {
    fn begin(&mut self, phase: &'static str, done: u64, total: u64) {
        self.progress.begin(&Task::Train { phase, done, total });
    }
    fn step(&mut self, step: u64) {
        self.progress.done(step);
    }
    fn report(&mut self, report: &StepReport) {
        self.progress.report(report);
    }
    fn end(&mut self) {
        self.progress.end();
    }
}

/// Passes on what a transfer from the hub tells.
#[cfg(feature = "hub")]
pub(crate) struct Transfer<'a> {
    watch: &'a Watch,
    /// Bytes of the present file, while there is one.
    file: Option<u64>,
}

#[cfg(feature = "hub")]
impl<'a> Transfer<'a> {
    pub(crate) fn new(watch: &'a Watch) -> Self {
        Self { watch, file: None }
    }
}

#[cfg(feature = "hub")]
impl beit_weights::Progress for Transfer<'_> {
    fn begin(&mut self, file: &str, bytes: u64) {
        self.end();
        self.file = Some(0);
        self.watch.begin(&Task::Fetch { file, bytes });
    }
    fn advance(&mut self, bytes: u64) {
        if let Some(done) = &mut self.file {
            *done += bytes;
            self.watch.done(*done);
        }
    }
    fn end(&mut self) {
        if self.file.take().is_some() {
            self.watch.end();
        }
    }
    fn wait(&mut self, what: &str) {
        self.watch.note(what);
    }
}
