//! Where pictures come from.

mod cached;
#[cfg(feature = "fashion-mnist")]
mod embedded;
mod folder;
mod idx;
mod scan;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

pub use cached::Cached;
#[cfg(feature = "fashion-mnist")]
pub use embedded::fashion_mnist;
pub use folder::Folder;
pub use idx::Idx;

use crate::error::{Error, Result};
use crate::image::Image;

/// What [`open`] understands.
pub const SCHEMES: &[&str] = &[
    #[cfg(feature = "fashion-mnist")]
    "fashion-mnist",
    "idx:DIR",
    "folder:DIR",
];

/// A numbered set of pictures, with or without classes. Threads share it.
pub trait Source: Send + Sync {
    /// Number of pictures.
    fn len(&self) -> usize;

    /// Whether there is none. No source that this crate opens is empty.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Decodes picture `index`, below [`len`](Self::len).
    ///
    /// # Errors
    ///
    /// [`Error::Read`] or [`Error::Decode`], naming the file.
    fn image(&self, index: usize) -> Result<Image>;

    /// The class of picture `index`, a number below `class_names().len()`, if it has one.
    fn label(&self, index: usize) -> Option<u32>;

    /// Names of the classes, in the order of their numbers; none where pictures have no labels.
    fn class_names(&self) -> &[String];

    /// Picture `index`, for people: a path, or a file and a number.
    fn name(&self, index: usize) -> String;
}

/// Which part of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// To learn from.
    Train,
    /// Held out.
    Test,
}

impl Split {
    /// Names that a folder of this split may have, in the order in which they are looked for.
    #[must_use]
    pub const fn folder_names(self) -> &'static [&'static str] {
        match self {
            Self::Train => &["train"],
            Self::Test => &["val", "validation", "test"],
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Train => "train",
            Self::Test => "test",
        })
    }
}

/// Opens a source from one string: `fashion-mnist` (embedded), `idx:DIR` ([`Idx::open`]) or `folder:DIR` ([`Folder::open`]).
///
/// # Errors
///
/// [`Error::UnknownSource`], or what opening the source says.
pub fn open(spec: &str, split: Split) -> Result<Arc<dyn Source>> {
    match spec.split_once(':') {
        Some(("idx", dir)) => Ok(Arc::new(Idx::open(Path::new(dir), split)?)),
        Some(("folder", dir)) => Ok(Arc::new(Folder::open(Path::new(dir), split)?)),
        #[cfg(feature = "fashion-mnist")]
        None if spec == "fashion-mnist" => Ok(fashion_mnist(split)),
        _ => Err(Error::UnknownSource { spec: spec.to_owned() }),
    }
}
