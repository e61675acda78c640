use super::{
    ClassShare, ColourJitter, FinetuneTransform, PhotometricDistortion, Preprocessing, PretrainTransform,
    RandomErasing, RandomResizedCrop, RandomScale, SegmentationTransform, TokenizerTransform,
};

/// Probability of a horizontal flip, in every training.
const FLIP: f64 = 0.5;

/// Augmentation for a model whose pictures are prepared like this. It resamples with the released code's filters, not with `filter`.
impl Preprocessing {
    /// Augmentation of masked image modelling. `token_size [h, w]` is what the tokenizer sees: the token grid times its stride.
    #[must_use]
    pub const fn pretrain(&self, token_size: [usize; 2], colour_jitter: ColourJitter) -> PretrainTransform {
        PretrainTransform {
            image_size: self.size,
            token_size,
            colour_jitter,
            crop: self.crop(),
            flip: FLIP,
            normalise: self.normalise,
        }
    }

    /// Augmentation for training a tokenizer that sees `token_size [h, w]`.
    #[must_use]
    pub const fn tokenizer(&self, token_size: [usize; 2]) -> TokenizerTransform {
        TokenizerTransform { size: token_size, crop: self.crop(), flip: FLIP }
    }

    /// Augmentation of fine-tuning, with the released settings but for RandAugment, which is off. There is no colour jitter, since the
    /// released code ignores it where RandAugment is on. Of small images nothing is erased.
    #[must_use]
    pub const fn finetune(&self) -> FinetuneTransform {
        FinetuneTransform {
            size: self.size,
            crop: self.crop(),
            flip: FLIP,
            rand_augment: None,
            colour_jitter: ColourJitter::NONE,
            normalise: self.normalise,
            erase: if self.is_small() { None } else { Some(RandomErasing::STANDARD) },
        }
    }

    /// Augmentation of semantic segmentation with the settings of the released code: a base scale of (4 S, S) for pictures of S pixels,
    /// which is (2048, 512) for 512. Small images are kept near their own size. Light and colour of channels that are read as they are stay.
    #[must_use]
    pub const fn segment(&self) -> SegmentationTransform {
        let shorter = if self.size[0] < self.size[1] { self.size[0] } else { self.size[1] };
        SegmentationTransform {
            size: self.size,
            scale: if self.is_small() { RandomScale::SMALL } else { RandomScale::standard(shorter) },
            class_share: Some(ClassShare::STANDARD),
            flip: FLIP,
            photometric: match self.normalise.channels.bands() {
                Some(_) => None,
                None => Some(PhotometricDistortion::STANDARD),
            },
            normalise: self.normalise,
        }
    }

    /// Small images are cropped less.
    const fn crop(&self) -> RandomResizedCrop {
        if self.is_tiny() {
            RandomResizedCrop::TINY
        } else if self.is_small() {
            RandomResizedCrop::SMALL
        } else {
            RandomResizedCrop::STANDARD
        }
    }
}
