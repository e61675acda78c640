//! A segmenter on whole pictures: windows, views of several sizes, and what is counted of the answers.

mod counts;
mod infer;
mod windows;

pub use counts::{PixelAccuracy, PixelClass, PixelCounts};
pub use infer::{View, numbers_held, segment};
pub use windows::Windows;
