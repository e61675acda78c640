use super::{Filter, Fit, Normalise, PhotometricDistortion, Preprocessing, RandomScale, Scale};
use crate::batch::SegmentationSample;
use crate::image::{CropBox, Image};
use crate::mask::Mask;
use crate::rng::{SampleRng, at_most, chance};

/// Augmentation of semantic segmentation: random size, random crop, horizontal flip, photometric distortion, normalisation, and
/// padding on the right and at the bottom where the picture is smaller than the crop. This is the pipeline of mmsegmentation 0.11,
/// but for resampling: pictures are resampled bilinear with antialiasing, and masks take the class that each pixel's centre lies in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SegmentationTransform {
    /// `[H, W]` pixels of the crop.
    pub size: [usize; 2],
    /// The random size.
    pub scale: RandomScale,
    /// What a crop must show, if anything.
    pub class_share: Option<ClassShare>,
    /// Probability of a horizontal flip.
    pub flip: f64,
    /// Light and colour.
    pub photometric: Option<PhotometricDistortion>,
    /// Normalisation.
    pub normalise: Normalise,
}

/// A crop must show two classes, and no class on too many of its pixels, those that are ignored aside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassShare {
    /// Share that the most frequent class stays below.
    pub most: f64,
    /// Crops that are looked at. Where none of them is good, one more is taken as it is.
    pub tries: usize,
}

impl ClassShare {
    /// Below 0.75, ten crops: the released code.
    pub const STANDARD: Self = Self { most: 0.75, tries: 10 };

    /// Whether a mask is as it should be.
    #[must_use]
    pub fn holds(&self, mask: &Mask) -> bool {
        let counts = mask.histogram();
        let counts = &counts[..usize::from(Mask::IGNORED)];
        let (most, all) = (counts.iter().max().copied().unwrap_or(0), counts.iter().sum::<u64>());
        most < all && (most as f64) < self.most * all as f64
    }
}

impl SegmentationTransform {
    /// Pixels `[C, H, W]`, and labels `[H · W]`. Padding has pixels of 0 after normalisation, and is ignored.
    ///
    /// # Panics
    ///
    /// If the mask is not as large as the picture.
    #[must_use]
    pub fn apply(&self, image: &Image, mask: &Mask, rng: &mut SampleRng) -> SegmentationSample {
        let sides = [image.height(), image.width()];
        assert_eq!(sides, [mask.height(), mask.width()], "a mask is as large as its picture");
        let scaled = self.scale.sample(sides, rng);
        let (region, mut mask) = self.crop(scaled, mask, rng);
        let mut view = self.normalise.seen(image).resize_part(scaled, region, Filter::Bilinear);
        if chance(rng, self.flip) {
            view.flip_horizontal();
            mask.flip_horizontal();
        }
        if let Some(photometric) = self.photometric {
            photometric.apply(&mut view, rng);
        }
        let [height, width] = self.size;
        let padded = mask.crop(CropBox { top: 0, left: 0, height, width });
        let planes = self.normalise.planes(&view);
        SegmentationSample {
            pixels: pad(&planes, [view.height(), view.width()], self.size),
            labels: padded.ids().iter().map(|&id| u32::from(id)).collect(),
        }
    }

    /// A region of a picture that is resized to `scaled [H, W]`, no larger than the picture, and the mask in it.
    fn crop(&self, scaled: [usize; 2], mask: &Mask, rng: &mut SampleRng) -> (CropBox, Mask) {
        let mut draw = || {
            let [height, width] = [0, 1].map(|side| self.size[side].min(scaled[side]));
            let (top, left) = (at_most(rng, scaled[0] - height), at_most(rng, scaled[1] - width));
            let region = CropBox { top, left, height, width };
            (region, mask.resize_part(scaled, region))
        };
        let mut drawn = draw();
        if let Some(share) = self.class_share {
            for _ in 0..share.tries {
                if share.holds(&drawn.1) {
                    break;
                }
                drawn = draw();
            }
        }
        drawn
    }
}

/// `planes [C, h, w] -> [C, H, W]`, with zeros on the right and at the bottom.
fn pad(planes: &[f32], [height, width]: [usize; 2], size: [usize; 2]) -> Vec<f32> {
    let channels = planes.len() / (height * width);
    let mut padded = vec![0.0; channels * size[0] * size[1]];
    let planes = planes.chunks_exact(height * width).zip(padded.chunks_exact_mut(size[0] * size[1]));
    for (plane, padded) in planes {
        for (row, padded) in plane.chunks_exact(width).zip(padded.chunks_exact_mut(size[1])) {
            padded[..width].copy_from_slice(row);
        }
    }
    padded
}

/// How a picture is prepared to be segmented: resized and normalised whole. Nothing is random.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SegmentationView {
    /// The size.
    pub scale: Scale,
    /// Resampling.
    pub filter: Filter,
    /// Normalisation.
    pub normalise: Normalise,
}

/// The pixels of a whole picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Planes {
    /// Normalised, `[C, H, W]`.
    pub pixels: Vec<f32>,
    /// H.
    pub height: usize,
    /// W.
    pub width: usize,
}

impl SegmentationView {
    /// The picture at its scale.
    #[must_use]
    pub fn apply(&self, image: &Image) -> Planes {
        let size @ [height, width] = self.scale.size([image.height(), image.width()], 1.0);
        let whole = Preprocessing { size, fit: Fit::Squash, filter: self.filter, normalise: self.normalise };
        Planes { pixels: whole.apply(image), height, width }
    }
}

impl SegmentationTransform {
    /// What pictures look like to a model that was trained with this: at the scale that the random ones are multiples of.
    #[must_use]
    pub fn view(&self) -> SegmentationView {
        SegmentationView { scale: self.scale.base, filter: Filter::Bilinear, normalise: self.normalise }
    }

    /// The picture as [`view`](Self::view) shows it.
    #[must_use]
    pub fn fit(&self, image: &Image) -> Planes {
        self.view().apply(image)
    }
}
