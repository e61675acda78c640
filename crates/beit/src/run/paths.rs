//! Where the parts of a run are.

use super::{Run, checkpoints, parts};
use std::path::PathBuf;

impl Run {
    pub(crate) fn path(&self, part: &str) -> PathBuf {
        self.dir.join(part)
    }

    /// The folder of the checkpoint after `step` steps.
    pub(crate) fn checkpoint(&self, step: u64) -> PathBuf {
        self.path(parts::CHECKPOINTS).join(checkpoints::name_of(step))
    }

    /// The folder of what stood before step `step`, which was not taken.
    pub(crate) fn spike(&self, step: u64) -> PathBuf {
        self.path(parts::SPIKES).join(checkpoints::name_of(step))
    }

    /// The folder of the tokenizer.
    pub(crate) fn tokenizer(&self) -> PathBuf {
        self.path(parts::TOKENIZER)
    }

    /// The folder of the tokenizer while it is trained.
    pub(crate) fn tokenizer_training(&self) -> PathBuf {
        self.path(parts::TOKENIZER_TRAINING)
    }

    /// The folder for pictures.
    pub(crate) fn pictures(&self) -> PathBuf {
        self.path(parts::PICTURES)
    }

    /// The file of what is measured.
    pub(crate) fn metrics(&self) -> PathBuf {
        self.path(parts::METRICS)
    }

    /// The folder of event files, if these are written.
    pub(crate) fn tensorboard(&self) -> Option<PathBuf> {
        self.has_events.then(|| self.path(parts::TENSORBOARD))
    }

    /// The page that shows the run.
    pub(crate) fn report(&self) -> PathBuf {
        self.path(parts::REPORT)
    }
}
