use super::{ColourJitter, Filter, Normalise, RandAugment, RandomErasing, RandomResizedCrop};
use crate::image::Image;
use crate::rng::{SampleRng, chance};

/// Augmentation of supervised training: random region (bicubic), horizontal flip, RandAugment or colour jitter, normalisation, random
/// erasing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FinetuneTransform {
    /// `[H, W]` pixels.
    pub size: [usize; 2],
    /// The random region.
    pub crop: RandomResizedCrop,
    /// Probability of a horizontal flip.
    pub flip: f64,
    /// RandAugment, in place of colour jitter.
    pub rand_augment: Option<RandAugment>,
    /// Colour jitter. It is ignored where there is RandAugment, as in the released code.
    pub colour_jitter: ColourJitter,
    /// Normalisation.
    pub normalise: Normalise,
    /// Random erasing, after normalisation.
    pub erase: Option<RandomErasing>,
}

impl FinetuneTransform {
    /// `[C, H, W]`.
    #[must_use]
    pub fn apply(&self, image: &Image, rng: &mut SampleRng) -> Vec<f32> {
        self.apply_reduced(image, image.size(), rng)
    }

    /// How many times smaller a picture of `size [height, width]` may be decoded, where its augmentation begins with these random
    /// numbers.
    #[must_use]
    pub fn reduction(&self, [height, width]: [usize; 2], rng: &mut SampleRng) -> u32 {
        self.crop.sample(height, width, rng).reduction(self.size)
    }

    /// [`apply`](Self::apply) to a picture of `size [height, width]` that was [decoded smaller](Image::decode_reduced): the same random
    /// numbers choose the same region.
    #[must_use]
    pub fn apply_reduced(&self, image: &Image, size: [usize; 2], rng: &mut SampleRng) -> Vec<f32> {
        let image = self.normalise.seen(image);
        let region = self.crop.sample(size[0], size[1], rng).scaled(size, image.size());
        let mut view = image.crop(region).resize(self.size, Filter::Bicubic);
        if chance(rng, self.flip) {
            view.flip_horizontal();
        }
        match self.rand_augment {
            Some(augment) => augment.apply(&mut view, self.normalise.fill(), rng),
            None => self.colour_jitter.apply(&mut view, rng),
        }
        let mut pixels = self.normalise.planes(&view);
        if let Some(erase) = self.erase {
            erase.apply(&mut pixels, self.size, rng);
        }
        pixels
    }
}
