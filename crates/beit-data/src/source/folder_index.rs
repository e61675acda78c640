//! What a walk through folders found, kept for the next start.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::folder::Folder;
use super::index::{Indexing, Kind, Reader, Stamp, Stored, Writer, read, write};
use super::kinds::Unread;
use super::names::{Names, os_name};
use super::paths::Paths;
use super::scan::folders_below;
use crate::bands::Bands;
use crate::error::Result;
use crate::split::Split;

/// A folder that changed so shortly before it was walked may change again without another time: file systems count in steps of up to
/// two seconds.
const STEP: Duration = Duration::from_secs(2);

/// What an index is of.
struct Key {
    /// The same wherever somebody stands.
    whole: PathBuf,
    /// As it is written: so the names of images begin, and what is said of them.
    spelt: PathBuf,
    split: Split,
    /// How pictures are read. Which files are pictures depends on whether there is a number here.
    bands: Option<Bands>,
}

/// Opens a folder by its index where that holds, else by walking through it.
pub(super) fn open(dir: &Path, split: Split, bands: Option<Bands>, indexing: &Indexing) -> Result<Folder> {
    let whole = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    let key = Key { whole, spelt: dir.to_owned(), split, bands };
    let Some(place) = indexing.place_in_cache(&key.whole, &key.part()) else {
        return Folder::open_as(dir, split, bands);
    };
    let problem = match read(&place, Kind::Folder) {
        Stored::None => None,
        Stored::Unusable(why) => Some(why),
        Stored::Contents(contents) => match decode(&contents, &key) {
            Some(found) if found.holds() => return Ok(found.folder),
            Some(_) => Some("a folder has changed since".to_owned()),
            None => Some("it is damaged, or of another folder".to_owned()),
        },
    };
    let begun = SystemTime::now();
    let mut folder = Folder::open_as(dir, split, bands)?;
    let kept =
        if folder.paths.len() >= indexing.least_files { keep(&place, &key, &folder, begun) } else { None };
    let made =
        problem.map(|why| format!("{}: its index {} is made again: {why}", dir.display(), place.display()));
    folder.notes.extend(made.into_iter().chain(kept));
    Ok(folder)
}

impl Key {
    /// What tells indices of one folder apart.
    fn part(&self) -> String {
        let channels = if self.bands.is_some() { "channels-" } else { "" };
        format!("{}-{channels}{}", self.split, spelling(&self.spelt))
    }
}

/// What tells ways to write one path apart, in few letters.
fn spelling(path: &Path) -> String {
    let mut crc = flate2::Crc::new();
    crc.update(path.as_os_str().as_encoded_bytes());
    format!("{:08x}", crc.sum())
}

/// Writes an index, unless a folder changed just now; what is to be said where it cannot be written.
fn keep(place: &Path, key: &Key, folder: &Folder, begun: SystemTime) -> Option<String> {
    let seen = Seen::below(&key.spelt)?;
    if seen.times.iter().any(|time| time.modified + STEP >= begun) {
        return None;
    }
    write(place, Kind::Folder, &encode(key, &seen, folder)).err().map(|error| {
        format!("{}: its index cannot be kept at {}: {error}", key.spelt.display(), place.display())
    })
}

/// Folders, and when each was last changed: what tells whether a walk would find the same.
struct Seen {
    folders: Names,
    times: Vec<Stamp>,
}

impl Seen {
    /// None where one cannot be looked at.
    fn below(dir: &Path) -> Option<Self> {
        let mut seen = Self { folders: Names::default(), times: Vec::new() };
        for folder in folders_below(dir) {
            seen.times.push(stamp(&folder)?);
            seen.folders.push(folder.as_os_str().as_encoded_bytes());
        }
        Some(seen)
    }
}

/// The length of a folder means nothing, and differs between systems.
fn stamp(folder: &Path) -> Option<Stamp> {
    let data = fs::metadata(folder).ok().filter(fs::Metadata::is_dir)?;
    Some(Stamp { length: 0, ..Stamp::of(&data).ok()? })
}

/// What an index holds.
struct Found {
    seen: Seen,
    folder: Folder,
}

impl Found {
    /// Whether all folders are as they were.
    fn holds(&self) -> bool {
        let Seen { folders, times } = &self.seen;
        folders.iter().zip(times).all(|(folder, time)| stamp(Path::new(&*os_name(folder))) == Some(*time))
    }
}

fn encode(key: &Key, seen: &Seen, folder: &Folder) -> Writer {
    let mut to = Writer::default();
    for path in [&key.whole, &key.spelt] {
        to.bytes(path.as_os_str().as_encoded_bytes());
    }
    to.u32(key.split as u32);
    to.u32(key.bands.is_some().into());
    to.names(&seen.folders);
    seen.times.iter().for_each(|time| time.write(&mut to));
    folder.paths.write(&mut to);
    to.u32s(&folder.labels);
    to.texts(&folder.class_names);
    to.texts(&folder.notes);
    for unread in &folder.unread {
        let counts = unread.counts();
        to.u64(counts.len() as u64);
        counts.for_each(|(ending, &files)| {
            to.bytes(ending.as_bytes());
            to.u64(files as u64);
        });
    }
    to
}

/// What an index of `key` holds, where it is sound.
fn decode(contents: &[u8], key: &Key) -> Option<Found> {
    let mut from = Reader(contents);
    for path in [&key.whole, &key.spelt] {
        (from.bytes()? == path.as_os_str().as_encoded_bytes()).then_some(())?;
    }
    (from.u32()? == key.split as u32).then_some(())?;
    (from.u32()? == u32::from(key.bands.is_some())).then_some(())?;
    let folders = from.names()?;
    let times = (0..folders.len()).map(|_| Stamp::read(&mut from)).collect::<Option<_>>()?;
    let paths = Paths::read(&mut from)?;
    let (labels, class_names, notes) = (from.u32s()?, from.texts()?, from.texts()?);
    let unread = class_names.iter().map(|_| unread(&mut from)).collect::<Option<_>>()?;
    let labelled = if class_names.is_empty() { labels.is_empty() } else { labels.len() == paths.len() };
    let known = labels.iter().all(|&label| (label as usize) < class_names.len());
    let sound = from.0.is_empty() && labelled && known;
    sound.then_some(Found {
        seen: Seen { folders, times },
        folder: Folder { paths, labels, class_names, unread, notes, bands: key.bands },
    })
}

fn unread(from: &mut Reader<'_>) -> Option<Unread> {
    let mut unread = Unread::default();
    for _ in 0..from.u64()? {
        unread.set(from.text()?, from.u64()? as usize);
    }
    Some(unread)
}
