//! One shard: its index, made or read.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::reading::ShardFile;
use super::samples::{NONE, Samples, TEXT, collect};
use super::walk::{BLOCK, Problem};
use crate::bands::Bands;
use crate::decode::MAX_PICTURE_BYTES;
use crate::error::{Error, Result};
use crate::files::{open_regular, read_exact_at};
use crate::source::index::{Indexing, Kind, Reader, Stamp, Stored, Writer, read, write};

/// A shard and where its samples lie.
pub(super) struct Shard {
    pub(super) file: ShardFile,
    pub(super) samples: Samples,
    /// What its owner should know.
    pub(super) notes: Vec<String>,
}

impl Shard {
    /// Reads the index of a shard, or makes it and keeps it for the next time.
    pub(super) fn open(path: &Path, bands: Option<Bands>, indexing: &Indexing) -> Result<Self> {
        let error = |source| Error::Read { path: path.to_owned(), source };
        let file = open_regular(path, u64::MAX).map_err(error)?;
        let stamp = file.metadata().and_then(|data| Stamp::of(&data)).map_err(error)?;
        let places = Places::of(path, bands, indexing);
        let (kept, mut notes) = places.read(stamp);
        let samples = match kept {
            Some(samples) => samples,
            None => {
                refuse_compressed(&file, stamp.length, path)?;
                let samples =
                    collect(&file, stamp.length, bands).map_err(|problem| unusable(path, problem))?;
                notes.extend(places.write(stamp, &samples));
                samples
            }
        };
        notes.extend(samples.remarks.iter().map(|remark| format!("{}: {remark}", path.display())));
        Ok(Self { file: ShardFile::new(path.to_owned(), stamp), samples, notes })
    }
}

fn unusable(path: &Path, problem: Problem) -> Error {
    match problem {
        Problem::Read(source) => Error::Read { path: path.to_owned(), source },
        Problem::Cut(why, _) => Error::Shard {
            path: path.to_owned(),
            problem: format!("{why}, before its first sample is whole"),
        },
        Problem::Damaged(why) => {
            Error::Shard { path: path.to_owned(), problem: format!("expected a tar archive: {why}") }
        }
    }
}

/// In a compressed archive nothing can be found without reading all before it.
fn refuse_compressed(file: &File, length: u64, path: &Path) -> Result<()> {
    const KINDS: [(&[u8], &str, &str); 4] = [
        (&[0x1f, 0x8b], "gzip", "gunzip"),
        (&[0x28, 0xb5, 0x2f, 0xfd], "zstd", "unzstd"),
        (b"\xfd7zXZ", "xz", "unxz"),
        (b"BZh", "bzip2", "bunzip2"),
    ];
    let mut first = [0; 5];
    if length < first.len() as u64 {
        return Ok(());
    }
    read_exact_at(file, &mut first, 0).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    match KINDS.iter().find(|(magic, ..)| first.starts_with(magic)) {
        None => Ok(()),
        Some((_, kind, tool)) => Err(Error::Shard {
            path: path.to_owned(),
            problem: format!(
                "it is compressed by {kind}, so that single pictures cannot be read; unpack it first: {tool} {}",
                path.display()
            ),
        }),
    }
}

/// Where the index of a shard may lie, the first choice first.
struct Places<'a> {
    shard: &'a Path,
    /// How the shard is called whatever the folder that somebody is in.
    whole: PathBuf,
    places: Vec<PathBuf>,
}

impl<'a> Places<'a> {
    /// Which files are pictures depends on whether they are read as they are, so these are two indices.
    fn of(shard: &'a Path, bands: Option<Bands>, indexing: &Indexing) -> Self {
        let whole = shard.canonicalize().unwrap_or_else(|_| shard.to_owned());
        let (beside, part) = if bands.is_some() { (".channels", "shard-channels") } else { ("", "shard") };
        let places = [indexing.place_beside(shard, beside), indexing.place_in_cache(&whole, part)];
        Self { shard, places: places.into_iter().flatten().collect(), whole }
    }

    /// What the first index holds that is of this shard as it is, and what is to be said of others.
    fn read(&self, stamp: Stamp) -> (Option<Samples>, Vec<String>) {
        let mut notes = Vec::new();
        for place in &self.places {
            let contents = match read(place, Kind::Shard) {
                Stored::None => continue,
                Stored::Unusable(why) => Err(why),
                Stored::Contents(contents) => Ok(contents),
            };
            match contents.and_then(|contents| decode(&contents, &self.whole, stamp)) {
                Ok(samples) => return (Some(samples), Vec::new()),
                Err(why) => notes.push(format!(
                    "{}: its index {} is made again: {why}",
                    self.shard.display(),
                    place.display()
                )),
            }
        }
        (None, notes)
    }

    /// Keeps an index at the first place that takes it; what is to be said where none does.
    fn write(&self, stamp: Stamp, samples: &Samples) -> Option<String> {
        let contents = encode(samples, &self.whole, stamp);
        let mut problem = None;
        for place in &self.places {
            match write(place, Kind::Shard, &contents) {
                Ok(()) => return None,
                Err(error) => {
                    problem = Some(format!(
                        "{}: its index cannot be kept at {}: {error}",
                        self.shard.display(),
                        place.display()
                    ))
                }
            }
        }
        problem
    }
}

fn encode(samples: &Samples, whole: &Path, stamp: Stamp) -> Writer {
    let mut to = Writer::default();
    to.bytes(whole.as_os_str().as_encoded_bytes());
    stamp.write(&mut to);
    to.names(&samples.names);
    [&samples.blocks, &samples.sizes, &samples.classes].into_iter().for_each(|numbers| to.u32s(numbers));
    to.texts(&samples.texts);
    to.texts(&samples.remarks);
    to
}

/// The samples of an index, where it is of this shard as it is and nothing in it lies outside the shard. A shard that was moved with
/// its index is the same.
fn decode(contents: &[u8], whole: &Path, stamp: Stamp) -> std::result::Result<Samples, String> {
    let mut from = Reader(contents);
    let damaged = || "it is damaged".to_owned();
    let of = from.bytes().ok_or_else(damaged)?;
    let was = Stamp::read(&mut from).ok_or_else(damaged)?;
    let name = |path: &[u8]| path.rsplit(|&byte| byte == b'/' || byte == b'\\').next().map(<[u8]>::to_vec);
    if name(of) != name(whole.as_os_str().as_encoded_bytes()) {
        return Err("it is of another shard".to_owned());
    }
    if was != stamp {
        return Err("the shard has changed since".to_owned());
    }
    let samples = numbers(&mut from).ok_or_else(damaged)?;
    if from.0.is_empty() && is_sound(&samples, stamp.length) { Ok(samples) } else { Err(damaged()) }
}

fn numbers(from: &mut Reader<'_>) -> Option<Samples> {
    Some(Samples {
        names: from.names()?,
        blocks: from.u32s()?,
        sizes: from.u32s()?,
        classes: from.u32s()?,
        texts: from.texts()?,
        remarks: from.texts()?,
    })
}

/// Whether every sample lies in the shard, and everything that it says is there.
fn is_sound(samples: &Samples, length: u64) -> bool {
    let Samples { names, blocks, sizes, classes, texts, .. } = samples;
    let count = names.len();
    let inside = |(&block, &size): (&u32, &u32)| {
        let end = u64::from(block) * BLOCK + u64::from(size);
        end <= length && u64::from(size) <= MAX_PICTURE_BYTES
    };
    let known = |&class: &u32| class == NONE || class < TEXT || ((class & !TEXT) as usize) < texts.len();
    [blocks.len(), sizes.len(), classes.len()] == [count; 3]
        && blocks.iter().zip(sizes).all(inside)
        && classes.iter().all(known)
        && (0..count).all(|index| std::str::from_utf8(names.get(index)).is_ok())
}
