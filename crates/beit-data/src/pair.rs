//! Pictures with their masks.

use crate::error::{Error, Result};
use crate::image::Image;
use crate::mask::Mask;
use crate::source::Source;

/// A picture and its mask, which is as large as the picture.
///
/// # Errors
///
/// Those of [`Source::image`] and [`Source::mask`], [`Error::NoMask`] and [`Error::MaskSize`].
pub(crate) fn pair(source: &dyn Source, index: usize) -> Result<(Image, Mask)> {
    let mask = read_mask(source, index)?;
    let image = source.image(index)?;
    same_size(source, index, [image.height(), image.width()], &mask)?;
    Ok((image, mask))
}

/// The mask of a picture that must have one.
pub(crate) fn read_mask(source: &dyn Source, index: usize) -> Result<Mask> {
    source.mask(index)?.ok_or_else(|| Error::NoMask { image: source.name(index), expected: None })
}

/// An error where a mask is not as large as its picture.
pub(crate) fn same_size(
    source: &dyn Source,
    index: usize,
    image_size: [usize; 2],
    mask: &Mask,
) -> Result<()> {
    let mask_size = [mask.height(), mask.width()];
    if image_size == mask_size {
        return Ok(());
    }
    let (image, mask) = (source.name(index), source.mask_name(index));
    Err(Error::MaskSize { image, image_size, mask, mask_size })
}
