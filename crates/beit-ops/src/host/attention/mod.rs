//! `softmax((q + q_bias) D^-1/2 · kᵀ + R) · (v + v_bias)`, one task for each head of an image.
//!
//! A task passes over the queries in tiles of whole rows of scores:
//!
//! ```text
//!                    keys, packed once            values, packed once
//!                       T                              D
//!              ┌──────────────────┐               ┌─────────┐
//!            D │        kᵀ        │             T │    v    │
//!              └──────────────────┘               └─────────┘
//!       D               T                              D
//!   ┌───────┐  ┌──────────────────┐               ┌─────────┐
//!   │ tile 0│  │ scores of tile 0 │ ─ softmax ─►  │ context │   ← written before tile 1 begins
//!   ├───────┤  ├ ─ ─ ─ ─ ─ ─ ─ ─ ─┤               ├─────────┤
//!   │ tile 1│  │ in the same      │               │         │
//!   └───────┘  └ ─ buffer ─ ─ ─ ─ ┘               └─────────┘
//!     queries
//! ```
//!
//! The scores of a tile stay in the cache, and no others ever exist: `[B, H, T, T]` would be 15 MB a layer for eight images of
//! 197 tokens. The backward computes them again, from the log-sum-exp of each row that the forward saved. A tile has up to
//! 40,960 scores, so that the 197 x 197 of an image of 224 pixels are one tile; fewer, fuller tiles made the backward up to 6 %
//! faster than more, smaller ones (docs/bench/cpu.md).

mod backward;
mod forward;
mod head;
mod relative;
#[cfg(test)]
mod tests;

use self::backward::backward;
use self::forward::forward;
use super::Host;
use crate::ops::{AttentionOps, AttentionShape, AttentionTraining, QkvBias, QkvBiasGrad};

on_host! {
    impl AttentionOps for Host<F> {
        fn attention(&self, qkv: &Tensor, bias: &QkvBias<'_, Tensor>, shape: AttentionShape) -> Tensor {
            forward(self.products, qkv, bias, shape).0
        }
    }

    impl AttentionTraining for Host<F> {
        /// The log-sum-exp of the scores, `[B, H, T]`.
        type Probs = Tensor;

        fn attention_forward(
            &self,
            qkv: &Tensor,
            bias: &QkvBias<'_, Tensor>,
            shape: AttentionShape,
        ) -> (Tensor, Tensor) {
            forward(self.products, qkv, bias, shape)
        }
        fn attention_backward(
            &self,
            d_context: &Tensor,
            qkv: &Tensor,
            bias: &QkvBias<'_, Tensor>,
            lse: &Tensor,
            shape: AttentionShape,
            d_bias: &mut QkvBiasGrad<'_, Tensor>,
        ) -> Tensor {
            backward(self.products, [d_context, qkv, lse], bias, shape, d_bias)
        }
    }
}
