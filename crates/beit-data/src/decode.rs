//! From the bytes of a file to a picture.

use std::io::Cursor;
use std::path::Path;

use ::image::{DynamicImage, ImageDecoder, ImageReader, Limits};

use crate::error::{Error, Result};
use crate::image::Image;
use crate::jpeg;

/// Most memory that one decoded picture may take, in bytes. A file that asks for more is an error, before anything is allocated.
pub const MAX_DECODED_BYTES: u64 = 1 << 29;

impl Image {
    /// Reads and decodes a JPEG, PNG or WebP file.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] and [`Error::Decode`], both naming the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Self::decode(&bytes, &path.display().to_string())
    }

    /// Decodes a JPEG, PNG or WebP file, whichever its first bytes say. The EXIF orientation is applied, so that the picture
    /// stands upright; transparency is dropped, not blended, and grey, palette, CMYK and 16-bit pictures become 8-bit RGB, as
    /// `convert("RGB")` of the Python Imaging Library does; a JPEG comes out with the very bytes of libjpeg-turbo. A truncated
    /// file is an error.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] with `name` in it.
    pub fn decode(bytes: &[u8], name: &str) -> Result<Self> {
        Self::decode_within(bytes, name, MAX_DECODED_BYTES)
    }

    /// [`decode`](Self::decode) for a picture that may take at most `max_bytes` of memory, instead of [`MAX_DECODED_BYTES`].
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] with `name` in it; also for a picture that is larger.
    pub fn decode_within(bytes: &[u8], name: &str, max_bytes: u64) -> Result<Self> {
        let error = |reason: String| Error::Decode { name: name.to_owned(), reason };
        let decoded = jpeg::decode(bytes, max_bytes)
            .unwrap_or_else(|| decode_upright(bytes, max_bytes).map_err(|source| source.to_string()));
        let image = decoded.map_err(error)?.into_rgb8();
        let (width, height) = image.dimensions();
        if width == 0 || height == 0 {
            return Err(error(format!("it has {height} x {width} pixels")));
        }
        Ok(Self::new(height as usize, width as usize, image.into_raw()))
    }
}

fn decode_upright(bytes: &[u8], max_bytes: u64) -> ::image::ImageResult<DynamicImage> {
    let mut decoder = ImageReader::new(Cursor::new(bytes)).with_guessed_format()?.into_decoder()?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(max_bytes);
    limits.reserve(decoder.total_bytes())?;
    decoder.set_limits(limits)?;
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    Ok(image)
}
