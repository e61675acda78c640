//! The tasks of the paper.

mod classification;
mod masked_images;
mod segmentation;
mod tokenization;

pub use classification::{Classification, ClassificationSettings};
pub use masked_images::{MaskedImages, MaskedImagesSettings};
pub use segmentation::{Segmentation, SegmentationSettings};
pub use tokenization::{Tokenization, TokenizationSettings, tokenizer_divergence};

use beit_vit::Keep;

/// `recompute` of a task, for the model.
fn keep(recompute: bool) -> Keep {
    if recompute { Keep::Inputs } else { Keep::All }
}
