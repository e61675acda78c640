#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod classifier;
pub mod mim;
pub mod segmenter;

pub use classifier::{Classifier, ClassifierConfig, Pooling, initial_head};
pub use mim::{Mim, MimConfig, initial_token_head, masked_rows, patch_rows};
pub use segmenter::{Auxiliary, HeadConfig, PixelMean, Pixels, Segmenter, SegmenterConfig, pixel_loss};
