//! The parameters of single layers.

use crate::tree;

tree! {
    /// `y = x Wᵀ + b`: weight `[N, C]` (or any rank whose later extents multiply to `C`), bias `[N]`.
    pub struct Linear {
        /// `[N, C]`
        pub weight: T = leaf "weight" as Weight,
        /// `[N]`
        pub bias: Option<T> = maybe_leaf "bias" as Bias,
    }
}

tree! {
    /// The affine part of a layer norm: weight and bias `[C]`.
    pub struct Norm {
        /// `[C]`
        pub weight: T = leaf "weight" as NormWeight,
        /// `[C]`
        pub bias: T = leaf "bias" as NormBias,
    }
}

tree! {
    /// A convolution of stride 1 with "same" zero padding: weight `[O, I, k, k]` with odd `k`, bias `[O]`.
    pub struct Conv2d {
        /// `[O, I, k, k]`
        pub weight: T = leaf "weight" as Weight,
        /// `[O]`
        pub bias: Option<T> = maybe_leaf "bias" as Bias,
    }
}

tree! {
    /// A transposed convolution of 2x2 pixels with stride 2, which doubles the sides of a feature map: weight `[I, O, 2, 2]`, bias `[O]`.
    pub struct ConvTranspose2 {
        /// `[I, O, 2, 2]`
        pub weight: T = leaf "weight" as Weight,
        /// `[O]`
        pub bias: T = leaf "bias" as Bias,
    }
}

tree! {
    /// What a batch norm knows of its channels after training: means over many batches. No gradient reaches them.
    pub struct Running {
        /// `[C]`
        pub mean: T = leaf "running_mean" as RunningMean,
        /// `[C]`, unbiased.
        pub variance: T = leaf "running_var" as RunningVariance,
    }
}
