//! Shards of WebDataset: tar archives with pictures and their labels.

mod braces;
mod classes;
mod reading;
mod samples;
mod shard;
mod spec;
mod walk;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::SystemTime;

use super::Source;
use super::index::Indexing;
use crate::bands::Bands;
use crate::error::{Error, Result};
use crate::image::Image;
use crate::split::Split;
use classes::Classes;
use samples::NONE;
use shard::Shard;
use spec::Shards;
pub(crate) use spec::places;
use walk::BLOCK;

/// Shards that are indexed at once: what takes its time is waiting for a disk.
const MOST_THREADS: usize = 8;

/// Pictures in WebDataset's shards, which are tar archives. An index says where each of them lies, so that any is read at once and
/// nothing is unpacked.
///
/// Files with the same path up to the first dot behind the last slash are a sample: `ant/1.jpg` is its picture, `ant/1.cls` its class as
/// a number, `ant/1.json` an object whose `label` or `class` is a number or a name; others are passed over. Where no sample says a
/// class and all lie in folders, the folders are classes. `classes.txt` beside the shards has the name of a class in each line. Without
/// it, numbers are names, and names are numbered in their order.
///
/// Samples are numbered in the order of the shards, and of their files in these.
pub struct Tar {
    shards: Vec<Shard>,
    /// The number of the first sample of each shard.
    starts: Vec<usize>,
    len: usize,
    class_names: Vec<String>,
    notes: Vec<String>,
    /// How pictures are read.
    bands: Option<Bands>,
    /// Shards that are kept open.
    open: AtomicUsize,
}

impl Tar {
    /// Opens a split of what `spec` names: a shard, a folder, a range such as `shards/train-{000000..000146}.tar`, several of these
    /// between commas, or `@FILE`, a text file with one of them a line, from its folder on.
    ///
    /// - `TRAIN;TEST` says both splits; either may be left out.
    /// - Else a folder may hold folders of splits, by their [names](Split::folder_names).
    /// - Else a word in the name of each shard says its split (`photos-train-000000.tar`), or the folder it lies in. Where none does, all are for training; where
    ///   somebody named the shards themselves, and all are of one split, they are read for whichever split is asked.
    ///
    /// A test split takes the numbers of its classes from the training split, where there is one.
    ///
    /// # Errors
    ///
    /// [`Error::Shards`], [`Error::Shard`], [`Error::NoShards`] and [`Error::Read`].
    pub fn open(spec: &str, split: Split, indexing: &Indexing) -> Result<Self> {
        Self::open_as(spec, split, None, indexing)
    }

    /// The same with pictures of so many channels, which are read as they are ([`Image::open_as`]); files ending in `npy` are pictures then
    /// too, and indices are others.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_as(spec: &str, split: Split, bands: Option<Bands>, indexing: &Indexing) -> Result<Self> {
        let found = Shards::find(spec)?;
        let own = found.of(split);
        if own.is_empty() {
            return Err(Error::NoShards { spec: spec.to_owned(), split });
        }
        let mut shards = open_all(own, bands, indexing)?;
        let classes = match split {
            Split::Test if !found.train.is_empty() && found.train != found.test => {
                Classes::of(&open_all(&found.train, bands, indexing)?)?
            }
            _ => Classes::of(&shards)?,
        };
        classes.number(&mut shards)?;
        let notes = found
            .note
            .into_iter()
            .chain(shards.iter().flat_map(|shard| shard.notes.iter().cloned()))
            .collect();
        Ok(Self { bands, ..Self::of(shards, classes.names, notes, spec)? })
    }

    fn of(shards: Vec<Shard>, class_names: Vec<String>, notes: Vec<String>, spec: &str) -> Result<Self> {
        let mut len = 0;
        let start = |shard: &Shard| {
            len += shard.samples.names.len();
            len - shard.samples.names.len()
        };
        let starts = shards.iter().map(start).collect();
        if len == 0 {
            return Err(Error::Shards(format!("no picture in the shards of `{spec}`{}", said(&notes))));
        }
        Ok(Self { shards, starts, len, class_names, notes, bands: None, open: AtomicUsize::new(0) })
    }

    /// Bytes that are in use for the places, names and classes of pictures.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.shards.iter().map(|shard| shard.samples.memory()).sum()
    }

    /// The shard of a picture, and its number there.
    fn place(&self, index: usize) -> (&Shard, usize) {
        let shard = self.starts.partition_point(|&start| start <= index) - 1;
        (&self.shards[shard], index - self.starts[shard])
    }

    /// The bytes of a picture as they lie in its shard.
    fn bytes(&self, index: usize) -> Result<Vec<u8>> {
        let (shard, own) = self.place(index);
        let samples = &shard.samples;
        let offset = u64::from(samples.blocks[own]) * BLOCK;
        shard.file.read(offset, samples.sizes[own] as usize, &self.open)
    }
}

fn said(notes: &[String]) -> String {
    notes.iter().map(|note| format!("; {note}")).collect()
}

/// Opens shards by several threads; the first that cannot be opened is the error.
fn open_all(paths: &[PathBuf], bands: Option<Bands>, indexing: &Indexing) -> Result<Vec<Shard>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(path) = paths.get(number) else { return done };
            done.push((number, Shard::open(path, bands, indexing)));
        }
    };
    let mut all: Vec<(usize, Result<Shard>)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..paths.len().min(MOST_THREADS)).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker does not panic")).collect()
    });
    all.sort_by_key(|(number, _)| *number);
    all.into_iter().map(|(_, shard)| shard).collect()
}

impl Source for Tar {
    fn len(&self) -> usize {
        self.len
    }

    fn image(&self, index: usize) -> Result<Image> {
        Image::decode_as(&self.bytes(index)?, self.bands, &self.name(index))
    }

    fn encoded(&self, index: usize) -> Result<Option<Vec<u8>>> {
        self.bands.is_none().then(|| self.bytes(index)).transpose()
    }

    fn label(&self, index: usize) -> Option<u32> {
        let (shard, own) = self.place(index);
        shard.samples.classes.get(own).copied().filter(|&class| class != NONE)
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn size(&self, index: usize) -> Result<[usize; 2]> {
        Image::size_in_as(&self.bytes(index)?, self.bands, &self.name(index))
    }

    fn name(&self, index: usize) -> String {
        let (shard, own) = self.place(index);
        format!("{}: {}", shard.file.path.display(), String::from_utf8_lossy(shard.samples.names.get(own)))
    }

    /// Bytes of the picture, and when its shard was last changed.
    fn version(&self, index: usize) -> Option<(u64, SystemTime)> {
        let (shard, own) = self.place(index);
        Some((shard.samples.sizes[own].into(), shard.file.stamp.modified))
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }
}
