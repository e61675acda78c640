//! Opening a source by a string.

use std::path::Path;
use std::sync::Arc;

use super::{Folder, Idx, Pairs, Source};
#[cfg(feature = "fashion-mnist")]
use super::{Scenes, fashion_mnist};
use crate::error::{Error, Result};
use crate::split::Split;

/// What [`open`] understands.
pub const SCHEMES: &[&str] = &[
    #[cfg(feature = "fashion-mnist")]
    "fashion-mnist",
    #[cfg(feature = "fashion-mnist")]
    "scenes",
    "idx:DIR",
    "folder:DIR",
    "ade:DIR",
    "masks:IMAGES,MASKS[,CLASSES]",
    #[cfg(feature = "parquet")]
    "parquet:PLACE[,PLACE…][,image=COLUMN][,label=COLUMN]",
    #[cfg(feature = "arrow")]
    "arrow:PLACE[,PLACE…][,image=COLUMN][,label=COLUMN]",
];

/// Opens a source from one string: `fashion-mnist` (embedded), `idx:DIR` ([`Idx::open`]) or `folder:DIR` ([`Folder::open`]); with masks,
/// `scenes` (embedded), `ade:DIR` ([`Pairs::ade`]) or `masks:IMAGES,MASKS[,CLASSES]` ([`Pairs::open`]), whose paths have no commas; and with
/// the features `parquet` and `arrow` the tables `parquet:PLACE` and `arrow:PLACE` (`Table::parquet`, `Table::arrow`).
///
/// # Errors
///
/// [`Error::UnknownSource`], or what opening the source says.
pub fn open(spec: &str, split: Split) -> Result<Arc<dyn Source>> {
    match spec.split_once(':') {
        Some(("idx", dir)) => Ok(Arc::new(Idx::open(Path::new(dir), split)?)),
        Some(("folder", dir)) => Ok(Arc::new(Folder::open(Path::new(dir), split)?)),
        Some(("ade", dir)) => Ok(Arc::new(Pairs::ade(Path::new(dir), split)?)),
        Some(("masks", paths)) => {
            let paths: Vec<&Path> = paths.split(',').map(Path::new).collect();
            match paths[..] {
                [images, masks] => Ok(Arc::new(Pairs::open(images, masks, None, split)?)),
                [images, masks, classes] => Ok(Arc::new(Pairs::open(images, masks, Some(classes), split)?)),
                _ => Err(Error::UnknownSource { spec: spec.to_owned(), known: SCHEMES }),
            }
        }
        #[cfg(feature = "parquet")]
        Some(("parquet", places)) => Ok(Arc::new(super::Table::parquet(places, split)?)),
        #[cfg(feature = "arrow")]
        Some(("arrow", places)) => Ok(Arc::new(super::Table::arrow(places, split)?)),
        #[cfg(feature = "fashion-mnist")]
        None if spec == "fashion-mnist" => Ok(fashion_mnist(split)),
        #[cfg(feature = "fashion-mnist")]
        None if spec == "scenes" => Ok(Arc::new(Scenes::standard(split))),
        _ => Err(Error::UnknownSource { spec: spec.to_owned(), known: SCHEMES }),
    }
}
