//! Batches in a reproducible order, decoded ahead on threads.

mod batches;
mod config;
mod order;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

pub use batches::{Batch, Batches};
pub use config::{LoaderConfig, Shard, Shuffle};

use self::order::Order;
use crate::batch::Sample;
use crate::error::{BadFile, Error, Result};
use crate::image::Image;
use crate::mask::Mask;
use crate::ordered::Ordered;
use crate::pair::pair;
use crate::rng::{Purpose, SampleRng, sample_rng};
use crate::source::Source;

/// One decoded picture on its way into a batch.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its index in the source.
    pub index: usize,
    /// Its class, if it has one.
    pub label: Option<u32>,
    /// The picture; of a loader that [reduces](Loader::reducing) it may be smaller than in its file.
    pub image: Image,
    /// `[height, width]` of the picture in its file.
    pub size: [usize; 2],
    /// The classes of its pixels, as large as the picture, where the loader [reads masks](LoaderConfig::masks). Then it is always
    /// there.
    pub mask: Option<Mask>,
}

type MakeSample<S> = dyn Fn(Item, &mut SampleRng) -> S + Send + Sync;
type Reduction = dyn Fn([usize; 2], &mut SampleRng) -> u32 + Send + Sync;
type OnBadFile = dyn Fn(&BadFile) + Send + Sync;

/// Turns a source into batches of samples `S`.
///
/// Batches are numbered through all epochs: batch `g` is number `g % batches_per_epoch` of epoch `g / batches_per_epoch`.
/// What is in it depends on the seed, the settings and `g` only, not on the number of threads or the batch at which
/// loading began, so a run is resumed by asking for the batches it has not seen; no image is read to get there.
pub struct Loader<S> {
    shared: Arc<Shared<S>>,
    reduction: Option<Arc<Reduction>>,
    on_bad_file: Option<Arc<OnBadFile>>,
}

/// What the worker threads need.
struct Shared<S> {
    source: Arc<dyn Source>,
    /// The images of an epoch, as indices of the source.
    indices: Vec<usize>,
    config: LoaderConfig,
    make: Box<MakeSample<S>>,
    orders: Order,
    /// The epoch whose order was asked for last, and that order.
    order: Mutex<Option<(u64, Arc<[usize]>)>>,
    /// Files that could not be decoded, by index, as far as their batches were handed out.
    bad: Mutex<BTreeMap<usize, BadFile>>,
}

impl<S: Sample> Loader<S> {
    /// A loader of the images `indices` of a source. `make` turns a decoded picture into a sample, with a generator that
    /// is keyed by (seed, epoch, index).
    ///
    /// # Errors
    ///
    /// [`Error::Config`], saying which setting cannot work and why.
    ///
    /// # Panics
    ///
    /// If an index is not one of the source's.
    pub fn new(
        source: Arc<dyn Source>,
        indices: Vec<usize>,
        config: LoaderConfig,
        make: impl Fn(Item, &mut SampleRng) -> S + Send + Sync + 'static,
    ) -> Result<Self> {
        config.check(indices.len())?;
        assert!(indices.iter().all(|&index| index < source.len()), "an index is outside the source");
        let orders = Order::new(config.shuffle, &*source, &indices, config.repeats)?;
        let (order, bad) = (Mutex::new(None), Mutex::new(BTreeMap::new()));
        let shared = Shared { source, indices, config, make: Box::new(make), orders, order, bad };
        Ok(Self { shared: Arc::new(shared), reduction: None, on_bad_file: None })
    }

    /// Decodes JPEG files smaller where `factor` says so, of the `[height, width]` of a picture and the random numbers that its sample
    /// will see: 1, 2, 4 or 8 times ([`Image::decode_reduced`]). Pictures without a file of their own, and those with masks, keep their size.
    #[must_use]
    pub fn reducing(
        self,
        factor: impl Fn([usize; 2], &mut SampleRng) -> u32 + Send + Sync + 'static,
    ) -> Self {
        Self { reduction: Some(Arc::new(factor)), ..self }
    }

    /// Calls `report` once for each file that cannot be decoded, when its batch is handed out.
    #[must_use]
    pub fn on_bad_file(mut self, report: impl Fn(&BadFile) + Send + Sync + 'static) -> Self {
        self.on_bad_file = Some(Arc::new(report));
        self
    }

    /// Number of batches in an epoch, at least 1.
    #[must_use]
    pub fn batches_per_epoch(&self) -> u64 {
        self.shared.config.batches_per_epoch(self.shared.indices.len())
    }

    /// Number of different images in an epoch.
    #[must_use]
    pub fn images(&self) -> usize {
        self.shared.indices.len()
    }

    /// Images of the batches before this one, those that cannot be decoded among them.
    #[must_use]
    pub fn images_before(&self, batch: u64) -> usize {
        let images =
            usize::try_from(batch).unwrap_or(usize::MAX).saturating_mul(self.shared.config.batch_size);
        images.min(self.images())
    }

    /// Files that could not be decoded so far, by index.
    #[must_use]
    pub fn bad_files(&self) -> Vec<BadFile> {
        self.shared.bad_files()
    }

    /// The images that batch `batch` asks for, in its order: indices of the source, those of files that cannot be decoded among them. Nothing is
    /// read.
    #[must_use]
    pub fn asked_for(&self, batch: u64) -> Vec<usize> {
        let (epoch, number) = self.within_epoch(batch);
        let order = self.shared.order(epoch);
        let positions = self.shared.config.positions(number, order.len());
        positions.map(|position| self.shared.asked_for(&order, position).index).collect()
    }

    /// The images of batch `batch`, each as a batch of its own, changed in the same random way; none of those that cannot be decoded.
    pub fn one_by_one(&self, batch: u64) -> impl Iterator<Item = Batch<S>> {
        let (epoch, number) = self.within_epoch(batch);
        let positions = self.shared.config.positions(number, self.shared.order(epoch).len());
        let reduction = self.reduction.as_deref();
        let one = move |position| self.shared.made((epoch, number), position..position + 1, reduction).batch;
        positions.filter_map(one)
    }

    /// The epoch of a batch, and its number in it.
    fn within_epoch(&self, batch: u64) -> (u64, u64) {
        (batch / self.batches_per_epoch(), batch % self.batches_per_epoch())
    }

    /// The batches of one epoch.
    ///
    /// # Errors
    ///
    /// [`Error::Thread`].
    pub fn epoch(&self, epoch: u64) -> Result<Batches<S>> {
        let batches = self.batches_per_epoch();
        self.batches(epoch * batches..(epoch + 1) * batches)
    }

    /// The batches of a range of numbers, which may begin anywhere and span epochs.
    ///
    /// # Errors
    ///
    /// [`Error::Thread`].
    pub fn batches(&self, range: Range<u64>) -> Result<Batches<S>> {
        self.batches_of(range, 1, Shard::WHOLE)
    }

    /// The batches that one of several processes sees in some steps, `each` in every step.
    ///
    /// # Errors
    ///
    /// [`Error::Thread`], and [`Error::Config`] for a process that is not one of them.
    ///
    /// # Panics
    ///
    /// If `each` is 0.
    pub fn batches_of(&self, steps: Range<u64>, each: u64, shard: Shard) -> Result<Batches<S>> {
        assert!(each > 0, "a step without batches");
        shard.check()?;
        let own = steps.start * each..steps.end.max(steps.start) * each;
        self.numbered(own, move |own| shard.batch(own, each))
    }

    /// The batches of a range of numbers that one of several processes looks at where they take turns.
    ///
    /// # Errors
    ///
    /// As [`batches_of`](Loader::batches_of).
    pub fn turns(&self, range: Range<u64>, shard: Shard) -> Result<Batches<S>> {
        shard.check()?;
        let Shard { rank, of } = shard;
        let (start, rank, of) = (range.start, rank as u64, of as u64);
        let own = range.end.saturating_sub(start + rank).div_ceil(of);
        self.numbered(0..own, move |own| start + own * of + rank)
    }

    fn numbered(
        &self,
        own: Range<u64>,
        number: impl Fn(u64) -> u64 + Copy + Send + Sync + 'static,
    ) -> Result<Batches<S>> {
        let (shared, per_epoch) = (Arc::clone(&self.shared), self.batches_per_epoch());
        let reduction = self.reduction.clone();
        let job =
            move |own| shared.batch(number(own) / per_epoch, number(own) % per_epoch, reduction.as_deref());
        let LoaderConfig { workers, prefetch, .. } = self.shared.config;
        let ordered =
            Ordered::start(own.clone(), workers, workers.max(1) + prefetch, job).map_err(Error::Thread)?;
        let numbers = Box::new(own.map(number));
        Ok(Batches::new(ordered, numbers, Arc::clone(&self.shared), self.on_bad_file.clone()))
    }
}

/// What stands at a position of an epoch.
struct Asked {
    /// Of the source.
    index: usize,
    /// Which of the times that it occurs in the epoch.
    repeat: usize,
    /// Which of the times that it stands there in a row.
    copy: usize,
}

/// What a worker makes of one batch.
struct Made<S: Sample> {
    /// `None` where no image of it can be decoded.
    batch: Option<Batch<S>>,
    bad: Vec<BadFile>,
    /// What ends loading.
    failed: Option<Error>,
}

impl<S> Shared<S> {
    fn bad_files(&self) -> Vec<BadFile> {
        self.bad.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Adds files; those that are new, and all there are now.
    fn add_bad(&self, found: Vec<BadFile>) -> (Vec<BadFile>, Vec<BadFile>) {
        let mut bad = self.bad.lock().unwrap_or_else(PoisonError::into_inner);
        let new: Vec<BadFile> = found.into_iter().filter(|file| !bad.contains_key(&file.index)).collect();
        bad.extend(new.iter().map(|file| (file.index, file.clone())));
        (new, bad.values().cloned().collect())
    }

    fn asked_for(&self, order: &[usize], position: usize) -> Asked {
        let (place, copy) = (order[position / self.config.copies], position % self.config.copies);
        let (index, repeat) = (self.indices[place % self.indices.len()], place / self.indices.len());
        Asked { index, repeat, copy }
    }

    fn too_many_bad(&self, bad: Vec<BadFile>) -> Error {
        Error::TooManyBad { bad, total: self.indices.len(), allowed: 100.0 * self.config.max_bad_share }
    }
}

impl<S: Sample> Shared<S> {
    fn batch(&self, epoch: u64, number: u64, reduction: Option<&Reduction>) -> Made<S> {
        let positions = self.config.positions(number, self.order(epoch).len());
        self.made((epoch, number), positions, reduction)
    }

    /// What these positions of an epoch make, as the batch of this epoch and number.
    fn made(
        &self,
        (epoch, number): (u64, u64),
        positions: Range<usize>,
        reduction: Option<&Reduction>,
    ) -> Made<S> {
        let order = self.order(epoch);
        let (mut samples, mut indices, mut bad) = (Vec::new(), Vec::new(), Vec::new());
        let mut failed = None;
        for position in positions {
            let Asked { index, repeat, copy } = self.asked_for(&order, position);
            let pass = self.config.pass(epoch, repeat, copy);
            let rng = || sample_rng(self.config.seed, pass, index as u64, Purpose::Sample);
            match self.item(index, reduction.map(|factor| |size| factor(size, &mut rng()))) {
                Ok(item) => {
                    samples.push((self.make)(item, &mut rng()));
                    indices.push(index);
                }
                Err(error) if error.ends_loading() => {
                    failed = Some(error);
                    break;
                }
                Err(error) => {
                    let reason = reason(&error);
                    bad.push(BadFile { index, name: self.source.name(index), reason });
                }
            }
        }
        let batch =
            (!samples.is_empty()).then(|| Batch { epoch, number, indices, data: S::collate(samples) });
        Made { batch, bad, failed }
    }

    /// A picture, smaller where a `factor` of its size is asked for.
    fn item(&self, index: usize, factor: Option<impl FnOnce([usize; 2]) -> u32>) -> Result<Item> {
        let label = self.source.label(index);
        if self.config.masks {
            let (image, mask) = pair(&*self.source, index)?;
            return Ok(Item { index, label, size: image.size(), image, mask: Some(mask) });
        }
        let encoded = if factor.is_some() { self.source.encoded(index)? } else { None };
        let (image, size) = match (encoded, factor) {
            (Some(bytes), Some(factor)) => Image::decode_reduced(&bytes, &self.source.name(index), factor)?,
            _ => {
                let image = self.source.image(index)?;
                let size = image.size();
                (image, size)
            }
        };
        Ok(Item { index, label, image, size, mask: None })
    }

    /// The order of an epoch: numbers below images · repeats.
    fn order(&self, epoch: u64) -> Arc<[usize]> {
        let n = self.indices.len() * self.config.repeats;
        let epoch = if self.orders.is_fixed() { 0 } else { epoch };
        let mut last = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((cached, order)) if *cached == epoch => Arc::clone(order),
            _ => {
                let order: Arc<[usize]> = self.orders.of(n, self.config.seed, epoch).into();
                *last = Some((epoch, Arc::clone(&order)));
                order
            }
        }
    }
}

/// What a decoder says, without the name of the file, which is told apart.
fn reason(error: &Error) -> String {
    match error {
        Error::Decode { reason, .. } => reason.clone(),
        Error::Read { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}
