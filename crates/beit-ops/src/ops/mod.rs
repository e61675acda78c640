//! What a device must be able to do, and nothing more: one file for each family of operations.
//!
//! A file begins with the trait that inference needs and goes on with the one that training adds: the forward that saves what the
//! backward needs, and the backward. It ends with what [`Plan`](crate::Plan) does: the shapes, checked. Losses and the optimiser
//! serve training alone. A fusion is a provided method: the default is its definition, an override is only faster.
//!
//! Dimensions: B images, N patches, T = N + 1 tokens, C channels, H heads, D head size, M rows, V classes or visual tokens.
//! Feature maps of convolutions are channels-last, `[B, height, width, C]`, so that a 1x1 convolution is a linear map.
//!
//! NaN is carried on: where one element of what an operation reads is NaN, everything computed from it is. A model whose weights
//! are no numbers so has no answer.
//!
//! A backward operation *adds* to parameter gradients and *returns* activation gradients.

mod attention;
mod batch_norm;
mod conv;
mod cross_entropy;
mod device;
mod elbo;
mod gradients;
mod linear;
mod maps;
mod optimiser;
mod residual;
mod rows;
mod squared_error;
mod tokens;

pub use attention::{AttentionOps, AttentionShape, AttentionTraining, QkvBias, QkvBiasGrad};
pub use batch_norm::{BATCH_NORM_MOMENTUM, BatchNormOps, BatchNormTraining};
pub use conv::{ConvOps, ConvTraining};
pub use cross_entropy::{CrossEntropyOps, Targets};
pub use device::{Device, DeviceError};
pub use elbo::{ElboOps, GumbelNoise};
pub use gradients::GradientOps;
pub use linear::{LinearOps, LinearTraining};
pub use maps::{Corners, MapOps, MapTraining};
pub use optimiser::{AdamW, OptimiserOps};
pub use residual::{BranchGrads, Residual, ResidualOps, ResidualTraining, SumNorm, SumNormGrads};
pub use rows::{RowOps, RowTraining};
pub use squared_error::SquaredErrorOps;
pub use tokens::{Embeddings, TokenOps, TokenTraining};

/// Everything that inference with the transformer needs.
///
/// Implemented by every device that has the families it consists of.
pub trait TransformerOps: LinearOps + ResidualOps + AttentionOps + TokenOps + RowOps {}

impl<D: LinearOps + ResidualOps + AttentionOps + TokenOps + RowOps> TransformerOps for D {}

/// Everything that inference with the tokenizer needs: images to visual tokens, and back.
///
/// Implemented by every device that has the families it consists of.
pub trait TokenizerOps: ConvOps + RowOps {}

impl<D: ConvOps + RowOps> TokenizerOps for D {}

/// Everything that inference with a segmentation head needs, on top of the transformer.
///
/// Implemented by every device that has the families it consists of.
pub trait SegmentationOps: TransformerOps + ConvOps + MapOps + BatchNormOps {}

impl<D: TransformerOps + ConvOps + MapOps + BatchNormOps> SegmentationOps for D {}

/// Everything: what training needs.
///
/// Implemented by every device that has the families it consists of. A function over `O: Ops` may call all their methods; who
/// calls them on a device by its type, such as [`Host<f32>`](crate::Host), brings them into scope by
/// `use beit_ops::prelude::*`.
pub trait Ops:
    TransformerOps
    + TokenizerOps
    + SegmentationOps
    + LinearTraining
    + ResidualTraining
    + AttentionTraining
    + TokenTraining
    + RowTraining
    + ConvTraining
    + MapTraining
    + BatchNormTraining
    + CrossEntropyOps
    + ElboOps
    + SquaredErrorOps
    + OptimiserOps
{
}

impl<D> Ops for D where
    D: TransformerOps
        + TokenizerOps
        + SegmentationOps
        + LinearTraining
        + ResidualTraining
        + AttentionTraining
        + TokenTraining
        + RowTraining
        + ConvTraining
        + MapTraining
        + BatchNormTraining
        + CrossEntropyOps
        + ElboOps
        + SquaredErrorOps
        + OptimiserOps
{
}

/// The methods of all families, for who calls operations on a device by its type. The traits come without their names, [`Ops`]
/// excepted, so that none gets in the way of another.
pub mod prelude {
    pub use super::Ops;
    pub use super::{AttentionOps as _, AttentionTraining as _, BatchNormOps as _, BatchNormTraining as _};
    pub use super::{ConvOps as _, ConvTraining as _, MapOps as _, MapTraining as _};
    pub use super::{CrossEntropyOps as _, Device as _, ElboOps as _, GradientOps as _};
    pub use super::{LinearOps as _, LinearTraining as _, OptimiserOps as _, ResidualOps as _};
    pub use super::{
        ResidualTraining as _, RowOps as _, RowTraining as _, SquaredErrorOps as _, TokenOps as _,
        TokenTraining as _,
    };
}
