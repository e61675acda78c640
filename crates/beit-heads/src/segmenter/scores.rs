//! The last layer of a segmentation head: channels that are dropped in training, then a score for each class.

use beit_ops::{Conv2d, Ops, Shape};

/// `[V, C, 1, 1]` and `[V]`
pub(super) fn shapes(c: usize, classes: usize) -> Conv2d<Shape> {
    Conv2d { weight: [classes, c, 1, 1].into(), bias: Some([classes].into()) }
}

/// `x [B, h, w, C] -> logits [B, h, w, V]`, and what the layer read in place of `x` where channels were dropped. `keep [B, C]` has
/// a factor for each channel.
pub(super) fn forward<O: Ops>(
    ops: &O,
    x: &O::Tensor,
    p: &Conv2d<O::Tensor>,
    keep: Option<&O::Tensor>,
) -> (O::Tensor, Option<O::Tensor>) {
    let dropped = keep.map(|keep| ops.scale_channels(x, keep));
    (ops.conv2d(dropped.as_ref().unwrap_or(x), p), dropped)
}

/// Returns `dx` from what the layer `read`; adds to `dp`.
pub(super) fn backward<O: Ops>(
    ops: &O,
    d_logits: &O::Tensor,
    read: &O::Tensor,
    p: &Conv2d<O::Tensor>,
    keep: Option<&O::Tensor>,
    dp: &mut Conv2d<O::Tensor>,
) -> O::Tensor {
    let d_read = ops.conv2d_backward(d_logits, read, p, dp);
    match keep {
        Some(keep) => ops.scale_channels(&d_read, keep),
        None => d_read,
    }
}
