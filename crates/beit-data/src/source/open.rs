//! Opening a source by a string.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Folder, Idx, Indexing, Pairs, Source, Tar};
#[cfg(feature = "fashion-mnist")]
use super::{Scenes, fashion_mnist};
use crate::bands::Bands;
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
    "tar:SHARDS",
    "ade:DIR",
    "masks:IMAGES,MASKS[,CLASSES]",
    #[cfg(feature = "parquet")]
    "parquet:PLACE[,PLACE…][,image=COLUMN][,label=COLUMN]",
    #[cfg(feature = "arrow")]
    "arrow:PLACE[,PLACE…][,image=COLUMN][,label=COLUMN]",
];

/// Opens a source from one string: `fashion-mnist` (embedded), `idx:DIR` ([`Idx::open`]), `folder:DIR` ([`Folder::open_indexed`]) or `tar:SHARDS`
/// ([`Tar::open`]); with masks, `scenes` (embedded), `ade:DIR` ([`Pairs::ade`]) or `masks:IMAGES,MASKS[,CLASSES]` ([`Pairs::open`]), whose paths have no commas; and with
/// the features `parquet` and `arrow` the tables `parquet:PLACE` and `arrow:PLACE` (`Table::parquet`, `Table::arrow`).
///
/// # Errors
///
/// [`Error::UnknownSource`], or what opening the source says.
pub fn open(spec: &str, split: Split) -> Result<Arc<dyn Source>> {
    open_as(spec, split, None)
}

/// The same with pictures of so many channels, which are read as they are ([`Image::open_as`](crate::Image::open_as)): of `folder`, `masks`,
/// `tar` and tables, and `scenes`, which have three.
///
/// # Errors
///
/// [`Error::NoBands`] for other sources, or those of [`open`].
pub fn open_as(spec: &str, split: Split, bands: Option<Bands>) -> Result<Arc<dyn Source>> {
    open_with(spec, split, bands, &Indexing::standard())
}

/// [`open_as`] where what sources find is kept as `indexing` says.
///
/// # Errors
///
/// Those of [`open_as`].
pub fn open_with(
    spec: &str,
    split: Split,
    bands: Option<Bands>,
    indexing: &Indexing,
) -> Result<Arc<dyn Source>> {
    if let Some(expected) = bands {
        check_bands(spec, expected)?;
    }
    match spec.split_once(':') {
        Some(("idx", dir)) => Ok(Arc::new(Idx::open(Path::new(dir), split)?)),
        Some(("folder", dir)) => Ok(Arc::new(Folder::open_indexed(Path::new(dir), split, bands, indexing)?)),
        Some(("tar", shards)) => Ok(Arc::new(Tar::open_as(shards, split, bands, indexing)?)),
        Some(("ade", dir)) => Ok(Arc::new(Pairs::ade(Path::new(dir), split)?)),
        Some(("masks", paths)) => {
            let paths: Vec<&Path> = paths.split(',').map(Path::new).collect();
            match paths[..] {
                [images, masks] => Ok(Arc::new(Pairs::open_as(images, masks, None, split, bands)?)),
                [images, masks, classes] => {
                    Ok(Arc::new(Pairs::open_as(images, masks, Some(classes), split, bands)?))
                }
                _ => Err(Error::UnknownSource { spec: spec.to_owned(), known: SCHEMES }),
            }
        }
        #[cfg(feature = "parquet")]
        Some(("parquet", places)) => Ok(Arc::new(super::Table::parquet(places, split)?.seen_as(bands))),
        #[cfg(feature = "arrow")]
        Some(("arrow", places)) => Ok(Arc::new(super::Table::arrow(places, split)?.seen_as(bands))),
        #[cfg(feature = "fashion-mnist")]
        None if spec == "fashion-mnist" => Ok(fashion_mnist(split)),
        #[cfg(feature = "fashion-mnist")]
        None if spec == "scenes" => Ok(Arc::new(Scenes::standard(split))),
        _ => Err(Error::UnknownSource { spec: spec.to_owned(), known: SCHEMES }),
    }
}

/// Refuses a source whose pictures have other channels, whatever is in its files.
fn check_bands(spec: &str, expected: Bands) -> Result<()> {
    let found = match spec.split_once(':').map_or(spec, |(scheme, _)| scheme) {
        "fashion-mnist" | "idx" => "grey of 8 bits, which a model sees as RGB",
        "scenes" if expected.count() == 3 => return Ok(()),
        "scenes" | "ade" => "RGB of 8 bits",
        _ => return Ok(()),
    };
    Err(Error::NoBands { spec: spec.to_owned(), found, expected })
}

/// The files and folders that a string names.
#[must_use]
pub fn places(spec: &str) -> Vec<PathBuf> {
    match spec.split_once(':') {
        Some(("tar", shards)) => super::tar::places(shards),
        Some((scheme, places)) => {
            let tables = ["parquet", "arrow"].contains(&scheme);
            let several = tables || scheme == "masks";
            let parts = places.split(move |c| several && c == ',');
            let column = |part: &&str| tables && ["image=", "label="].iter().any(|key| part.starts_with(key));
            parts.filter(|part| !part.is_empty() && !column(part)).map(PathBuf::from).collect()
        }
        None => Vec::new(),
    }
}
