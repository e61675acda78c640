//! Kinds of files, by their endings.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

use crate::bands::Bands;

/// Endings of images, compared without case. Of a GIF the first picture is read.
const READ: [&str; 10] = ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "tif", "tiff", "gif"];
/// Endings of what holds pictures too, and is not read.
const UNREAD: [&str; 44] = [
    "ai", "apng", "arw", "avif", "cr2", "cr3", "dcm", "dib", "dng", "emf", "eps", "exr", "hdr", "heic",
    "heics", "heif", "hif", "ico", "j2c", "j2k", "jp2", "jpf", "jpx", "jxl", "nef", "nii", "npy", "npz",
    "orf", "pbm", "pcx", "pgm", "pnm", "ppm", "psb", "psd", "qoi", "raf", "raw", "rw2", "svg", "tga", "wmf",
    "xcf",
];
/// The ending of arrays of NumPy.
const ARRAY: &str = "npy";
/// Folders that a system puts beside its user's own: nothing in them is theirs.
const FOREIGN: [&str; 4] = ["__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information"];

/// What a file is, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Image,
    /// It looks like an image and is not read: its ending, in small letters.
    Unread(String),
    Other,
}

impl Kind {
    /// Arrays of NumPy are read only where pictures are read as they are, with so many channels.
    pub(crate) fn of(name: &OsStr, bands: Option<Bands>) -> Self {
        let Some(ending) = Path::new(name).extension().and_then(OsStr::to_str) else { return Self::Other };
        let ending = ending.to_ascii_lowercase();
        match ending.as_str() {
            known if is_read(known, bands) => Self::Image,
            known if UNREAD.contains(&known) => Self::Unread(ending),
            _ => Self::Other,
        }
    }
}

/// Whether files of an ending, in small letters, are pictures.
pub(crate) fn is_read(ending: &str, bands: Option<Bands>) -> bool {
    READ.contains(&ending) || ending == ARRAY && bands.is_some()
}

/// Whether nothing of this name is looked at: hidden files, the `._a.png` that macOS writes beside `a.png` among them, and folders
/// of a system.
pub(crate) fn is_skipped(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".") || FOREIGN.iter().any(|foreign| name == *foreign)
}

/// Files that look like images and are not read, counted by their endings.
///
/// ```
/// let mut unread = beit_data::Unread::default();
/// unread.add("heic");
/// unread.add("psd");
/// unread.add("heic");
/// assert_eq!((unread.files(), unread.to_string()), (3, "2 heic, 1 psd".to_owned()));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unread(BTreeMap<String, usize>);

impl Unread {
    /// Counts a file with this ending.
    pub fn add(&mut self, ending: impl Into<String>) {
        *self.0.entry(ending.into()).or_default() += 1;
    }

    /// How many there are.
    #[must_use]
    pub fn files(&self) -> usize {
        self.0.values().sum()
    }

    /// Endings, and how many files have each.
    pub(crate) fn counts(&self) -> impl ExactSizeIterator<Item = (&String, &usize)> {
        self.0.iter()
    }

    /// So many files with this ending.
    pub(crate) fn set(&mut self, ending: String, files: usize) {
        self.0.insert(ending, files);
    }

    /// Counts those of another folder too.
    pub(crate) fn extend(&mut self, other: &Self) {
        other.0.iter().for_each(|(ending, files)| *self.0.entry(ending.clone()).or_default() += files);
    }

    /// A sentence about them behind an error; empty where there are none.
    pub(crate) fn remark(&self) -> String {
        match self.files() {
            0 => String::new(),
            _ => format!(", found {self}, which cannot be read: convert them"),
        }
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.0.iter().map(|(ending, files)| format!("{files} {ending}")).collect();
        f.write_str(&all.join(", "))
    }
}

/// The endings that are read, for people.
pub(crate) fn endings() -> String {
    let [all @ .., last] = READ;
    format!("{} or {last}", all.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_tell_what_a_file_is() {
        let kind = |name: &str| Kind::of(OsStr::new(name), None);
        for name in ["a.jpg", "a.JPE", "a.Jfif", "a.b.TIF", "a.tiff", "a.bmp", "a.GIF", "a.png", "a.webp"] {
            assert_eq!(kind(name), Kind::Image, "{name}");
        }
        assert_eq!(kind("a.HEIC"), Kind::Unread("heic".into()));
        assert_eq!(kind("a.npy"), Kind::Unread("npy".into()));
        let of_channels = |name: &str| Kind::of(OsStr::new(name), Bands::new(5));
        assert_eq!([of_channels("a.NPY"), of_channels("a.tif")], [Kind::Image, Kind::Image]);
        assert_eq!(of_channels("a.npz"), Kind::Unread("npz".into()));
        for name in ["notes.txt", "jpg", "a.", "noext", "Thumbs.db", "labels.csv"] {
            assert_eq!(kind(name), Kind::Other, "{name}");
        }
        assert!(UNREAD.is_sorted() && !UNREAD.iter().any(|ending| READ.contains(ending)));
    }

    #[test]
    fn what_is_not_the_owners_is_skipped() {
        for name in ["._a.png", ".git", ".ipynb_checkpoints", "__MACOSX", "@eaDir"] {
            assert!(is_skipped(OsStr::new(name)), "{name}");
        }
        assert!(!is_skipped(OsStr::new("a.png")) && !is_skipped(OsStr::new("_b")));
    }
}
