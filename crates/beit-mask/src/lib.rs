#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

mod aspect;
mod block_wise;
mod cells;
mod config;
mod draw;
mod error;
mod fit;
mod masker;
mod paper;
mod random;
mod rect;

pub use config::{BlockShape, Config, Grid, OFFICIAL_RATIO, Strategy};
pub use error::Error;
pub use masker::Masker;
pub use rect::Rect;
