//! optimiser
#![allow(unused, clippy::unimplemented)]
use crate::gpu::Gpu;
use crate::tensor::Tensor;
use beit_ops::AdamW;
use cubecl::prelude::*;
pub(crate) fn clip_factor<R: Runtime>(gpu: &Gpu<R>, grads: &[&Tensor], max_norm: Option<f32>) -> Tensor {
    unimplemented!()
}
pub(crate) fn adamw<R: Runtime>(
    gpu: &Gpu<R>,
    param: &mut Tensor,
    grad: &Tensor,
    moments: [&mut Tensor; 2],
    clip: &Tensor,
    hyper: &AdamW,
) {
    unimplemented!()
}
