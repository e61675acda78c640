//! From the bytes of a file to a picture.

mod bands;
mod budget;
mod cmyk;
mod gif;
mod jpeg;
mod npy;
mod other_formats;
mod outline;
mod planes;
mod raster;
mod rgb;
mod tiff;
mod webp;

use std::path::Path;

use ::image::metadata::Orientation;
use ::image::{DynamicImage, RgbImage};

use crate::bands::Bands;
use crate::error::Error;
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
    /// Reads and [decodes](Self::decode) a picture file of at most [`MAX_PICTURE_BYTES`]. Only regular files are read, and links
    /// to them: a pipe or a device might never end.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] and [`Error::Decode`], both naming the file.
    pub fn open(path: impl AsRef<Path>) -> crate::error::Result<Self> {
        Self::open_as(path, None)
    }

    /// Reads a picture file: with so many channels as it is, or where `bands` is `None`, as [`open`](Self::open) does.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] and [`Error::Decode`], both naming the file.
    pub fn open_as(path: impl AsRef<Path>, bands: Option<Bands>) -> crate::error::Result<Self> {
        let path = path.as_ref();
        Self::decode_as(&Self::read(path)?, bands, &path.display().to_string())
    }

    /// [`open_as`](Self::open_as) of a file that was read.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] with `name` in it.
    pub fn decode_as(bytes: &[u8], bands: Option<Bands>, name: &str) -> crate::error::Result<Self> {
        match bands {
            Some(bands) => Self::decode_bands(bytes, bands, name),
            None => Self::decode(bytes, name),
        }
    }

    /// The bytes of a picture file.
    pub(crate) fn read(path: impl AsRef<Path>) -> crate::error::Result<Vec<u8>> {
        let path = path.as_ref();
        read_regular(path, MAX_PICTURE_BYTES).map_err(|source| Error::opening(path, source))
    }

    /// `[height, width]` of a picture file as it stands upright, from its header where that is enough: a TIFF or a GIF is decoded.
    ///
    /// # Errors
    ///
    /// Those of [`open`](Self::open).
    pub fn size_of(path: impl AsRef<Path>) -> crate::error::Result<[usize; 2]> {
        let path = path.as_ref();
        Self::size_in(&Self::read(path)?, &path.display().to_string())
    }

    /// [`size_of`](Self::size_of) a picture whose file was read.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] with `name` in it.
    pub fn size_in(bytes: &[u8], name: &str) -> crate::error::Result<[usize; 2]> {
        let size = match bytes {
            bytes if jpeg::is_jpeg(bytes) => jpeg::size(bytes, Budget(MAX_DECODED_BYTES)),
            bytes if raster::is_raster(bytes) => raster::size(bytes, Budget(MAX_DECODED_BYTES)),
            bytes => return Self::decode(bytes, name).map(|image| [image.height(), image.width()]),
        };
        size.map_err(|reason| Error::Decode { name: name.to_owned(), reason })
    }

    /// [`size_of`](Self::size_of) a picture that is read with so many channels as it is: from the header of a PNG or an array; a TIFF is
    /// decoded.
    ///
    /// # Errors
    ///
    /// Those of [`open_as`](Self::open_as).
    pub fn size_as(path: impl AsRef<Path>, bands: Option<Bands>) -> crate::error::Result<[usize; 2]> {
        let path = path.as_ref();
        Self::size_in_as(&Self::read(path)?, bands, &path.display().to_string())
    }

    /// [`size_as`](Self::size_as) of a file that was read.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] with `name` in it.
    pub fn size_in_as(bytes: &[u8], bands: Option<Bands>, name: &str) -> crate::error::Result<[usize; 2]> {
        let Some(bands) = bands else { return Self::size_in(bytes, name) };
        bands::size(bytes, bands, Budget(MAX_DECODED_BYTES))
            .map_err(|reason| Error::Decode { name: name.to_owned(), reason })
    }

    /// Decodes a picture with so many channels as it is, with its 8 or 16 bits: a PNG (grey, grey with transparency, RGB, RGBA; a palette
    /// is RGB), a TIFF (of any meaning but a palette; strips, tiles or planes; of one channel a page, as many pages as channels), or an
    /// array of NumPy (`[H, W]`, `[H, W, C]` or `[C, H, W]`: the last axis is that of the channels where it has as many, else the first;
    /// `uint8`, `uint16`, and `float32` in 0 to 1, which becomes 16 bits).
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] with `name` in it; also for a picture of other channels.
    pub fn decode_bands(bytes: &[u8], bands: Bands, name: &str) -> crate::error::Result<Self> {
        Self::decode_bands_within(bytes, bands, name, MAX_DECODED_BYTES)
    }

    /// [`decode_bands`](Self::decode_bands) where decoding may take at most `max_bytes` of memory, instead of [`MAX_DECODED_BYTES`].
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] with `name` in it; also for a picture that would take more.
    pub fn decode_bands_within(
        bytes: &[u8],
        bands: Bands,
        name: &str,
        max_bytes: u64,
    ) -> crate::error::Result<Self> {
        bands::decode(bytes, bands, Budget(max_bytes))
            .map_err(|reason| Error::Decode { name: name.to_owned(), reason })
    }

    /// Decodes a JPEG, PNG, WebP, BMP, TIFF or GIF file, whichever its first bytes say; of several pictures the first. The EXIF
    /// orientation is applied, so that the picture stands upright; transparency is dropped, not blended, and grey, palette, CMYK
    /// and 16-bit pictures become 8-bit RGB, to the byte as `convert("RGB")` of the Python Imaging Library makes them.
    ///
    /// There are these differences to that library. Of 16 bits the upper eight are taken in every kind; it cuts grey of 16 bits
    /// without an alpha channel at 255, which leaves nearly every such picture white. BMP of 16 bits a pixel differs by one step.
    /// It reads more kinds of TIFF; those that are not read here are errors that name the kind.
    ///
    /// A file that ends too early is an error. A JPEG whose scans end early, but which has the marker of its end, is filled as
    /// libjpeg fills it, with grey or with what coarser scans say, as that library does too. One whose restart markers are out of
    /// order is an error.
    ///
    /// A JPEG of other than 8 bits a sample is an error, and so is one with more than a hundred scans, or so many that they
    /// would take minutes.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] with `name` in it.
    pub fn decode(bytes: &[u8], name: &str) -> crate::error::Result<Self> {
        Self::decode_within(bytes, name, MAX_DECODED_BYTES)
    }

    /// [`decode`](Self::decode) where a JPEG may come out smaller: `factor` says of its `[height, width]` whether 1, 2, 4 or 8 times, which
    /// takes less time the smaller it is. The picture has `ceil(side / factor)` pixels a side, other ones than resampling gives. The
    /// `[height, width]` that it has in its file comes back beside it.
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] with `name` in it; also where the factor is another.
    pub fn decode_reduced(
        bytes: &[u8],
        name: &str,
        factor: impl FnOnce([usize; 2]) -> u32,
    ) -> crate::error::Result<(Self, [usize; 2])> {
        if !jpeg::is_jpeg(bytes) {
            let image = Self::decode(bytes, name)?;
            let size = [image.height(), image.width()];
            return Ok((image, size));
        }
        let (image, size) = jpeg::decode_reduced(bytes, Budget(MAX_DECODED_BYTES), factor)
            .map_err(|reason| Error::Decode { name: name.to_owned(), reason })?;
        Ok((Self::of(image), size))
    }

    fn of(image: RgbImage) -> Self {
        let (width, height) = image.dimensions();
        Self::new(height as usize, width as usize, image.into_raw())
    }

    /// [`decode`](Self::decode) where decoding may take at most `max_bytes` of memory, instead of [`MAX_DECODED_BYTES`].
    ///
    /// # Errors
    ///
    /// [`Error::Decode`] with `name` in it; also for a picture that would take more.
    pub fn decode_within(bytes: &[u8], name: &str, max_bytes: u64) -> crate::error::Result<Self> {
        let image = decode_any(bytes, Budget(max_bytes))
            .map_err(|reason| Error::Decode { name: name.to_owned(), reason })?;
        Ok(Self::of(image))
    }
}

/// Decodes a picture of the format that its first bytes say.
fn decode_any(bytes: &[u8], budget: Budget) -> Result<RgbImage, String> {
    match bytes {
        _ if jpeg::is_jpeg(bytes) => jpeg::decode(bytes, budget),
        _ if gif::is_gif(bytes) => gif::decode(bytes, budget),
        _ if tiff::is_tiff(bytes) => tiff::decode(bytes, budget),
        _ if raster::is_raster(bytes) => raster::decode(bytes, budget),
        _ => Err(other_formats::reason(bytes)),
    }
}

/// What is said of a file that ends too early.
const CUT_SHORT: &str = "the file ends before the end of the image";
/// What decoders say of it.
const CUT: [&str; 5] = [
    "failed to fill whole buffer",
    "Unexpected End of File",
    "unexpected end of file",
    "image truncated",
    "no lzw end code found",
];

/// What a decoder says.
fn said(error: impl ToString) -> String {
    let text = error.to_string();
    if CUT.iter().any(|cut| text == *cut) {
        "the file ends before the end of the image".to_owned()
    } else {
        text
    }
}

/// Turns a picture as its EXIF orientation says. Turning by a quarter makes a second picture.
fn upright(image: RgbImage, orientation: Orientation) -> RgbImage {
    let mut image = DynamicImage::from(image);
    image.apply_orientation(orientation);
    image.into_rgb8()
}
