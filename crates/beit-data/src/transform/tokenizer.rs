use super::{Filter, RandomResizedCrop, logit_laplace};
use crate::image::Image;
use crate::rng::{SampleRng, chance};

/// Augmentation for training a visual tokenizer: the second view of [`PretrainTransform`](super::PretrainTransform) alone, so
/// that the tokenizer learns on what it will be shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenizerTransform {
    /// `[h, w]` pixels.
    pub size: [usize; 2],
    /// The random region.
    pub crop: RandomResizedCrop,
    /// Probability of a horizontal flip.
    pub flip: f64,
}

impl TokenizerTransform {
    /// Random flip and region, resized (Lanczos) and mapped by [`logit_laplace`]: `[C, h, w]`.
    #[must_use]
    pub fn apply(&self, image: Image, rng: &mut SampleRng) -> Vec<f32> {
        let size = image.size();
        self.apply_reduced(image, size, rng)
    }

    /// How many times smaller a picture of `size [height, width]` may be decoded, where its augmentation begins with these random
    /// numbers.
    #[must_use]
    pub fn reduction(&self, [height, width]: [usize; 2], rng: &mut SampleRng) -> u32 {
        chance(rng, self.flip);
        self.crop.sample(height, width, rng).reduction(self.size)
    }

    /// [`apply`](Self::apply) to a picture of `size [height, width]` that was [decoded smaller](Image::decode_reduced): the same random
    /// numbers choose the same region.
    #[must_use]
    pub fn apply_reduced(&self, mut image: Image, size: [usize; 2], rng: &mut SampleRng) -> Vec<f32> {
        if chance(rng, self.flip) {
            image.flip_horizontal();
        }
        let region = image.crop(self.crop.sample(size[0], size[1], rng).scaled(size, image.size()));
        logit_laplace(&region.resize(self.size, Filter::Lanczos))
    }

    /// The whole picture, resized (Lanczos) and mapped by [`logit_laplace`], with nothing random: `[C, h, w]`.
    #[must_use]
    pub fn whole(&self, image: &Image) -> Vec<f32> {
        logit_laplace(&image.resize(self.size, Filter::Lanczos))
    }
}
