use std::ops::Range;

use crate::error::{Error, Result};
#[cfg(doc)]
use crate::source::Source;

/// How a loader makes batches.
#[derive(Clone, Debug, PartialEq)]
pub struct LoaderConfig {
    /// Images of a batch.
    pub batch_size: usize,
    /// Key of order and augmentation.
    pub seed: u64,
    /// In which order the images of an epoch come.
    pub shuffle: Shuffle,
    /// Whether the images of an epoch that do not fill a batch are left out.
    pub drop_last: bool,
    /// How often each image occurs in an epoch, each time augmented anew.
    pub repeats: usize,
    /// How often an image stands in a row, each time augmented anew. The epoch is as long as with 1, so that it has fewer different images:
    /// repeated augmentation (arXiv 1902.05509), as DeiT's `RASampler`.
    pub copies: usize,
    /// Threads; 0 counts as 1.
    pub workers: usize,
    /// Batches kept ready beyond those in work.
    pub prefetch: usize,
    /// Share of the images that may be undecodable before loading ends with an error.
    pub max_bad_share: f64,
    /// Whether masks are read. Then an image without one, or whose mask is bad, counts as undecodable.
    pub masks: bool,
}

/// The order of the images of an epoch. All but [`Never`](Self::Never) are new in each epoch, and depend on (seed, epoch) and the source alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Shuffle {
    /// That of the indices.
    Never,
    /// By groups where the source has [several](Source::groups), else globally.
    #[default]
    Usual,
    /// Any image may come after any other: one order for all sources of the same images.
    Global,
    /// The groups of the source are shuffled, then the images within each window of some groups. Where one window has them all, that is
    /// the global order.
    Groups,
}

/// One of several processes that share the batches of each step: of a step of `each` · `of` batches, rank `rank` takes those from
/// `each` · `rank` on. Together they see what a single process would see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shard {
    /// This process, below `of`.
    pub rank: usize,
    /// Number of processes.
    pub of: usize,
}

impl Shard {
    /// A process that shares with nobody.
    pub const WHOLE: Self = Self { rank: 0, of: 1 };

    /// The number, through the batches of all processes, of batch `own` of this one, which takes `each` of a step.
    #[must_use]
    pub const fn batch(self, own: u64, each: u64) -> u64 {
        (own / each * self.of as u64 + self.rank as u64) * each + own % each
    }

    pub(super) fn check(self) -> Result<()> {
        let Self { rank, of } = self;
        match rank < of {
            true => Ok(()),
            false => Err(Error::Config(format!("expected a rank below {of}, found {rank}"))),
        }
    }
}

impl LoaderConfig {
    /// Shuffled, full batches only, a thread per core, at most 1 % undecodable.
    #[must_use]
    pub fn training(batch_size: usize, seed: u64) -> Self {
        Self { seed, shuffle: Shuffle::Usual, drop_last: true, ..Self::evaluation(batch_size) }
    }

    /// In order, every image once, a thread per core, at most 1 % undecodable.
    #[must_use]
    pub fn evaluation(batch_size: usize) -> Self {
        Self {
            batch_size,
            seed: 0,
            shuffle: Shuffle::Never,
            drop_last: false,
            repeats: 1,
            copies: 1,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            prefetch: 2,
            max_bad_share: 0.01,
            masks: false,
        }
    }

    /// The same, with masks.
    #[must_use]
    pub fn with_masks(self) -> Self {
        Self { masks: true, ..self }
    }

    /// Number of batches in an epoch of so many images, before a loader is made.
    ///
    /// # Errors
    ///
    /// [`Error::Config`], saying which setting cannot work and why.
    pub fn batches(&self, images: usize) -> Result<u64> {
        self.check(images)?;
        Ok(self.batches_per_epoch(images))
    }

    pub(super) fn check(&self, images: usize) -> Result<()> {
        let Self { batch_size, drop_last, repeats, copies, max_bad_share, .. } = *self;
        let total = images.checked_mul(repeats).unwrap_or(0);
        let problem = if batch_size == 0 || total == 0 {
            format!(
                "expected at least 1 image, repeat and image per batch, found {images}, {repeats} and {batch_size}"
            )
        } else if drop_last && total < batch_size {
            format!(
                "expected enough images for one batch of {batch_size}, found {total}: lower the batch size or repeat them"
            )
        } else if !(1..=total).contains(&copies) {
            format!(
                "expected each image 1 to {total} times in a row, as many as an epoch has, found {copies}"
            )
        } else if !(0.0..=1.0).contains(&max_bad_share) {
            format!("expected a share of undecodable files in 0 to 1, found {max_bad_share}")
        } else {
            return Ok(());
        };
        Err(Error::Config(problem))
    }

    pub(super) fn batches_per_epoch(&self, images: usize) -> u64 {
        let total = images * self.repeats;
        let batches = if self.drop_last { total / self.batch_size } else { total.div_ceil(self.batch_size) };
        batches as u64
    }

    /// The number of a view of an image through all epochs.
    pub(super) fn pass(&self, epoch: u64, repeat: usize, copy: usize) -> u64 {
        (epoch * self.repeats as u64 + repeat as u64) * self.copies as u64 + copy as u64
    }

    /// Positions in an epoch of `total` that make a batch.
    pub(super) fn positions(&self, number: u64, total: usize) -> Range<usize> {
        let start = number as usize * self.batch_size;
        start..(start + self.batch_size).min(total)
    }
}
