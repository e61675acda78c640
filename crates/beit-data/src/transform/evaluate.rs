use super::{CropBox, Filter, Normalise};
use crate::image::Image;

/// How a picture is brought to the model's size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fit {
    /// Resized so that it covers `least` with its aspect kept, then cut to its centre.
    CentreCrop {
        /// `[H, W]` pixels, at least the size. For a square, the length of the shorter side.
        least: [usize; 2],
    },
    /// Resized to exactly the size, whatever its aspect.
    Squash,
}

/// Preprocessing for evaluation: nothing random.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EvalTransform {
    /// `[H, W]` pixels.
    pub size: [usize; 2],
    /// Crop or squash.
    pub fit: Fit,
    /// Resampling.
    pub filter: Filter,
    /// Normalisation.
    pub normalise: Normalise,
}

impl Fit {
    /// A centre of `size [H, W]` whose sides are `share` (in (0, 1], `crop_pct` of timm) of the resized picture's: it covers
    /// int(size / `share`).
    #[must_use]
    pub const fn centre([height, width]: [usize; 2], share: f64) -> Self {
        Self::CentreCrop { least: [(height as f64 / share) as usize, (width as f64 / share) as usize] }
    }
}

impl EvalTransform {
    /// The released code, `size` x `size`: below 384 the shorter side is brought to int(size / 0.875) (256 for 224), else to the
    /// size itself; bicubic, centre, mean and deviation 0.5. Reproduces the published accuracies.
    #[must_use]
    pub const fn official(size: usize) -> Self {
        let share = if size < 384 { 0.875 } else { 1.0 };
        Self {
            size: [size; 2],
            fit: Fit::centre([size; 2], share),
            filter: Filter::Bicubic,
            normalise: Normalise::HALF,
        }
    }

    /// timm's `beit_*`: as [`official`](Self::official), with a share of 0.9 below 384 (248 for 224).
    #[must_use]
    pub const fn timm(size: usize) -> Self {
        let share = if size < 384 { 0.9 } else { 1.0 };
        Self { fit: Fit::centre([size; 2], share), ..Self::official(size) }
    }

    /// timm's `beitv2_*`: statistics of ImageNet, and the share that the model's configuration names: 0.9, or 0.95 for the large
    /// model with the head for ImageNet-1k.
    #[must_use]
    pub const fn timm_v2(size: usize, crop_pct: f64) -> Self {
        let normalise = Normalise::IMAGENET;
        Self { fit: Fit::centre([size; 2], crop_pct), normalise, ..Self::official(size) }
    }

    /// Hugging Face's `microsoft/beit-*`: squashed, bilinear.
    #[must_use]
    pub const fn hugging_face(size: usize) -> Self {
        Self { fit: Fit::Squash, filter: Filter::Bilinear, ..Self::official(size) }
    }

    /// The whole picture at `size` x `size`: for small pictures that have no border to lose.
    #[must_use]
    pub const fn whole(size: usize) -> Self {
        Self { fit: Fit::CentreCrop { least: [size; 2] }, ..Self::official(size) }
    }

    /// `[3, H, W]`.
    #[must_use]
    pub fn apply(&self, image: &Image) -> Vec<f32> {
        self.normalise.planes(&self.view(image))
    }

    /// The picture that is normalised, `[H, W]`.
    #[must_use]
    pub fn view(&self, image: &Image) -> Image {
        match self.fit {
            Fit::Squash => image.resize(self.size, self.filter),
            Fit::CentreCrop { least } => {
                centre(&image.resize(cover([image.height(), image.width()], least), self.filter), self.size)
            }
        }
    }
}

/// The smallest size with the aspect of `from` that covers `least`: the side that binds is exact, the other truncated, as
/// torchvision's `Resize` does.
fn cover(from: [usize; 2], least: [usize; 2]) -> [usize; 2] {
    let along =
        |side: usize| std::array::from_fn(|other| (least[side] * from[other] / from[side]).max(least[other]));
    // Whether height / width of the picture is at most that of the target.
    if from[0] * least[1] <= least[0] * from[1] { along(0) } else { along(1) }
}

/// The central part.
fn centre(image: &Image, [height, width]: [usize; 2]) -> Image {
    let (top, left) = (margin(image.height(), height), margin(image.width(), width));
    image.crop(CropBox { top, left, height, width })
}

/// What is cut away before the centre; an odd margin is halved half to even, as torchvision's `CenterCrop` does.
fn margin(outer: usize, inner: usize) -> usize {
    ((outer - inner) as f64 / 2.0).round_ties_even() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covering_sizes_follow_torchvision() {
        let rows = [
            ([480, 640], [256, 256], [256, 341]), // int(256 · 640 / 480) = 341
            ([640, 480], [256, 256], [341, 256]),
            ([100, 100], [256, 256], [256, 256]),
            ([500, 333], [248, 248], [372, 248]),
            ([100, 100], [50, 80], [80, 80]),
        ];
        for (from, least, expected) in rows {
            assert_eq!(cover(from, least), expected, "{from:?} to {least:?}");
        }
    }

    /// Sizes at which truncation and rounding show, by torchvision itself (tests/peers/photo_goldens.py).
    #[test]
    fn sizes_and_places_are_torchvisions() {
        let table = include_str!("../../tests/goldens/photos/sizes.csv");
        for line in table.lines().skip(1) {
            let cells: Vec<usize> = line.split(',').map(|cell| cell.parse().unwrap()).collect();
            let [height, width, resize, crop, resized_height, resized_width, top, left] = cells[..] else {
                panic!("{line}")
            };
            let resized = cover([height, width], [resize; 2]);
            assert_eq!(resized, [resized_height, resized_width], "{line}");
            assert_eq!(resized.map(|side| margin(side, crop)), [top, left], "{line}");
        }
        assert_eq!(table.lines().count(), 1 + 5 * 10 + 2 * 8);
    }

    #[test]
    fn official_sizes() {
        let resized = |transform: EvalTransform| match transform.fit {
            Fit::CentreCrop { least } => least[0],
            Fit::Squash => transform.size[0],
        };
        assert_eq!(resized(EvalTransform::official(224)), 256);
        assert_eq!(resized(EvalTransform::official(384)), 384);
        assert_eq!(resized(EvalTransform::timm(224)), 248);
        assert_eq!(resized(EvalTransform::timm_v2(224, 0.95)), 235);
        let image = Image::new(37, 53, vec![9; 37 * 53 * 3]);
        for transform in
            [EvalTransform::official(28), EvalTransform::timm(28), EvalTransform::hugging_face(28)]
        {
            assert_eq!(transform.apply(&image).len(), 3 * 28 * 28);
        }
    }
}
