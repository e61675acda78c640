use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use flate2::Crc;

/// Fewest images of a folder whose walk is worth an index: fewer are found in some milliseconds.
const LEAST_FILES: usize = 20_000;
/// Letters of a path that the name of its index shows.
const SHOWN: usize = 60;
/// Behind the name of every index.
pub(crate) const ENDING: &str = ".beit-index";

/// Where sources keep what they found for the next start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Indexing {
    /// Whether an index may lie beside the file that it is of.
    pub beside: bool,
    /// The folder of all others, which is made when it is needed; none are kept where there is none.
    pub cache: Option<PathBuf>,
    /// Folders with fewer images are walked at every start.
    pub least_files: usize,
}

impl Indexing {
    /// Beside the files, else in `beit` in the user's folder for caches: `$XDG_CACHE_HOME`, or `~/.cache`. Folders of 20,000 images
    /// and more have an index.
    #[must_use]
    pub fn standard() -> Self {
        let set = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let caches = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
        Self { beside: true, cache: caches.map(|caches| caches.join("beit")), least_files: LEAST_FILES }
    }

    /// Nothing is read or written: everything is looked for at every start.
    #[must_use]
    pub fn none() -> Self {
        Self { beside: false, cache: None, least_files: usize::MAX }
    }

    /// The index of a file, beside it; `part` tells several apart.
    pub(crate) fn place_beside(&self, path: &Path, part: &str) -> Option<PathBuf> {
        let mut name = OsString::from(path.file_name()?);
        name.push(part);
        name.push(ENDING);
        self.beside.then(|| path.with_file_name(name))
    }

    /// The index of something in the folder of caches. Two paths may have one place, so an index says whose it is.
    pub(crate) fn place_in_cache(&self, path: &Path, part: &str) -> Option<PathBuf> {
        let (text, mut crc) = (path.to_string_lossy(), Crc::new());
        crc.update(path.as_os_str().as_encoded_bytes());
        crc.update(part.as_bytes());
        let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' };
        let letters: Vec<char> = text.chars().map(plain).collect();
        let shown: String = letters[letters.len().saturating_sub(SHOWN)..].iter().collect();
        Some(self.cache.as_ref()?.join(format!(
            "{}-{part}-{:08x}{ENDING}",
            shown.trim_start_matches('.'),
            crc.sum()
        )))
    }
}

impl Default for Indexing {
    fn default() -> Self {
        Self::standard()
    }
}
