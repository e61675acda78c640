//! The parameters of single layers.

use crate::tree;

tree! {
    /// `y = x Wᵀ + b`: weight `[N, C]` (or any rank whose later extents multiply to `C`), bias `[N]`.
    pub struct Linear {
        /// `[N, C]`
        weight: T = leaf "weight",
        /// `[N]`
        bias: Option<T> = maybe_leaf "bias",
    }
}

tree! {
    /// The affine part of a layer norm: weight and bias `[C]`.
    pub struct Norm {
        /// `[C]`
        weight: T = leaf "weight",
        /// `[C]`
        bias: T = leaf "bias",
    }
}

tree! {
    /// A convolution of stride 1 with "same" zero padding: weight `[O, I, k, k]` with odd `k`, bias `[O]`.
    pub struct Conv2d {
        /// `[O, I, k, k]`
        weight: T = leaf "weight",
        /// `[O]`
        bias: T = leaf "bias",
    }
}
