use std::sync::Arc;

use super::{Made, OnBadFile, Shared};
use crate::batch::Sample;
use crate::error::{BadFile, Error, Result};
use crate::ordered::Ordered;

/// One batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch<S: Sample> {
    /// Its epoch.
    pub epoch: u64,
    /// Its number in the epoch.
    pub number: u64,
    /// The images in it, as indices of the source, `[B]`. Undecodable ones are left out, not replaced.
    pub indices: Vec<usize>,
    /// The samples.
    pub data: S::Batch,
}

type Numbers = Box<dyn Iterator<Item = u64> + Send>;

/// Batches in order. A batch of which no image can be decoded is passed over. After an error there are no more.
///
/// Dropping it waits for the batches in work, one per thread at most.
pub struct Batches<S: Sample> {
    ordered: Ordered<Made<S>>,
    /// The numbers of the batches to come, through all epochs.
    numbers: Numbers,
    /// Whether any batch was handed out.
    any: bool,
    failed: bool,
    shared: Arc<Shared<S>>,
    on_bad_file: Option<Arc<OnBadFile>>,
}

impl<S: Sample> Batches<S> {
    pub(super) fn new(
        ordered: Ordered<Made<S>>,
        numbers: Numbers,
        shared: Arc<Shared<S>>,
        on_bad_file: Option<Arc<OnBadFile>>,
    ) -> Self {
        Self { ordered, numbers, any: false, failed: false, shared, on_bad_file }
    }

    /// How many batches may be asked for without waiting: none where loading is what takes the time, as many as a loader keeps ready
    /// beyond those in work where it is not.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.ordered.ready()
    }

    /// The next batch with an image in it.
    fn advance(&mut self) -> Result<Option<Batch<S>>> {
        while let Some(outcome) = self.ordered.next() {
            let number = self.numbers.next().unwrap_or_default();
            let made = outcome.map_err(|message| Error::WorkerPanicked { batch: number, message })?;
            self.record(made.bad)?;
            if let Some(error) = made.failed {
                return Err(error);
            }
            if made.batch.is_some() {
                self.any = true;
                return Ok(made.batch);
            }
        }
        if self.any { Ok(None) } else { self.none_is_good() }
    }

    /// Counts and reports new bad files; an error where there are too many.
    fn record(&self, found: Vec<BadFile>) -> Result<()> {
        if found.is_empty() {
            return Ok(());
        }
        let (new, bad) = self.shared.add_bad(found);
        // Outside the lock: the callback may ask the loader for its bad files.
        new.iter().for_each(|file| self.on_bad_file.iter().for_each(|report| report(file)));
        let (total, share) = (self.shared.indices.len(), self.shared.config.max_bad_share);
        let too_many = bad.len() as f64 > share * total as f64 || bad.len() == total;
        if too_many { Err(self.shared.too_many_bad(bad)) } else { Ok(()) }
    }

    /// The end without a single batch: fine where the range was empty, or all that is bad lay in it.
    fn none_is_good(&self) -> Result<Option<Batch<S>>> {
        let bad = self.shared.bad_files();
        if bad.len() < self.shared.indices.len() { Ok(None) } else { Err(self.shared.too_many_bad(bad)) }
    }
}

impl<S: Sample> Iterator for Batches<S> {
    type Item = Result<Batch<S>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let batch = self.advance();
        self.failed = batch.is_err();
        batch.transpose()
    }
}
