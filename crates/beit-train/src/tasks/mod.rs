//! The tasks of the paper.

mod classification;
mod masked_images;
mod masked_pixels;
mod segmentation;
mod tokenization;

pub use classification::{Classification, ClassificationSettings};
pub use masked_images::{MaskedImages, MaskedImagesSettings};
pub use masked_pixels::MaskedPixels;
pub use segmentation::{Segmentation, SegmentationSettings};
pub use tokenization::{Tokenization, TokenizationSettings, tokenizer_divergence};

use crate::task::Moment;
use beit_vit::Keep;

/// `recompute` of a task and what is not trained, for the model.
const fn keep(recompute: bool, moment: &Moment) -> Keep {
    Keep { inputs_only: recompute, frozen: moment.frozen }
}
