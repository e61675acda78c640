//! embed
#![allow(unused, clippy::unimplemented)]
use crate::gpu::Gpu;
use crate::tensor::Tensor;
use cubecl::prelude::*;
use beit_ops::Embeddings;
pub(crate) fn patchify<R: Runtime>(gpu: &Gpu<R>, images: &Tensor, patch: [usize; 2]) -> Tensor { unimplemented!() }
pub(crate) fn forward<R: Runtime>(gpu: &Gpu<R>, patches: &Tensor, p: &Embeddings<Tensor>, mask: Option<&Tensor>, tokens: usize) -> Tensor { unimplemented!() }
pub(crate) fn backward<R: Runtime>(gpu: &Gpu<R>, d_tokens: &Tensor, mask: Option<&Tensor>, tokens: usize, dp: &mut Embeddings<Tensor>) -> Tensor { unimplemented!() }
