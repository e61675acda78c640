//! The operations of RandAugment, with their numbers.

use super::warp::Affine;
use crate::image::Image;

/// A change of a picture, with the arithmetic of the Python Imaging Library. Geometry is bicubic; what comes in from outside of the picture
/// has a colour of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Augment {
    /// Each channel from its least to its greatest value is spread to 0..=255.
    AutoContrast,
    /// The values of each channel become equally frequent.
    Equalize,
    /// 255 minus each value.
    Invert,
    /// Turns about the centre.
    Rotate {
        /// Counter-clockwise.
        degrees: f64,
    },
    /// Keeps the leading bits of each value. With none the picture is black.
    Posterize {
        /// 8 and more keep everything.
        bits: u32,
    },
    /// Inverts the values from a threshold on.
    Solarize {
        /// 256 and more change nothing.
        threshold: u32,
    },
    /// Adds to the values below 128, up to 255.
    SolarizeAdd {
        /// What is added.
        amount: u8,
    },
    /// Blends with the grey picture.
    Color {
        /// 0 is grey, 1 the picture.
        factor: f64,
    },
    /// Blends with the mean grey.
    Contrast {
        /// 0 is grey, 1 the picture.
        factor: f64,
    },
    /// Blends with black.
    Brightness {
        /// 0 is black, 1 the picture.
        factor: f64,
    },
    /// Blends with a smoothed picture.
    Sharpness {
        /// 0 is smoothed, 1 the picture, 2 sharpened.
        factor: f64,
    },
    /// Rows move to the left, the lower the farther.
    ShearX {
        /// Columns a row.
        factor: f64,
    },
    /// Columns move up, the farther right the farther.
    ShearY {
        /// Rows a column.
        factor: f64,
    },
    /// Moves to the left.
    TranslateX {
        /// Of the width.
        share: f64,
    },
    /// Moves up.
    TranslateY {
        /// Of the height.
        share: f64,
    },
}

impl Augment {
    /// Changes the picture. `fill` is the colour of what comes in from outside of it.
    pub fn apply(self, image: &mut Image, fill: [u8; 3]) {
        match self {
            Self::AutoContrast => image.auto_contrast(),
            Self::Equalize => image.equalize(),
            Self::Invert => image.map_bytes(|value| 255 - value),
            Self::Posterize { bits } => image.posterize(bits),
            Self::Solarize { threshold } => image.solarize(threshold),
            Self::SolarizeAdd { amount } => image.solarize_add(amount),
            Self::Color { factor } => image.adjust_saturation(factor),
            Self::Contrast { factor } => image.adjust_contrast(factor),
            Self::Brightness { factor } => image.adjust_brightness(factor),
            Self::Sharpness { factor } => image.adjust_sharpness(factor),
            _ => {
                if let Some(affine) = self.affine(image) {
                    *image = affine.warp(image, fill);
                }
            }
        }
    }

    /// The map of an operation that moves pixels; none where each stays in its place.
    fn affine(self, image: &Image) -> Option<Affine> {
        let [height, width] = [image.height(), image.width()].map(|side| side as f64);
        match self {
            Self::Rotate { degrees } => Affine::rotation(degrees, height, width),
            Self::ShearX { factor } => Some(Affine { xy: factor, ..Affine::IDENTITY }),
            Self::ShearY { factor } => Some(Affine { yx: factor, ..Affine::IDENTITY }),
            Self::TranslateX { share } => Some(Affine { x: share * width, ..Affine::IDENTITY }),
            Self::TranslateY { share } => Some(Affine { y: share * height, ..Affine::IDENTITY }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_none_move_everything_out() {
        let image = Image::new(5, 6, (0..90).collect());
        for number in [f64::NAN, f64::INFINITY, -f64::INFINITY, 1e300] {
            for operation in [
                Augment::Rotate { degrees: f64::NAN },
                Augment::ShearX { factor: number },
                Augment::ShearY { factor: number },
                Augment::TranslateX { share: number },
                Augment::TranslateY { share: number },
            ] {
                let mut moved = image.clone();
                operation.apply(&mut moved, [1, 2, 3]);
                assert_eq!(moved.pixels(), [1, 2, 3].repeat(30), "{operation:?}");
            }
        }
    }
}
