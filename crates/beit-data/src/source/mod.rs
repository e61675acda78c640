//! Where pictures come from.

mod cached;
#[cfg(feature = "fashion-mnist")]
mod embedded;
mod folder;
mod idx;
mod open;
mod part;
mod paths;
mod scan;

pub use cached::Cached;
#[cfg(feature = "fashion-mnist")]
pub use embedded::fashion_mnist;
pub use folder::Folder;
pub use idx::Idx;
pub use open::{SCHEMES, open};
pub use part::Part;

use crate::error::Result;
use crate::image::Image;

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
}
