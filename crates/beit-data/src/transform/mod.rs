//! From a decoded picture to the numbers a model sees. All randomness comes in as a generator.

mod crop;
mod erase;
mod finetune;
mod hsv;
mod jitter;
mod normalise;
mod per_channel;
mod photometric;
mod preprocessing;
mod pretrain;
mod rand_augment;
mod resize;
mod scale;
mod segmentation;
mod tokenizer;
mod training;

pub use crop::RandomResizedCrop;
pub use erase::RandomErasing;
pub use finetune::FinetuneTransform;
pub use jitter::ColourJitter;
pub use normalise::{Channels, LOGIT_LAPLACE_EPS, Normalise, logit_laplace};
pub use per_channel::PerChannel;
pub use photometric::PhotometricDistortion;
pub use preprocessing::{Fit, Preprocessing, is_small};
pub use pretrain::PretrainTransform;
pub use rand_augment::{Augment, AugmentKind, AugmentLevel, RandAugment};
pub use resize::Filter;
pub use scale::{RandomScale, Scale};
pub use segmentation::{ClassShare, Planes, SegmentationTransform, SegmentationView};
pub use tokenizer::TokenizerTransform;
