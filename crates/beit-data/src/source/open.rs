//! Opening a source by a string.

use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "fashion-mnist")]
use super::fashion_mnist;
use super::{Folder, Idx, Source};
use crate::error::{Error, Result};
use crate::split::Split;

/// What [`open`] understands.
pub const SCHEMES: &[&str] = &[
    #[cfg(feature = "fashion-mnist")]
    "fashion-mnist",
    "idx:DIR",
    "folder:DIR",
];

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
        _ => Err(Error::UnknownSource { spec: spec.to_owned(), known: SCHEMES }),
    }
}
