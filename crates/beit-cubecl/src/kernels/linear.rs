//! linear
#![allow(unused, clippy::unimplemented)]
use crate::gpu::Gpu;
use crate::tensor::Tensor;
use cubecl::prelude::*;
use beit_ops::Linear;
pub(crate) fn forward<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, p: &Linear<Tensor>) -> Tensor { unimplemented!() }
pub(crate) fn forward_gelu<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, p: &Linear<Tensor>) -> (Tensor, Tensor) { unimplemented!() }
pub(crate) fn backward_input<R: Runtime>(gpu: &Gpu<R>, dy: &Tensor, x: &Tensor, p: &Linear<Tensor>) -> Tensor { unimplemented!() }
pub(crate) fn backward_params<R: Runtime>(gpu: &Gpu<R>, dy: &Tensor, x: &Tensor, dp: &mut Linear<Tensor>) { unimplemented!() }
