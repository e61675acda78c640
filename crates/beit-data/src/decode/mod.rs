//! From the bytes of a file to a picture.

mod budget;
mod jpeg;
mod outline;
mod raster;
mod rgb;
mod webp;

use std::path::Path;

use ::image::metadata::Orientation;
use ::image::{DynamicImage, RgbImage};

use crate::error::{Error, Result};
use crate::files::read_regular;
use crate::image::Image;
use budget::Budget;

/// Most memory that decoding one picture may have in use at once, in bytes: what the decoder keeps, the pixels it gives, their
/// form as RGB and the turned picture. A file that asks for more is an error, before anything is allocated. Its own bytes are
/// beside this.
pub const MAX_DECODED_BYTES: u64 = 1 << 29;

/// Longest file that is read as a picture, in bytes. A longer one is an error before it is read.
pub const MAX_PICTURE_BYTES: u64 = 1 << 28;

impl Image {
    /// Reads and decodes a JPEG, PNG or WebP file of at most [`MAX_PICTURE_BYTES`]. Only regular files are read, and links to
    /// them: a pipe or a device might never end.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] and [`Error::Decode`], both naming the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = read_regular(path, MAX_PICTURE_BYTES)
            .map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Self::decode(&bytes, &path.display().to_string())
    }

    /// Decodes a JPEG, PNG or WebP file, whichever its first bytes say. The EXIF orientation is applied, so that the picture
    /// stands upright; transparency is dropped, not blended, and grey, palette, CMYK and 16-bit pictures become 8-bit RGB, as
    /// `convert("RGB")` of the Python Imaging Library does; a JPEG comes out with the very bytes of libjpeg-turbo. A truncated
    /// file is an error.
    ///
    /// Of 16 bits the upper eight are taken. There is one difference to the Python Imaging Library: it cuts grey of 16 bits
    /// without transparency at 255, which leaves nearly every such picture white. Here it is treated as all others are.
    ///
    /// A JPEG of other than 8 bits a sample is an error, and so is one with more than a hundred scans, or so many that they
    /// would take minutes.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] with `name` in it.
    pub fn decode(bytes: &[u8], name: &str) -> Result<Self> {
        Self::decode_within(bytes, name, MAX_DECODED_BYTES)
    }

    /// [`decode`](Self::decode) where decoding may take at most `max_bytes` of memory, instead of [`MAX_DECODED_BYTES`].
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] with `name` in it; also for a picture that would take more.
    pub fn decode_within(bytes: &[u8], name: &str, max_bytes: u64) -> Result<Self> {
        let decode = if jpeg::is_jpeg(bytes) { jpeg::decode } else { raster::decode };
        let image = decode(bytes, Budget(max_bytes))
            .map_err(|reason| Error::Decode { name: name.to_owned(), reason })?;
        let (width, height) = image.dimensions();
        Ok(Self::new(height as usize, width as usize, image.into_raw()))
    }
}

/// Turns a picture as its EXIF orientation says. Turning by a quarter makes a second picture.
fn upright(image: RgbImage, orientation: Orientation) -> RgbImage {
    let mut image = DynamicImage::from(image);
    image.apply_orientation(orientation);
    image.into_rgb8()
}
