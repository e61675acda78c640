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
    pub fn apply(&self, mut image: Image, rng: &mut SampleRng) -> Vec<f32> {
        if chance(rng, self.flip) {
            image.flip_horizontal();
        }
        let region = image.crop(self.crop.sample(image.height(), image.width(), rng));
        logit_laplace(&region.resize(self.size, Filter::Lanczos))
    }

    /// The whole picture, resized (Lanczos) and mapped by [`logit_laplace`], with nothing random: `[C, h, w]`.
    #[must_use]
    pub fn whole(&self, image: &Image) -> Vec<f32> {
        logit_laplace(&image.resize(self.size, Filter::Lanczos))
    }
}
