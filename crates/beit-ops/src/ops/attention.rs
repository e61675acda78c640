//! Multi-head self-attention, between its two projections.

use super::Device;
use crate::plan::{Plan, Planned, is, same};
use crate::relative_position_rows;

/// Attention, forward.
pub trait AttentionOps: Device {
    /// Multi-head self-attention between the two projections: `qkv [B·T, 3C] -> context [B·T, C]`.
    ///
    /// Rows of `qkv` are `q | k | v`, each H heads of D. `softmax((q + q_bias) D^-1/2 · kᵀ + R) · (v + v_bias)`, where
    /// `R [H, T, T]` is read from the relative position tables; two tables add up. The key has no bias.
    fn attention(
        &self,
        qkv: &Self::Tensor,
        bias: &QkvBias<'_, Self::Tensor>,
        shape: AttentionShape,
    ) -> Self::Tensor;
}

/// The forward that keeps what gives the softmax back, and the gradient.
pub trait AttentionTraining: AttentionOps {
    /// What [`attention_forward`](AttentionTraining::attention_forward) keeps of the softmax.
    type Probs;

    /// [`attention`](AttentionOps::attention) before a backward.
    fn attention_forward(
        &self,
        qkv: &Self::Tensor,
        bias: &QkvBias<'_, Self::Tensor>,
        shape: AttentionShape,
    ) -> (Self::Tensor, Self::Probs);
    /// Returns `d_qkv [B·T, 3C]`.
    fn attention_backward(
        &self,
        d_context: &Self::Tensor,
        qkv: &Self::Tensor,
        bias: &QkvBias<'_, Self::Tensor>,
        probs: &Self::Probs,
        shape: AttentionShape,
        d_bias: &mut QkvBiasGrad<'_, Self::Tensor>,
    ) -> Self::Tensor;
}

/// How the rows of an attention belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionShape {
    /// H
    pub heads: usize,
    /// T
    pub tokens: usize,
    /// Height and width of the patch grid, `T = height · width + 1`; read only when there is a relative position table.
    pub window: [usize; 2],
}

/// What attention adds to its inputs.
#[derive(Clone, Copy, Debug)]
pub struct QkvBias<'a, T> {
    /// `[C]`
    pub q: &'a T,
    /// `[C]`
    pub v: &'a T,
    /// The layer's relative position table `[R, H]`.
    pub table: Option<&'a T>,
    /// The relative position table `[R, H]` that all layers share.
    pub shared: Option<&'a T>,
}

/// The gradients of [`QkvBias`].
#[derive(Debug)]
pub struct QkvBiasGrad<'a, T> {
    /// `[C]`
    pub q: &'a mut T,
    /// `[C]`
    pub v: &'a mut T,
    /// `[R, H]`
    pub table: Option<&'a mut T>,
    /// `[R, H]`
    pub shared: Option<&'a mut T>,
}

impl AttentionOps for Plan {
    fn attention(&self, qkv: &Planned, bias: &QkvBias<'_, Planned>, shape: AttentionShape) -> Planned {
        self.attention_forward(qkv, bias, shape).0
    }
}

impl AttentionTraining for Plan {
    type Probs = Planned;

    fn attention_forward(
        &self,
        qkv: &Planned,
        bias: &QkvBias<'_, Planned>,
        shape: AttentionShape,
    ) -> (Planned, Planned) {
        let AttentionShape { heads, tokens, window } = shape;
        let c = qkv.last() / 3;
        assert!(qkv.last() == 3 * c && c.is_multiple_of(heads) && qkv.rows().is_multiple_of(tokens));
        is(bias.q, [c]);
        is(bias.v, [c]);
        for table in [bias.table, bias.shared].into_iter().flatten() {
            assert_eq!(window[0] * window[1] + 1, tokens, "a window of {window:?} for {tokens} tokens");
            is(table, [relative_position_rows(window), heads]);
        }
        let batch = qkv.rows() / tokens;
        self.products(2 * batch * heads, tokens, c / heads, tokens);
        (self.activation([batch * tokens, c]), self.tensor([batch, heads, tokens]))
    }
    fn attention_backward(
        &self,
        d_context: &Planned,
        qkv: &Planned,
        bias: &QkvBias<'_, Planned>,
        probs: &Planned,
        shape: AttentionShape,
        d_bias: &mut QkvBiasGrad<'_, Planned>,
    ) -> Planned {
        let AttentionShape { heads, tokens, .. } = shape;
        let (c, batch) = (qkv.last() / 3, qkv.rows() / tokens);
        is(d_context, [batch * tokens, c]);
        assert_eq!(probs.shape[..3], [batch, heads, tokens]);
        same(bias.q, d_bias.q);
        same(bias.v, d_bias.v);
        assert_eq!(bias.table.map(|t| t.shape), d_bias.table.as_ref().map(|t| t.shape));
        assert_eq!(bias.shared.map(|t| t.shape), d_bias.shared.as_ref().map(|t| t.shape));
        self.products(4 * batch * heads, tokens, c / heads, tokens);
        self.activation(qkv.shape)
    }
}
