//! A convolution without a bias, batch norm, ReLU: the layer that segmentation heads are made of.

use beit_ops::{Conv2d, Norm, Ops, Running, SegmentationOps, Shape, tree};

/// Added to the variance; the default of PyTorch, which every released head has.
pub(super) const BATCH_NORM_EPS: f64 = 1e-5;

tree! {
    /// A convolution without a bias, batch norm and ReLU.
    pub struct ConvNorm {
        /// `[O, I, k, k]`
        pub conv: Conv2d<T> = tree "conv.",
        /// `[O]`
        pub norm: Norm<T> = tree "bn.",
    }
}

tree! {
    /// The running statistics of a [`ConvNorm`].
    pub struct ConvNormRunning {
        /// `[O]`
        pub norm: Running<T> = tree "bn.",
    }
}

impl ConvNorm<Shape> {
    /// From `i` channels to `o`, with filters of `k x k`.
    pub(super) fn shapes(i: usize, o: usize, k: usize) -> Self {
        let conv = Conv2d { weight: [o, i, k, k].into(), bias: None };
        Self { conv, norm: Norm { weight: [o].into(), bias: [o].into() } }
    }

    /// The shapes of its running statistics.
    pub(super) fn running(&self) -> ConvNormRunning<Shape> {
        let Norm { weight, bias } = self.norm;
        ConvNormRunning { norm: Running { mean: bias, variance: weight } }
    }
}

/// What [`ConvNorm::forward`] makes, and keeps for the mirror.
pub(super) struct Out<O: Ops> {
    pre: O::Tensor,
    stats: O::Tensor,
    /// `[B, h, w, O]`
    pub(super) y: O::Tensor,
}

impl<T: Clone> ConvNorm<T> {
    /// `x [B, h, w, I] -> y [B, h, w, O]`
    pub(super) fn forward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        x: &T,
        running: &mut ConvNormRunning<T>,
    ) -> Out<O> {
        let pre = ops.conv2d(x, &self.conv);
        let (y, stats) = ops.batch_norm_relu_forward(&pre, &self.norm, &mut running.norm, BATCH_NORM_EPS);
        Out { pre, stats, y }
    }

    /// Returns `dx`; adds to `grads`.
    pub(super) fn backward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        dy: &T,
        x: &T,
        out: &Out<O>,
        grads: &mut Self,
    ) -> T {
        let Out { pre, stats, y } = out;
        let d_pre = ops.batch_norm_relu_backward(dy, [pre, y], stats, &self.norm, &mut grads.norm);
        ops.conv2d_backward(&d_pre, x, &self.conv, &mut grads.conv)
    }

    /// `x [B, h, w, I] -> y [B, h, w, O]`, keeping nothing.
    pub(super) fn infer<O: SegmentationOps<Tensor = T>>(
        &self,
        ops: &O,
        x: &T,
        running: &ConvNormRunning<T>,
    ) -> T {
        let pre = ops.conv2d(x, &self.conv);
        ops.batch_norm_relu(&pre, &self.norm, &running.norm, BATCH_NORM_EPS)
    }
}
