#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod classifier;
pub mod masked_pixels;
pub mod mim;
mod on_rows;
pub mod segmenter;

pub use classifier::{Classifier, ClassifierConfig, Pooling, initial_head};
pub use masked_pixels::{PixelMim, patch_values};
pub use mim::{Mim, MimConfig, masked_rows, patch_rows};
pub use on_rows::Saved;
pub use segmenter::{Auxiliary, HeadConfig, PixelMean, Pixels, Segmenter, SegmenterConfig, pixel_loss};
