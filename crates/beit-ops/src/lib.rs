#![doc = include_str!("../README.md")]
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

pub mod conformance;
pub mod host;
pub mod init;
mod leaf;
mod ops;
pub mod params;
pub mod philox;
pub mod plan;
mod probabilities;
mod relative;
mod shape;
mod taps;
mod tree;

pub use host::Host;
pub use leaf::{At, Layer, Leaf, Role, Start};
pub use ops::prelude;
pub use ops::{
    AdamW, AttentionOps, AttentionShape, AttentionTraining, BATCH_NORM_MOMENTUM, BatchNormOps,
    BatchNormTraining, BranchGrads, ConvOps, ConvTraining, Corners, CrossEntropyOps, Device, DeviceError,
    ElboOps, Embeddings, GradientOps, GumbelNoise, LinearOps, LinearTraining, MapOps, MapTraining, Ops,
    OptimiserOps, QkvBias, QkvBiasGrad, Residual, ResidualOps, ResidualTraining, RowOps, RowTraining,
    SegmentationOps, SquaredErrorOps, SumNorm, SumNormGrads, Targets, TokenOps, TokenTraining, TokenizerOps,
    TransformerOps,
};
pub use params::{Conv2d, ConvTranspose2, Linear, Norm, Running};
pub use plan::{Footprint, Plan};
pub use probabilities::attention_probabilities;
pub use relative::{relative_position_index, relative_position_rows};
pub use shape::Shape;
pub use taps::Taps;
pub use tree::Tree;
