//! embed
#![allow(unused, clippy::unimplemented)]
use crate::gpu::Gpu;
use crate::tensor::Tensor;
use beit_ops::Embeddings;
use cubecl::prelude::*;
pub(crate) fn patchify<R: Runtime>(gpu: &Gpu<R>, images: &Tensor, patch: [usize; 2]) -> Tensor {
    unimplemented!()
}
pub(crate) fn forward<R: Runtime>(
    gpu: &Gpu<R>,
    patches: &Tensor,
    p: &Embeddings<Tensor>,
    mask: Option<&Tensor>,
    tokens: usize,
) -> Tensor {
    unimplemented!()
}
pub(crate) fn backward<R: Runtime>(
    gpu: &Gpu<R>,
    d_tokens: &Tensor,
    mask: Option<&Tensor>,
    tokens: usize,
    dp: &mut Embeddings<Tensor>,
) -> Tensor {
    unimplemented!()
}
