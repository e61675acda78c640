//! posterior
#![allow(unused, clippy::unimplemented)]
use crate::gpu::Gpu;
use crate::tensor::Tensor;
use cubecl::prelude::*;
use beit_ops::GumbelNoise;
pub(crate) fn gumbel_softmax<R: Runtime>(gpu: &Gpu<R>, logits: &Tensor, noise: GumbelNoise, tau: f64) -> Tensor { unimplemented!() }
pub(crate) fn gumbel_softmax_backward<R: Runtime>(gpu: &Gpu<R>, dy: &Tensor, y: &Tensor, tau: f64) -> Tensor { unimplemented!() }
pub(crate) fn kl<R: Runtime>(gpu: &Gpu<R>, logits: &Tensor) -> (Tensor, [Tensor; 2]) { unimplemented!() }
pub(crate) fn kl_backward<R: Runtime>(gpu: &Gpu<R>, saved: &[Tensor; 2], weights: [f64; 2]) -> Tensor { unimplemented!() }
