//! attention
#![allow(unused, clippy::unimplemented)]
use crate::gpu::Gpu;
use crate::tensor::Tensor;
use cubecl::prelude::*;
use beit_ops::{AttentionShape, QkvBias, QkvBiasGrad};
use crate::tensor::Probs;
pub(crate) fn forward<R: Runtime>(gpu: &Gpu<R>, qkv: &Tensor, bias: &QkvBias<'_, Tensor>, shape: AttentionShape) -> (Tensor, Probs) { unimplemented!() }
pub(crate) fn backward<R: Runtime>(gpu: &Gpu<R>, d_context: &Tensor, qkv: &Tensor, bias: &QkvBias<'_, Tensor>, probs: &Probs, shape: AttentionShape, d_bias: &mut QkvBiasGrad<'_, Tensor>) -> Tensor { unimplemented!() }
