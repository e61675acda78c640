//! Where pictures come from.

mod cached;
#[cfg(feature = "fashion-mnist")]
mod embedded;
mod folder;
mod idx;
mod kinds;
mod layout;
mod open;
mod part;
mod paths;
mod reading;
mod scan;
mod spelling;

pub use cached::Cached;
#[cfg(feature = "fashion-mnist")]
pub use embedded::fashion_mnist;
pub use folder::Folder;
pub use idx::Idx;
pub use kinds::Unread;
pub(crate) use kinds::endings;
pub use open::{SCHEMES, open};
pub use part::Part;
pub use spelling::normal_name;

use crate::error::Result;
use crate::image::Image;
use std::path::Path;
use std::time::SystemTime;

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
    /// [`Error::Read`](crate::Error::Read) or [`Error::Decode`](crate::Error::Decode), naming the file.
    fn image(&self, index: usize) -> Result<Image>;

    /// The class of picture `index`, a number below `class_names().len()`, if it has one.
    fn label(&self, index: usize) -> Option<u32>;

    /// Names of the classes, in the order of their numbers; none where pictures have no labels.
    fn class_names(&self) -> &[String];

    /// Picture `index`, for people: a path, or a file and a number.
    fn name(&self, index: usize) -> String;

    /// How long the file of picture `index` is, in bytes, and when it was last changed: what tells whether it is still the same. None
    /// where it has no file of its own.
    fn version(&self, index: usize) -> Option<(u64, SystemTime)> {
        let _ = index;
        None
    }

    /// Files of a class that look like images and are not read. None where there is no saying.
    fn unread(&self, class: u32) -> Option<&Unread> {
        let _ = class;
        None
    }

    /// What its owner should know of how it was read: lines for a person.
    fn notes(&self) -> &[String] {
        &[]
    }
}

/// The [version](Source::version) of a file.
#[must_use]
pub fn file_version(path: &Path) -> Option<(u64, SystemTime)> {
    let data = std::fs::metadata(path).ok()?;
    Some((data.len(), data.modified().ok()?))
}
