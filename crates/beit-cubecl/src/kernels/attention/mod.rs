//! `softmax((q + q_bias) D^-1/2 · kᵀ + R) · (v + v_bias)`, fused: scores exist in shared memory only.
//!
//! ```text
//! grid: [tiles of tokens, heads, images]; a block has 256 threads and one tile of one head
//!
//! forward                                       backward
//!
//!             keys, one tile at a time          backward_keys      block = tile of keys, loop over queries -> dK, dV
//!           +----+----+----+----+               backward_queries   block = tile of queries, loop over keys -> dQ
//!   block = | -> | -> | -> | -> |               sum_over_images    block = tile of queries by keys, loop over images
//!   a tile  +----+----+----+----+               fold               thread = row of the bias table
//!   of
//!   queries   pass 1: log-sum-exp of each row
//!             pass 2: exp(score - lse) times the values
//! ```
//!
//! A tile has 64 tokens on tensor cores and 16 without: see `variant.rs`. In shared memory are the tiles of the operands, one
//! tile of scores in f32, one of probabilities in the type of the products, and the bias of the head.
//!
//! - The forward pass computes the log-sum-exp before it mixes the values. The sums then need no rescaling, which fragments of
//!   CubeCL's tensor cores do not offer. The price is a second product of queries and keys, a small part of a transformer
//!   block's work.
//! - The backward pass computes the softmax again from the log-sum-exp, so nothing of size `T x T` is saved.
//! - Each result has one writer and a fixed order of additions, so every run gives the same bits.
//!
//! In bf16 on CUDA devices, heads of up to 128 elements that are multiples of 8 take the kernels of `native.rs` instead, which are CUDA
//! C++ and several times as fast. The kernels here serve all other devices, types and heads: 128 elements at most with 32 KiB of shared
//! memory.

mod backward;
mod bias;
mod call;
mod forward;
mod native;
mod rows;
mod tiles;
mod variant;

use self::backward::backward;
use self::forward::forward;
use crate::gpu::Gpu;
use crate::tensor::{Probs, Tensor};
use beit_ops::{AttentionOps, AttentionShape, AttentionTraining, QkvBias, QkvBiasGrad};
use cubecl::prelude::Runtime;

impl<R: Runtime> AttentionOps for Gpu<R> {
    fn attention(&self, qkv: &Tensor, bias: &QkvBias<'_, Tensor>, shape: AttentionShape) -> Tensor {
        forward(self, qkv, bias, shape).0
    }
}

impl<R: Runtime> AttentionTraining for Gpu<R> {
    type Probs = Probs;

    fn attention_forward(
        &self,
        qkv: &Tensor,
        bias: &QkvBias<'_, Tensor>,
        shape: AttentionShape,
    ) -> (Tensor, Probs) {
        forward(self, qkv, bias, shape)
    }
    fn attention_backward(
        &self,
        d_context: &Tensor,
        qkv: &Tensor,
        bias: &QkvBias<'_, Tensor>,
        probs: &Probs,
        shape: AttentionShape,
        d_bias: &mut QkvBiasGrad<'_, Tensor>,
    ) -> Tensor {
        backward(self, d_context, qkv, bias, probs, shape, d_bias)
    }
}
