//! conv
#![allow(unused, clippy::unimplemented)]
use crate::gpu::Gpu;
use crate::tensor::Tensor;
use cubecl::prelude::*;
use beit_ops::Conv2d;
pub(crate) fn channels_last<R: Runtime>(gpu: &Gpu<R>, x: &Tensor) -> Tensor { unimplemented!() }
pub(crate) fn forward<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, p: &Conv2d<Tensor>) -> Tensor { unimplemented!() }
pub(crate) fn backward_input<R: Runtime>(gpu: &Gpu<R>, dy: &Tensor, x: &Tensor, p: &Conv2d<Tensor>) -> Tensor { unimplemented!() }
pub(crate) fn backward_params<R: Runtime>(gpu: &Gpu<R>, dy: &Tensor, x: &Tensor, dp: &mut Conv2d<Tensor>) { unimplemented!() }
