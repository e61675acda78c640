//! Opening a source by a string.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::table_spec::Spec;
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
        Some(("parquet" | "arrow", places)) => named(Spec::parse(places).places),
        Some(("masks", places)) => named(places.split(',').map(PathBuf::from)),
        Some((_, place)) => named([PathBuf::from(place)]),
        None => Vec::new(),
    }
}

fn named(places: impl IntoIterator<Item = PathBuf>) -> Vec<PathBuf> {
    places.into_iter().filter(|place| !place.as_os_str().is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_those_that_are_opened() {
        let folder = tempfile::tempdir().unwrap();
        let odd = folder.path().join("a,image=b");
        std::fs::create_dir(&odd).unwrap();
        let spec = odd.display().to_string();
        for scheme in ["parquet", "arrow", "folder"] {
            assert_eq!(places(&format!("{scheme}:{spec}")), std::slice::from_ref(&odd), "{scheme}");
        }
        assert_eq!(places("parquet:a,b,image=x,label="), ["a", "b"].map(PathBuf::from));
        assert_eq!(places("masks:a,b"), ["a", "b"].map(PathBuf::from));
        assert!(places("parquet:").is_empty() && places("masks:,").is_empty() && places("scenes").is_empty());
    }
}
