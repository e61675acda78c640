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
    pub fn apply(&self, image: Image, masker: &Masker, rng: &mut SampleRng) -> PretrainSample {
        let size = image.size();
        self.apply_reduced(image, size, masker, rng)
    }

    /// How many times smaller a picture of `size [height, width]` may be decoded, where its augmentation begins with these random
    /// numbers: neither view has more pixels than its region.
    #[must_use]
    pub fn reduction(&self, [height, width]: [usize; 2], rng: &mut SampleRng) -> u32 {
        // What is drawn before the region is drawn whatever the picture.
        self.colour_jitter.draw(rng);
        chance(rng, self.flip);
        let least = [0, 1].map(|side| self.image_size[side].max(self.token_size[side]));
        self.crop.sample(height, width, rng).reduction(least)
    }

    /// [`apply`](Self::apply) to a picture of `size [height, width]` that was [decoded smaller](Image::decode_reduced): the same random
    /// numbers choose the same region.
    #[must_use]
    pub fn apply_reduced(
        &self,
        mut image: Image,
        size: [usize; 2],
        masker: &Masker,
        rng: &mut SampleRng,
    ) -> PretrainSample {
        self.colour_jitter.apply(&mut image, rng);
        if chance(rng, self.flip) {
            image.flip_horizontal();
        }
        let region = image.crop(self.crop.sample(size[0], size[1], rng).scaled(size, image.size()));
        let pixels = self.normalise.planes(&region.resize(self.image_size, Filter::Bicubic));
        let token_pixels = logit_laplace(&region.resize(self.token_size, Filter::Lanczos));
        let mut mask = vec![false; masker.cells()];
        masker.fill(rng, &mut mask);
        PretrainSample { pixels, token_pixels, mask }
    }
}
