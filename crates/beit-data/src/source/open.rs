//! Opening a source by a string.

use std::path::Path;
use std::sync::Arc;

use super::{Folder, Idx, Pairs, Source};
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
    "ade:DIR",
    "masks:IMAGES,MASKS[,CLASSES]",
];

/// Opens a source from one string: `fashion-mnist` (embedded), `idx:DIR` ([`Idx::open`]) or `folder:DIR` ([`Folder::open`]); with masks,
/// `scenes` (embedded), `ade:DIR` ([`Pairs::ade`]) or `masks:IMAGES,MASKS[,CLASSES]` ([`Pairs::open`]), whose paths have no commas.
///
/// # Errors
///
/// [`Error::UnknownSource`], or what opening the source says.
pub fn open(spec: &str, split: Split) -> Result<Arc<dyn Source>> {
    open_as(spec, split, None)
}

/// The same with pictures of so many channels, which are read as they are ([`Image::open_as`](crate::Image::open_as)): of `folder` and
/// `masks`, and `scenes`, which have three.
///
/// # Errors
///
/// [`Error::NoBands`] for other sources, or those of [`open`].
pub fn open_as(spec: &str, split: Split, bands: Option<Bands>) -> Result<Arc<dyn Source>> {
    if let Some(expected) = bands {
        check_bands(spec, expected)?;
    }
    match spec.split_once(':') {
        Some(("idx", dir)) => Ok(Arc::new(Idx::open(Path::new(dir), split)?)),
        Some(("folder", dir)) => Ok(Arc::new(Folder::open_as(Path::new(dir), split, bands)?)),
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
