use fast_image_resize::images::{Image as Resized, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use crate::image::Image;

/// How a picture is resampled. All three widen with the scale when a picture shrinks (antialiasing) and round to 8 bits, as the
/// Python Imaging Library does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Filter {
    /// Triangle, support 1.
    Bilinear,
    /// Cubic convolution with a = -1/2 (Catmull-Rom), support 2.
    Bicubic,
    /// Windowed sinc, support 3.
    Lanczos,
}

impl Image {
    /// Resamples to `[height, width]`.
    ///
    /// Rows first, then columns, with 8 bits between: sharp edges overshoot and are cut in that order in the Python Imaging
    /// Library, and the other order differs by several steps.
    ///
    /// # Panics
    ///
    /// If a side is zero.
    #[must_use]
    pub fn resize(&self, [height, width]: [usize; 2], filter: Filter) -> Self {
        let narrowed = (width != self.width()).then(|| self.convolve([self.height(), width], filter));
        let narrowed = narrowed.as_ref().unwrap_or(self);
        if height == self.height() { narrowed.clone() } else { narrowed.convolve([height, width], filter) }
    }

    fn convolve(&self, [height, width]: [usize; 2], filter: Filter) -> Self {
        let algorithm = ResizeAlg::Convolution(match filter {
            Filter::Bilinear => FilterType::Bilinear,
            Filter::Bicubic => FilterType::CatmullRom,
            Filter::Lanczos => FilterType::Lanczos3,
        });
        let source = ImageRef::new(self.width() as u32, self.height() as u32, self.pixels(), PixelType::U8x3)
            .expect("a picture has height x width x 3 bytes");
        let mut target = Resized::new(width as u32, height as u32, PixelType::U8x3);
        let options = ResizeOptions::new().resize_alg(algorithm).use_alpha(false);
        Resizer::new().resize(&source, &mut target, &options).expect("both have the same pixel type");
        Self::new(height, width, target.into_vec())
    }
}
