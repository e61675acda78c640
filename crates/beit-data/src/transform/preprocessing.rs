use std::fmt;

use super::{Channels, Filter, Normalise};
use crate::image::{CropBox, Image};

/// Images no larger than this have no border to cut away and no detail to zoom into.
const SMALL: usize = 64;
/// Images up to this side are tiny.
const TINY: usize = 32;
/// From this size on, the libraries keep the whole shorter side.
const LARGE: usize = 384;
/// How much of the shorter side the released code keeps of images that are neither small nor large.
const UNILM_SHARE: f64 = 0.875;
/// How much timm keeps of images that are not large.
const TIMM_SHARE: f64 = 0.9;

/// How pictures become the pixels of a model: resized, perhaps cut to their centre, and normalised. Nothing is random.
///
/// The training transforms follow from it: [`pretrain`](Self::pretrain), [`tokenizer`](Self::tokenizer) and
/// [`finetune`](Self::finetune).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preprocessing {
    /// `[H, W]` pixels that the model sees.
    pub size: [usize; 2],
    /// Crop or squash.
    pub fit: Fit,
    /// Resampling.
    pub filter: Filter,
    /// Normalisation.
    pub normalise: Normalise,
}

/// How a picture is brought to the model's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// Resized so that it covers `least` with its aspect kept, then cut to its centre.
    CentreCrop {
        /// `[H, W]` pixels, at least the size. For a square, the length of the shorter side.
        least: [usize; 2],
    },
    /// Resized to exactly the size, whatever its aspect.
    Squash,
    /// Resized to exactly this, whatever its aspect, then cut to its centre.
    SquashAndCrop {
        /// `[H, W]` pixels, at least the size.
        to: [usize; 2],
    },
    /// Resized so that all of it lies within this with its aspect kept, then cut to its centre, with a border of the mean colour where
    /// it is smaller than the size. This is timm's `crop_mode` border.
    Border {
        /// `[H, W]` pixels, at least the size.
        within: [usize; 2],
    },
}

impl Preprocessing {
    /// The released code's way: below 384 pixels a picture is resized to int(size / 0.875) (256 for 224), else to the size itself,
    /// and cut to its centre. Small images, of at most 64 pixels, are kept whole. Bicubic, mean and deviation 0.5. Reproduces the
    /// published accuracies.
    #[must_use]
    pub const fn unilm(size: [usize; 2]) -> Self {
        let share = if is_small(size) || is_large(size) { 1.0 } else { UNILM_SHARE };
        Self { size, fit: centre_share(size, share), filter: Filter::Bicubic, normalise: Normalise::HALF }
    }

    /// timm's way with its `beit_*`: below 384 pixels resized to int(size / 0.9) (248 for 224), else to the size itself, and cut to
    /// its centre. Bicubic, mean and deviation 0.5.
    #[must_use]
    pub const fn timm(size: [usize; 2]) -> Self {
        let share = if is_large(size) { 1.0 } else { TIMM_SHARE };
        Self { size, fit: centre_share(size, share), filter: Filter::Bicubic, normalise: Normalise::HALF }
    }

    /// transformers' way with `microsoft/beit-*`: squashed, bilinear, mean and deviation 0.5.
    #[must_use]
    pub const fn hugging_face(size: [usize; 2]) -> Self {
        Self { size, fit: Fit::Squash, filter: Filter::Bilinear, normalise: Normalise::HALF }
    }

    /// The same, but with pictures resized so that their shorter side has `side` pixels, and then cut to their centre. Where `side` is
    /// less than the model's size, they are resized to cover the size.
    #[must_use]
    pub fn covering(self, side: usize) -> Self {
        Self { fit: Fit::CentreCrop { least: self.size.map(|own| own.max(side)) }, ..self }
    }

    /// The same, but [covering](Self::covering) int(s / `share`) pixels, where s is the shorter side of the size. This is what
    /// `crop_pct` means in a configuration of timm. `share` is in (0, 1].
    #[must_use]
    pub fn keeping(self, share: f64) -> Self {
        self.covering((self.shorter() as f64 / share) as usize)
    }

    /// The same for a model that sees images of another size. Squashed pictures stay squashed. Where a centre is cut out, it is the
    /// one that the released code cuts out at that size. Filter and normalisation stay.
    #[must_use]
    pub fn for_size(self, size: [usize; 2]) -> Self {
        match self.fit {
            _ if size == self.size => self,
            Fit::Squash => Self { size, ..self },
            Fit::CentreCrop { .. } => Self { size, fit: Self::unilm(size).fit, ..self },
            Fit::SquashAndCrop { to } => {
                Self { size, fit: Fit::SquashAndCrop { to: self.in_proportion(to, size) }, ..self }
            }
            Fit::Border { within } => {
                Self { size, fit: Fit::Border { within: self.in_proportion(within, size) }, ..self }
            }
        }
    }

    /// What sides are to the size, for another size.
    fn in_proportion(&self, sides: [usize; 2], size: [usize; 2]) -> [usize; 2] {
        std::array::from_fn(|axis| size[axis].max(sides[axis] * size[axis] / self.size[axis]))
    }

    /// `[C, H, W]` of the channels that are seen: 3 of colour, 1 of grey.
    #[must_use]
    pub fn apply(&self, image: &Image) -> Vec<f32> {
        self.normalise.planes(&self.view(image))
    }

    /// The picture that is normalised, `[H, W]`. Of a picture that covers more, the rest is not computed.
    #[must_use]
    pub fn view(&self, image: &Image) -> Image {
        let image = self.normalise.seen(image);
        let sides = [image.height(), image.width()];
        let centre_of = |sides| image.resize_part(sides, centre(sides, self.size), self.filter);
        match self.fit {
            Fit::Squash => image.resize(self.size, self.filter),
            Fit::CentreCrop { least } => centre_of(cover(sides, least)),
            Fit::SquashAndCrop { to } => centre_of(to),
            Fit::Border { within } => bordered(&image, inscribe(sides, within), self),
        }
    }

    /// `[3, 3, H, W]`, or `[3, 1, H, W]` of a model that sees grey: what [`three_views`](Self::three_views) sees, normalised.
    #[must_use]
    pub fn apply_three(&self, image: &Image) -> Vec<f32> {
        self.three_views(image).iter().flat_map(|view| self.normalise.planes(view)).collect()
    }

    /// The picture resized so that it just covers the size, whatever the [fit](Self::fit), and cut at the start, the centre and the end of
    /// the side that is too long. Of a picture with the aspect of the size the three are the same.
    #[must_use]
    pub fn three_views(&self, image: &Image) -> [Image; 3] {
        let image = self.normalise.seen(image);
        let sides = cover([image.height(), image.width()], self.size);
        let [height, width] = self.size;
        let middle = centre(sides, self.size);
        let ends = [(0, 0), (middle.top, middle.left), (sides[0] - height, sides[1] - width)];
        ends.map(|(top, left)| image.resize_part(sides, CropBox { top, left, height, width }, self.filter))
    }

    /// To how many pixels a picture's shorter side is resized, which is what files name, or `None` where pictures are squashed.
    /// Of a rectangle that is covered in its own aspect it is the shorter length.
    #[must_use]
    pub fn shortest_edge(&self) -> Option<usize> {
        match self.fit {
            Fit::CentreCrop { least: [height, width] } => Some(height.min(width)),
            Fit::Squash | Fit::SquashAndCrop { .. } | Fit::Border { .. } => None,
        }
    }

    /// Whether the model's images are small: these are cropped less in training, and not at all in the released code's way.
    pub(super) const fn is_small(&self) -> bool {
        is_small(self.size)
    }

    /// Whether they are so small that every view is nearly the whole.
    pub(super) const fn is_tiny(&self) -> bool {
        self.size[0] <= TINY && self.size[1] <= TINY
    }

    fn shorter(&self) -> usize {
        self.size[0].min(self.size[1])
    }
}

impl fmt::Display for Preprocessing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size: [height, width], fit, filter, normalise: Normalise { channels, mean, std } } = *self;
        match fit {
            Fit::Squash => write!(f, "squashed to {height}x{width}")?,
            Fit::CentreCrop { least: [h, w] } if h == w => {
                write!(f, "shorter side to {h}, centre {height}x{width}")?;
            }
            Fit::CentreCrop { least: [h, w] } => write!(f, "covering {h}x{w}, centre {height}x{width}")?,
            Fit::SquashAndCrop { to: [h, w] } => write!(f, "squashed to {h}x{w}, centre {height}x{width}")?,
            Fit::Border { within: [h, w] } => write!(f, "within {h}x{w}, centre or border {height}x{width}")?,
        }
        match channels {
            Channels::Colour => write!(f, ", {filter:?}, mean {mean:?}, deviation {std:?}"),
            Channels::Grey => write!(f, ", grey, {filter:?}, mean {}, deviation {}", mean[0], std[0]),
            Channels::Own(bands) => {
                write!(f, ", {bands} channels as they are, {filter:?}, mean {mean:?}, deviation {std:?}")
            }
        }
    }
}

/// Whether pictures of this size `[H, W]` are those of the small recipes: no side is longer than 64 pixels.
#[must_use]
pub const fn is_small([height, width]: [usize; 2]) -> bool {
    height <= SMALL && width <= SMALL
}

const fn is_large([height, width]: [usize; 2]) -> bool {
    height >= LARGE || width >= LARGE
}

/// A centre of `size [H, W]` whose sides are `share` of the resized picture's: that covers int(size / `share`).
const fn centre_share([height, width]: [usize; 2], share: f64) -> Fit {
    Fit::CentreCrop { least: [(height as f64 / share) as usize, (width as f64 / share) as usize] }
}

/// The smallest size with the aspect of `from` that covers `least`. The side that binds is exact. The other is truncated as torchvision's
/// `Resize` does, or, where another shape than a square is covered, rounded as timm's `ResizeKeepRatio` does.
fn cover(from: [usize; 2], least: [usize; 2]) -> [usize; 2] {
    let whole = |side: usize, other: usize| match least[0] == least[1] {
        true => least[side] * from[other] / from[side],
        false => rounded(from[other], from[side], least[side]),
    };
    let along = |side: usize| std::array::from_fn(|other| whole(side, other).max(least[other]));
    // Whether height / width of the picture is at most that of the target.
    if from[0] * least[1] <= least[0] * from[1] { along(0) } else { along(1) }
}

/// The largest size with the aspect of `from` that lies within `most`, as timm's `ResizeKeepRatio` with `longest=1` rounds it.
fn inscribe(from: [usize; 2], most: [usize; 2]) -> [usize; 2] {
    // Whether the height binds.
    let binding = usize::from(from[0] * most[1] < most[0] * from[1]);
    std::array::from_fn(|side| rounded(from[side], from[binding], most[binding]).clamp(1, most[side]))
}

/// `length · to / from`, rounded half to even as Python rounds `length / (from / to)`.
fn rounded(length: usize, from: usize, to: usize) -> usize {
    (length as f64 / (from as f64 / to as f64)).round_ties_even() as usize
}

/// The centre of a picture that is resized to `sides`, on the mean colour where that is smaller than the size (timm's `CenterCropOrPad`).
fn bordered(image: &Image, sides: [usize; 2], preprocessing: &Preprocessing) -> Image {
    let Preprocessing { size: [height, width], filter, normalise, .. } = *preprocessing;
    let seen = [sides[0].min(height), sides[1].min(width)];
    let part = image.resize_part(sides, centre(sides, seen), filter);
    let mean = match normalise.channels {
        Channels::Colour | Channels::Own(_) => normalise.mean.to_vec(),
        Channels::Grey => vec![normalise.mean[0]; 3],
    };
    let ground = part.samples().repeated(&mean, height * width);
    let mut whole = Image::of_channels(height, width, part.channels(), ground);
    whole.put(&part, [(height - seen[0]) / 2, (width - seen[1]) / 2]);
    whole
}

/// The central part of a picture of `outer [H, W]` pixels.
fn centre(outer: [usize; 2], [height, width]: [usize; 2]) -> CropBox {
    CropBox { top: margin(outer[0], height), left: margin(outer[1], width), height, width }
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
    fn sizes_of_the_libraries() {
        let covered = |preprocessing: Preprocessing| match preprocessing.fit {
            Fit::CentreCrop { least } => least,
            _ => panic!("{preprocessing}"),
        };
        assert_eq!(covered(Preprocessing::unilm([224; 2])), [256; 2]);
        assert_eq!(covered(Preprocessing::unilm([384; 2])), [384; 2]);
        assert_eq!(covered(Preprocessing::unilm([28; 2])), [28; 2]);
        assert_eq!(covered(Preprocessing::unilm([64, 65])), [73, 74]);
        assert_eq!(covered(Preprocessing::timm([224; 2])), [248; 2]);
        assert_eq!(covered(Preprocessing::timm([28; 2])), [31; 2]);
        assert_eq!(covered(Preprocessing::timm([224, 384])), [224, 384]);
        assert_eq!(covered(Preprocessing::timm([224; 2]).keeping(0.95)), [235; 2]);
        assert_eq!(covered(Preprocessing::hugging_face([224, 160]).covering(200)), [224, 200]);
    }

    #[test]
    fn another_size_is_prepared_as_the_released_code_does() {
        let timm = Preprocessing { normalise: Normalise::IMAGENET, ..Preprocessing::timm([224; 2]) };
        assert_eq!(timm.for_size([224; 2]), timm);
        let larger = Preprocessing { normalise: Normalise::IMAGENET, ..Preprocessing::unilm([384; 2]) };
        assert_eq!(timm.for_size([384; 2]), larger);
        let squashed = Preprocessing::hugging_face([224; 2]);
        assert_eq!(squashed.for_size([384, 320]), Preprocessing::hugging_face([384, 320]));
        let bilinear = squashed.covering(256).for_size([112; 2]);
        assert_eq!((bilinear.fit, bilinear.filter), (Preprocessing::unilm([112; 2]).fit, Filter::Bilinear));
    }

    #[test]
    fn a_sentence_says_what_happens() {
        let say = |preprocessing: Preprocessing| preprocessing.to_string();
        let half = "mean [0.5, 0.5, 0.5], deviation [0.5, 0.5, 0.5]";
        assert_eq!(
            say(Preprocessing::unilm([224; 2])),
            format!("shorter side to 256, centre 224x224, Bicubic, {half}")
        );
        assert_eq!(
            say(Preprocessing::hugging_face([224, 160])),
            format!("squashed to 224x160, Bilinear, {half}")
        );
        assert_eq!(
            say(Preprocessing::timm([224, 160])),
            format!("covering 248x177, centre 224x160, Bicubic, {half}")
        );
    }

    #[test]
    fn three_views_are_the_start_the_centre_and_the_end() {
        // The column of a pixel is its value, so that a view tells where it was cut.
        let wide = Image::new(8, 20, (0..8 * 20).flat_map(|i| [(i % 20) as u8; 3]).collect());
        for fit in [Fit::Squash, Fit::CentreCrop { least: [12; 2] }] {
            let preprocessing = Preprocessing { fit, ..Preprocessing::unilm([8; 2]) };
            let views = preprocessing.three_views(&wide);
            let first = |view: &Image| [view.height(), view.width(), view.pixels()[0].into()];
            assert_eq!(views.each_ref().map(first), [[8, 8, 0], [8, 8, 6], [8, 8, 12]]);
            let planes = preprocessing.apply_three(&wide);
            assert_eq!(planes.len(), 3 * 3 * 64);
            assert_eq!(planes[64 * 3..64 * 6], preprocessing.normalise.planes(&views[1])[..]);
        }
        let tall = Image::new(20, 8, (0..8 * 20).flat_map(|i| [(i / 8) as u8; 3]).collect());
        let views = Preprocessing::unilm([8; 2]).three_views(&tall);
        assert_eq!(views.map(|view| view.pixels()[0]), [0, 6, 12]);
        let square = Image::new(16, 16, (0..768).map(|i| (i % 251) as u8).collect());
        let [start, centre, end] = Preprocessing::unilm([8; 2]).three_views(&square);
        assert!(start == centre && centre == end && centre == Preprocessing::unilm([8; 2]).view(&square));
    }

    #[test]
    fn every_picture_gets_the_size_of_the_model() {
        let image = Image::new(37, 53, vec![9; 37 * 53 * 3]);
        for rule in [Preprocessing::unilm, Preprocessing::timm, Preprocessing::hugging_face] {
            for size in [[28; 2], [28, 20], [70, 90]] {
                assert_eq!(rule(size).apply(&image).len(), 3 * size[0] * size[1]);
            }
        }
    }
}
