//! move_rows
#![allow(unused, clippy::unimplemented)]
use crate::gpu::Gpu;
use crate::tensor::Tensor;
use cubecl::prelude::*;
use crate::tensor::Ids;
pub(crate) fn gather<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, rows: &Ids) -> Tensor { unimplemented!() }
pub(crate) fn gather_backward<R: Runtime>(gpu: &Gpu<R>, dy: &Tensor, rows: &Ids, m: usize) -> Tensor { unimplemented!() }
pub(crate) fn mean_pool<R: Runtime>(gpu: &Gpu<R>, x: &Tensor, tokens: usize) -> Tensor { unimplemented!() }
pub(crate) fn mean_pool_backward<R: Runtime>(gpu: &Gpu<R>, dy: &Tensor, tokens: usize) -> Tensor { unimplemented!() }
