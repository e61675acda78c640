//! What a parameter is: said once, where its tree declares it.

use alloc::format;
use alloc::string::String;

/// What a parameter does in its model. Weight decay and initial values follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The weight of a linear map or a convolution.
    Weight,
    /// What a linear map, a convolution, a query or a value adds.
    Bias,
    /// The weight of a norm.
    NormWeight,
    /// The bias of a norm.
    NormBias,
    /// A factor of LayerScale.
    Gamma,
    /// \[CLS\].
    ClassToken,
    /// What stands for a masked patch.
    MaskToken,
    /// Absolute positions.
    Positions,
    /// A table of relative position biases.
    RelativePositions,
    /// The mean of a channel over many batches, which has no gradient.
    RunningMean,
    /// The variance of a channel over many batches, which has no gradient.
    RunningVariance,
}

/// What a parameter starts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// All zero.
    Zeros,
    /// All one.
    Ones,
    /// The configured value of LayerScale.
    LayerScale,
    /// Random numbers.
    Drawn,
}

impl Role {
    /// Whether weight decay applies. Mask token and relative position tables **are** decayed, \[CLS\] and absolute positions are
    /// not (`beit/optim_factory.py`).
    #[must_use]
    pub const fn decays(self) -> bool {
        matches!(self, Self::Weight | Self::MaskToken | Self::RelativePositions)
    }

    /// What a new parameter starts as (`beit/modeling_pretrain.py`, `beit/modeling_finetune.py`).
    #[must_use]
    pub const fn start(self) -> Start {
        match self {
            Self::Bias | Self::NormBias | Self::RelativePositions | Self::RunningMean => Start::Zeros,
            Self::NormWeight | Self::RunningVariance => Start::Ones,
            Self::Gamma => Start::LayerScale,
            Self::Weight | Self::ClassToken | Self::MaskToken | Self::Positions => Start::Drawn,
        }
    }
}

/// The depth of a model at which a parameter stands. Layer-wise learning rates follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// What makes tokens of patches.
    Stem,
    /// The block with this number, from 0.
    Block(usize),
    /// What comes after the blocks, and what all of them share.
    Top,
}

/// A parameter as its tree declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// In the official checkpoints.
    pub name: String,
    /// What it does.
    pub role: Role,
    /// Where it stands.
    pub layer: Layer,
}

/// A place in a tree: what all names there begin with, and the layer.
#[derive(Clone, Debug)]
pub struct At {
    prefix: String,
    layer: Layer,
}

impl At {
    /// Where a whole model stands.
    #[must_use]
    pub const fn root() -> Self {
        Self { prefix: String::new(), layer: Layer::Top }
    }

    /// A parameter here.
    #[must_use]
    pub fn leaf(&self, key: &str, role: Role) -> Leaf {
        Leaf { name: format!("{}{key}", self.prefix), role, layer: self.layer }
    }

    /// A tree here.
    #[must_use]
    pub fn join(&self, key: &str) -> Self {
        Self { prefix: format!("{}{key}", self.prefix), layer: self.layer }
    }

    /// The same place in a layer of its own.
    #[must_use]
    pub fn within(self, layer: Layer) -> Self {
        Self { layer, ..self }
    }

    /// Tree `index` of a list here.
    #[must_use]
    pub fn item(&self, key: &str, index: usize) -> Self {
        Self { prefix: format!("{}{key}{index}.", self.prefix), layer: self.layer }
    }

    /// Tree `index` of a list here, which is a block.
    #[must_use]
    pub fn block(&self, key: &str, index: usize) -> Self {
        self.item(key, index).within(Layer::Block(index))
    }
}
