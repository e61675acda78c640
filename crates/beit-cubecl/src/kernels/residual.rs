//! residual
#![allow(unused, clippy::unimplemented)]
use crate::gpu::Gpu;
use crate::tensor::Tensor;
use cubecl::prelude::*;
use beit_ops::Residual;
pub(crate) fn forward<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, branch: &Tensor, scale: &Residual<'_, Tensor>) -> Tensor { unimplemented!() }
pub(crate) fn backward<R: Runtime>(gpu: &Gpu<R>, dy: &Tensor, branch: &Tensor, scale: &Residual<'_, Tensor>, d_gamma: Option<&mut Tensor>) -> Tensor { unimplemented!() }
