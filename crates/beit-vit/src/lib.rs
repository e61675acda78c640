#![doc = include_str!("../README.md")]
//!
//! ## Dimensions
//!
//! B images, N patches, T = N + 1 tokens, C channels (the width), H heads, D head size, M = B·T rows, R rows of a relative
//! position table. Tokens are kept as rows, `[B·T, C]`, \[CLS\] first in each image.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod attention;
mod block;
mod chain;
mod config;
mod init;
mod inner_norm;
mod mlp;
mod shapes;
mod vit;

pub use block::{Attention, Block, Context, Saved as BlockSaved};
pub use config::{Config, Error, Preset, RelativePositions};
pub use init::{Init, init};
pub use mlp::Mlp;
pub use vit::{DropPath, Input, Keep, Saved, Vit};
