use crate::image::Image;
use crate::rng::{SampleRng, between, shuffle};

/// Random brightness, contrast and saturation, in random order, with the arithmetic of torchvision over the Python Imaging
/// Library. Each is the greatest deviation j of a factor drawn uniformly from [max(0, 1 - j), 1 + j]; 0 leaves the picture.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ColourJitter {
    /// Blend with black.
    pub brightness: f64,
    /// Blend with the mean grey of the picture.
    pub contrast: f64,
    /// Blend with the grey picture.
    pub saturation: f64,
}

/// One change of a picture.
#[derive(Clone, Copy)]
pub(super) enum Step {
    Brightness(f64),
    Contrast(f64),
    Saturation(f64),
}

impl ColourJitter {
    /// Leaves every picture as it is.
    pub const NONE: Self = Self::even(0.0);
    /// 0.4 each, no hue: BEiT pre-training (`--color_jitter 0.4`).
    pub const STANDARD: Self = Self::even(0.4);

    /// The same deviation for all three.
    #[must_use]
    pub const fn even(deviation: f64) -> Self {
        Self { brightness: deviation, contrast: deviation, saturation: deviation }
    }

    /// Changes the picture, which is RGB of 8 bits; [`NONE`](Self::NONE) leaves any other as it is. As many numbers are drawn in either case.
    ///
    /// # Panics
    ///
    /// If another is to be changed.
    pub fn apply(&self, image: &mut Image, rng: &mut SampleRng) {
        for step in self.draw(rng) {
            match step {
                // The picture as it is, to the byte.
                Step::Brightness(1.0) | Step::Contrast(1.0) | Step::Saturation(1.0) => {}
                Step::Brightness(factor) => image.adjust_brightness(factor),
                Step::Contrast(factor) => image.adjust_contrast(factor),
                Step::Saturation(factor) => image.adjust_saturation(factor),
            }
        }
    }

    /// What is done, in this order.
    pub(super) fn draw(&self, rng: &mut SampleRng) -> [Step; 3] {
        let mut factor = |jitter: f64| between(rng, [(1.0 - jitter).max(0.0), 1.0 + jitter]);
        let mut steps = [
            Step::Brightness(factor(self.brightness)),
            Step::Contrast(factor(self.contrast)),
            Step::Saturation(factor(self.saturation)),
        ];
        shuffle(&mut steps, rng);
        steps
    }
}

impl Image {
    /// Blends with black: factor 0 is black, 1 the picture, more than 1 brighter.
    pub fn adjust_brightness(&mut self, factor: f64) {
        self.blend_with_constant(0, factor);
    }

    /// Blends with a constant, the mean of the grey picture rounded to a whole number.
    pub fn adjust_contrast(&mut self, factor: f64) {
        let pixels = self.pixels().chunks_exact(3);
        let count = pixels.len() as f64;
        let sum: u64 = pixels.map(|rgb| u64::from(luma(rgb))).sum();
        self.blend_with_constant((sum as f64 / count + 0.5) as u8, factor);
    }

    /// Blends each pixel with its grey value.
    pub fn adjust_saturation(&mut self, factor: f64) {
        for rgb in self.pixels_mut().chunks_exact_mut(3) {
            let grey = luma(rgb);
            rgb.iter_mut().for_each(|value| *value = blend(grey, *value, factor as f32));
        }
    }

    fn blend_with_constant(&mut self, constant: u8, factor: f64) {
        let table: [u8; 256] = std::array::from_fn(|value| blend(constant, value as u8, factor as f32));
        self.pixels_mut().iter_mut().for_each(|value| *value = table[usize::from(*value)]);
    }
}

/// Grey value of a pixel: 0.299 R + 0.587 G + 0.114 B in 16-bit fixed point, rounded.
fn luma(rgb: &[u8]) -> u8 {
    let [r, g, b] = [rgb[0], rgb[1], rgb[2]].map(u32::from);
    ((19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16) as u8
}

/// `from + factor · (to - from)`, cut to 0..=255 and truncated, in single precision.
pub(super) fn blend(from: u8, to: u8, factor: f32) -> u8 {
    // The conversion of a float to an integer truncates and saturates.
    (f32::from(from) + factor * (f32::from(to) - f32::from(from))) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_of_one_leave_every_byte() {
        for from in 0..=255 {
            assert!((0..=255).all(|to| blend(from, to, 1.0) == to), "from {from}");
        }
    }
}
