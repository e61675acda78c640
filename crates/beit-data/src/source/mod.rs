//! Where pictures come from.

mod cached;
#[cfg(feature = "fashion-mnist")]
mod embedded;
mod folder;
mod folder_index;
mod groups;
mod idx;
mod index;
mod kinds;
mod layout;
mod meaning;
mod names;
mod open;
mod pairs;
mod part;
mod paths;
mod reading;
mod scan;
#[cfg(feature = "fashion-mnist")]
mod scenes;
mod spelling;
#[cfg(any(feature = "parquet", feature = "arrow"))]
mod table;
mod table_spec;
mod tar;

pub use cached::Cached;
#[cfg(feature = "fashion-mnist")]
pub use embedded::fashion_mnist;
pub use folder::Folder;
pub use groups::Groups;
pub use idx::Idx;
pub use index::Indexing;
pub use kinds::Unread;
pub(crate) use kinds::endings;
pub use open::{SCHEMES, open, open_as, open_with, places};
pub use pairs::Pairs;
pub use part::Part;
#[cfg(feature = "fashion-mnist")]
pub use scenes::Scenes;
pub use spelling::normal_name;
#[cfg(any(feature = "parquet", feature = "arrow"))]
pub use table::Table;
pub use tar::Tar;

use crate::error::Result;
use crate::image::Image;
use crate::mask::Mask;
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

    /// The file of picture `index` as it is, for whoever decodes it in another way than [`image`](Self::image). None where it has no
    /// file of its own, and where it is read with its own channels, of which nothing but `image` knows the number.
    ///
    /// # Errors
    ///
    /// [`Error::Read`](crate::Error::Read), naming the file.
    fn encoded(&self, index: usize) -> Result<Option<Vec<u8>>> {
        let _ = index;
        Ok(None)
    }

    /// The class of picture `index`, a number below `class_names().len()`, if it has one.
    fn label(&self, index: usize) -> Option<u32>;

    /// Names of the classes, in the order of their numbers; none where pictures have no labels.
    fn class_names(&self) -> &[String];

    /// `[height, width]` of picture `index` as it stands upright. Where its header says that, nothing is decoded.
    ///
    /// # Errors
    ///
    /// Those of [`image`](Self::image).
    fn size(&self, index: usize) -> Result<[usize; 2]> {
        self.image(index).map(|image| [image.height(), image.width()])
    }

    /// The mask of picture `index`; none where pictures have no masks.
    ///
    /// # Errors
    ///
    /// [`Error::Mask`](crate::Error::Mask), naming the file.
    fn mask(&self, index: usize) -> Result<Option<Mask>> {
        let _ = index;
        Ok(None)
    }

    /// The mask of picture `index`, for people.
    fn mask_name(&self, index: usize) -> String {
        self.name(index)
    }

    /// Names of the classes of pixels, in the order of their numbers; none where pictures have no masks. Where nothing but the masks
    /// says which classes there are, the first call reads them all.
    fn mask_classes(&self) -> &[String] {
        &[]
    }

    /// Colours of the classes of pixels, one for each, where the data say them.
    fn mask_palette(&self) -> Option<&[[u8; 3]]> {
        None
    }

    /// How pictures lie together, where reading one of them means to read its neighbours; none where each stands for itself.
    fn groups(&self) -> Option<Groups> {
        None
    }

    /// Says that pictures will be asked for in an order that pays no heed to [groups](Self::groups), so that reading neighbours ahead is
    /// of no use.
    fn scatter(&self) {}

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
