use beit_mask::Masker;

use super::{ColourJitter, Filter, Normalise, RandomResizedCrop, logit_laplace};
use crate::batch::PretrainSample;
use crate::image::Image;
use crate::rng::{SampleRng, chance};

/// Augmentation of masked image modelling: one random crop seen twice, by the transformer and by the tokenizer.
///
/// In order, as the released code: colour jitter of the whole picture, horizontal flip, one random region; view A of it
/// resized (bicubic) and normalised, view B resized (Lanczos) and mapped by [`logit_laplace`]; then a mask.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PretrainTransform {
    /// View A, `[H, W]` pixels.
    pub image_size: [usize; 2],
    /// View B, `[h, w]` pixels: the token grid times the tokenizer's stride.
    pub token_size: [usize; 2],
    /// Colour jitter.
    pub colour_jitter: ColourJitter,
    /// The random region.
    pub crop: RandomResizedCrop,
    /// Probability of a horizontal flip.
    pub flip: f64,
    /// Normalisation of view A.
    pub normalise: Normalise,
}

impl PretrainTransform {
    /// Two views and a mask of `masker`'s grid.
    #[must_use]
    pub fn apply(&self, mut image: Image, masker: &Masker, rng: &mut SampleRng) -> PretrainSample {
        self.colour_jitter.apply(&mut image, rng);
        if chance(rng, self.flip) {
            image.flip_horizontal();
        }
        let region = image.crop(self.crop.sample(image.height(), image.width(), rng));
        let pixels = self.normalise.planes(&region.resize(self.image_size, Filter::Bicubic));
        let token_pixels = logit_laplace(&region.resize(self.token_size, Filter::Lanczos));
        let mut mask = vec![false; masker.cells()];
        masker.fill(rng, &mut mask);
        PretrainSample { pixels, token_pixels, mask }
    }
}
