#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

mod block;
mod codebook;
mod config;
mod decoder;
mod encoder;
mod error;
mod groups;
mod init;
mod kmeans;
mod objective;
pub mod pixels;
mod recipe;
mod schedule;
mod tokenizer;
mod usage;
mod visual_tokens;

pub use block::{Block, ResPath};
pub use codebook::Codebook;
pub use config::Config;
pub use decoder::Decoder;
pub use encoder::Encoder;
pub use error::Error;
pub use groups::Groups;
pub use init::init;
pub use kmeans::{Centroids, Features, KMeans, KMeansConfig};
pub use objective::{Losses, Objective, Terms};
pub use recipe::Recipe;
pub use schedule::{Cosine, Schedule};
pub use tokenizer::{Saved, Tokenizer};
pub use usage::Usage;
pub use visual_tokens::VisualTokens;
