//! Files that keep what was found at a place, so that the next start need not look for it again.

mod bytes;
mod place;
mod stamp;
mod store;

pub(crate) use bytes::{Reader, Writer};
pub use place::Indexing;
pub(crate) use stamp::Stamp;
pub(crate) use store::{Kind, Stored, read, write};
