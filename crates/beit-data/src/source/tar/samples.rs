//! From the files of an archive to samples, as WebDataset names them.

use std::collections::HashMap;
use std::fs::File;

use super::walk::{BLOCK, Entry, Problem, Walk};
use crate::bands::Bands;
use crate::decode::MAX_PICTURE_BYTES;
use crate::files::read_exact_at;
use crate::source::kinds::{Unread, is_read};
use crate::source::names::Names;

/// No class.
pub(super) const NONE: u32 = u32::MAX;
/// Above this, a class is the number of a text; below, a number that a file says.
pub(super) const TEXT: u32 = 1 << 31;
/// Longest `cls` and longest `json`, in bytes.
const MAX_CLS: u64 = 64;
const MAX_JSON: u64 = 1 << 20;

/// The samples of a shard, in the order of their files.
#[derive(Default)]
pub(super) struct Samples {
    /// The name of each picture in the archive.
    pub(super) names: Names,
    /// Where its contents begin, in blocks.
    pub(super) blocks: Vec<u32>,
    /// Bytes of its contents.
    pub(super) sizes: Vec<u32>,
    /// What `cls` or `json` says: [`NONE`], a number, or from [`TEXT`] on the number of one of `texts`.
    pub(super) classes: Vec<u32>,
    pub(super) texts: Vec<String>,
    /// What its owner should know: parts of a sentence.
    pub(super) remarks: Vec<String>,
}

/// The sample that is being read.
struct Open {
    key: String,
    picture: Option<Entry>,
    class: u32,
    from_cls: bool,
}

/// What the walk counts.
#[derive(Default)]
struct Counts {
    unread: Unread,
    compound: usize,
    further: usize,
    large: usize,
    odd: usize,
    first_odd: String,
}

/// Walks through an archive and collects its samples.
struct Collector<'a> {
    file: &'a File,
    /// How pictures are read.
    bands: Option<Bands>,
    samples: Samples,
    numbers: HashMap<String, u32>,
    open: Option<Open>,
    counts: Counts,
}

/// The samples of an archive of `length` bytes. What follows a place that cannot be read is left out, with a remark.
pub(super) fn collect(file: &File, length: u64, bands: Option<Bands>) -> Result<Samples, Problem> {
    let mut walk = Walk::new(file, length);
    let (samples, numbers, counts) = (Samples::default(), HashMap::new(), Counts::default());
    let mut collector = Collector { file, bands, samples, numbers, open: None, counts };
    let problem = loop {
        match walk.next() {
            Ok(Some(entry)) => collector.add(entry)?,
            Ok(None) => break None,
            Err(error @ Problem::Read(_)) => return Err(error),
            Err(problem) => break Some(problem),
        }
    };
    collector.end(problem, &walk)
}

impl Collector<'_> {
    fn add(&mut self, entry: Entry) -> Result<(), Problem> {
        let Some((key, ending)) = key_and_ending(&entry.name) else { return Ok(()) };
        if self.open.as_ref().is_none_or(|open| open.key != key) {
            self.close();
            self.open = Some(Open { key: key.to_owned(), picture: None, class: NONE, from_cls: false });
        }
        match ending.as_str() {
            "cls" => {
                let class = self.said(&entry, MAX_CLS, number)?;
                self.set_class(class, true);
            }
            "json" => {
                let class = self.said(&entry, MAX_JSON, label)?;
                self.set_class(class, false);
            }
            known if is_read(known, self.bands) => self.picture(entry),
            other => self.count(other),
        }
        Ok(())
    }

    fn picture(&mut self, entry: Entry) {
        let Some(open) = &mut self.open else { return };
        let place = entry.offset / BLOCK;
        if entry.size > MAX_PICTURE_BYTES || place > u64::from(u32::MAX) {
            self.counts.large += 1;
        } else if open.picture.is_some() {
            self.counts.further += 1;
        } else {
            open.picture = Some(entry);
        }
    }

    /// A file that is neither a picture nor a label.
    fn count(&mut self, ending: &str) {
        use crate::source::kinds::Kind;
        match Kind::of(format!("x.{ending}").as_ref(), self.bands) {
            Kind::Image => self.counts.compound += 1,
            Kind::Unread(ending) => self.counts.unread.add(ending),
            Kind::Other => {}
        }
    }

    /// What a small file says of the class; what cannot be understood is counted.
    fn said(
        &mut self,
        entry: &Entry,
        most: u64,
        meaning: impl Fn(&[u8]) -> Result<Option<Class>, ()>,
    ) -> Result<u32, Problem> {
        let class = if entry.size > most {
            Err(())
        } else {
            let mut bytes = vec![0; entry.size as usize];
            read_exact_at(self.file, &mut bytes, entry.offset)?;
            meaning(&bytes)
        };
        Ok(match class {
            Ok(Some(Class::Number(number))) => number,
            Ok(Some(Class::Text(text))) => self.text(text),
            Ok(None) => NONE,
            Err(()) => {
                if self.counts.odd == 0 {
                    self.counts.first_odd.clone_from(&entry.name);
                }
                self.counts.odd += 1;
                NONE
            }
        })
    }

    fn text(&mut self, text: String) -> u32 {
        let texts = &mut self.samples.texts;
        TEXT | *self.numbers.entry(text).or_insert_with_key(|text| {
            texts.push(text.clone());
            texts.len() as u32 - 1
        })
    }

    /// `cls` wins over `json`.
    fn set_class(&mut self, class: u32, from_cls: bool) {
        if let Some(open) = &mut self.open
            && class != NONE
            && (from_cls || !open.from_cls)
        {
            (open.class, open.from_cls) = (class, from_cls);
        }
    }

    fn close(&mut self) {
        let Some(Open { picture: Some(Entry { name, offset, size }), class, .. }) = self.open.take() else {
            return;
        };
        self.samples.names.push(name.as_bytes());
        self.samples.blocks.push((offset / BLOCK) as u32);
        self.samples.sizes.push(size as u32);
        self.samples.classes.push(class);
    }

    /// Closes the last sample, where it may be whole: of an archive that is cut it may lack a file.
    fn end(mut self, problem: Option<Problem>, walk: &Walk<'_>) -> Result<Samples, Problem> {
        if self.samples.names.is_empty()
            && self.open.is_none()
            && let Some(problem) = problem
        {
            return Err(problem);
        }
        let why = match problem {
            Some(Problem::Cut(why, name)) => {
                let key = name.as_deref().and_then(key_and_ending).map(|(key, _)| key);
                let next = key.is_some_and(|key| self.open.as_ref().is_some_and(|open| open.key != key));
                self.open = self.open.filter(|_| next);
                Some(why)
            }
            Some(Problem::Damaged(why)) => {
                self.open = self.open.filter(|_| walk.ended);
                Some(why)
            }
            Some(error @ Problem::Read(_)) => return Err(error),
            None if !walk.ended && walk.is_begun() => {
                let labelled = self.samples.classes.iter().any(|&class| class != NONE);
                self.open = self.open.filter(|open| !labelled || open.class != NONE);
                Some("it has no mark of its end, so it may have been cut short".to_owned())
            }
            None => None,
        };
        self.close();
        if let Some(why) = why {
            self.remark(format!("{why}: {} samples before that are read", self.samples.names.len()));
        }
        self.remark_counts(walk.elsewhere);
        self.samples.shrink();
        Ok(self.samples)
    }

    fn remark_counts(&mut self, elsewhere: usize) {
        let Counts { unread, compound, further, large, odd, first_odd } = std::mem::take(&mut self.counts);
        let rows = [
            (
                unread.files(),
                format!("{} files that look like images are not read: {unread}", unread.files()),
            ),
            (
                compound,
                format!(
                    "{compound} pictures with further dots in their names are not read, since WebDataset takes what follows the first for the kind of a file"
                ),
            ),
            (further, format!("{further} further pictures of samples are not read")),
            (
                large,
                format!(
                    "{large} pictures are longer than {MAX_PICTURE_BYTES} bytes or lie behind 2 TiB, and are left out"
                ),
            ),
            (
                odd,
                format!(
                    "{odd} labels cannot be understood, first `{first_odd}`: expected the number of a class in cls, and in json an object"
                ),
            ),
            (
                elsewhere,
                format!("{elsewhere} links and sparse files are left out, since they have no contents here"),
            ),
        ];
        rows.into_iter().filter(|(count, _)| *count > 0).for_each(|(_, text)| self.remark(text));
    }

    fn remark(&mut self, text: String) {
        self.samples.remarks.push(text);
    }
}

impl Samples {
    /// Bytes in use.
    pub(super) fn memory(&self) -> usize {
        let numbers =
            [&self.blocks, &self.sizes, &self.classes].map(|numbers| size_of::<u32>() * numbers.capacity());
        self.names.memory() + numbers.iter().sum::<usize>()
    }

    fn shrink(&mut self) {
        self.names.shrink();
        [&mut self.blocks, &mut self.sizes, &mut self.classes].into_iter().for_each(Vec::shrink_to_fit);
    }
}

/// The name of a sample, up to the first dot behind the last slash, and the kind of its file, in small letters. None for hidden files
/// and those without a dot.
fn key_and_ending(name: &str) -> Option<(&str, String)> {
    let start = name.rfind('/').map_or(0, |slash| slash + 1);
    let dot = name[start..].find('.').filter(|&dot| dot > 0)?;
    Some((&name[..start + dot], name[start + dot + 1..].to_ascii_lowercase()))
}

/// A class, as a file says it.
enum Class {
    Number(u32),
    Text(String),
}

/// The number in a `cls`.
fn number(bytes: &[u8]) -> Result<Option<Class>, ()> {
    let text = std::str::from_utf8(bytes).map_err(drop)?.trim();
    let number = text.parse::<u32>().ok().filter(|&number| number < TEXT).ok_or(())?;
    Ok(Some(Class::Number(number)))
}

/// `label`, else `class`, of an object in JSON: a number or a name. Another value, such as a list, is no class.
fn label(bytes: &[u8]) -> Result<Option<Class>, ()> {
    let value: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(bytes).map_err(drop)?;
    Ok(["label", "class"].into_iter().find_map(|key| match value.get(key)? {
        serde_json::Value::Number(number) => {
            let number = u32::try_from(number.as_u64()?).ok().filter(|&number| number < TEXT)?;
            Some(Class::Number(number))
        }
        serde_json::Value::String(text) => Some(Class::Text(text.clone())),
        _ => None,
    }))
}
