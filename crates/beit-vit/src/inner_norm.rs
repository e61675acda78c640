//! The norm inside a branch: what its last product reads. Forward, and its mirror below.

use beit_ops::{Norm, Ops, TransformerOps};

/// What attention or the MLP made, and its norm where the block has one.
pub(crate) struct Inner<O: Ops> {
    x: O::Tensor,
    normed: Option<(O::Tensor, O::Stats)>,
}

impl<O: Ops> Inner<O> {
    /// `x [M, C] -> norm(x)`, or `x` itself where there is no norm.
    pub(crate) fn forward(ops: &O, x: O::Tensor, norm: Option<&Norm<O::Tensor>>, eps: f64) -> Self {
        let normed = norm.map(|norm| ops.layer_norm_forward(&x, norm, eps));
        Self { x, normed }
    }

    /// What the product reads.
    pub(crate) fn output(&self) -> &O::Tensor {
        self.normed.as_ref().map_or(&self.x, |(normed, _)| normed)
    }

    /// Returns `dx [M, C]`, which is `dy` itself where there is no norm.
    pub(crate) fn backward(
        &self,
        ops: &O,
        dy: O::Tensor,
        norm: Option<&Norm<O::Tensor>>,
        d_norm: Option<&mut Norm<O::Tensor>>,
    ) -> O::Tensor {
        match (&self.normed, norm, d_norm) {
            (Some((_, stats)), Some(norm), Some(d_norm)) => {
                ops.layer_norm_backward(&dy, &self.x, norm, stats, d_norm)
            }
            _ => dy,
        }
    }
}

/// [`Inner::forward`] where no backward follows.
pub(crate) fn infer<O: TransformerOps>(
    ops: &O,
    x: O::Tensor,
    norm: Option<&Norm<O::Tensor>>,
    eps: f64,
) -> O::Tensor {
    match norm {
        Some(norm) => ops.layer_norm(&x, norm, eps),
        None => x,
    }
}
