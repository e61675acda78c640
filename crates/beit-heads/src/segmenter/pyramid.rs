//! Maps of four sizes from the maps of four blocks, which a transformer makes in one size (BEiT, `semantic_segmentation/backbone`).
//!
//! ```text
//! block      what becomes of its map                                          side of a pixel
//! tap 0      transposed convolution, batch norm, GELU, transposed convolution patch / 4
//! tap 1      transposed convolution                                           patch / 2
//! tap 2      as it is                                                         patch
//! tap 3      the largest of each 2x2 square                                   patch · 2
//! ```

use super::conv_norm::BATCH_NORM_EPS;
use alloc::vec::Vec;
use beit_ops::{ConvTranspose2, Norm, Ops, Running, SegmentationOps, Shape, tree};

tree! {
    /// What makes the two larger maps.
    pub struct Pyramid {
        /// `[C, C, 2, 2]`
        pub first: ConvTranspose2<T> = tree "fpn1.0.",
        /// `[C]`
        pub norm: Norm<T> = tree "fpn1.1.",
        /// `[C, C, 2, 2]`
        pub second: ConvTranspose2<T> = tree "fpn1.3.",
        /// `[C, C, 2, 2]`
        pub fpn2: ConvTranspose2<T> = tree "fpn2.0.",
    }
}

tree! {
    /// The running statistics of a [`Pyramid`].
    pub struct PyramidRunning {
        /// `[C]`
        pub norm: Running<T> = tree "fpn1.1.",
    }
}

impl Pyramid<Shape> {
    /// For maps of width `c`.
    pub(super) fn shapes(c: usize) -> Self {
        let transposed = || ConvTranspose2 { weight: [c, c, 2, 2].into(), bias: [c].into() };
        let norm = Norm { weight: [c].into(), bias: [c].into() };
        Self { first: transposed(), norm, second: transposed(), fpn2: transposed() }
    }

    pub(super) fn running(&self) -> PyramidRunning<Shape> {
        PyramidRunning { norm: Running { mean: self.norm.bias, variance: self.norm.weight } }
    }
}

/// What `forward` keeps for `backward`.
pub(super) struct Saved<O: Ops> {
    doubled: O::Tensor,
    stats: O::Tensor,
    normed: O::Tensor,
    activated: O::Tensor,
}

impl<T: Clone> Pyramid<T> {
    /// Four maps `[B, h, w, C]` to `[B, 4h, 4w, C]`, `[B, 2h, 2w, C]`, the third as it is, and `[B, h/2, w/2, C]`.
    pub(super) fn forward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        maps: &[T],
        running: &mut PyramidRunning<T>,
    ) -> (Vec<T>, Saved<O>) {
        let doubled = ops.conv_transpose2(&maps[0], &self.first);
        let (normed, stats) = ops.batch_norm_forward(&doubled, &self.norm, &mut running.norm, BATCH_NORM_EPS);
        let activated = ops.gelu(&normed);
        let levels = self.levels(ops, &activated, maps);
        (levels, Saved { doubled, stats, normed, activated })
    }

    /// The gradients of the four maps from those of the levels; adds to `grads`.
    pub(super) fn backward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        maps: &[T],
        d_levels: Vec<T>,
        saved: Saved<O>,
        grads: &mut Self,
    ) -> Vec<T> {
        let Saved { doubled, stats, normed, activated } = saved;
        let mut d_levels = d_levels.into_iter();
        let mut d = || d_levels.next().expect("a gradient for each level");
        let d_activated = ops.conv_transpose2_backward(&d(), &activated, &self.second, &mut grads.second);
        let d_normed = ops.gelu_backward(&d_activated, &normed);
        let d_doubled = ops.batch_norm_backward(&d_normed, &doubled, &stats, &self.norm, &mut grads.norm);
        let first = ops.conv_transpose2_backward(&d_doubled, &maps[0], &self.first, &mut grads.first);
        let second = ops.conv_transpose2_backward(&d(), &maps[1], &self.fpn2, &mut grads.fpn2);
        let third = d();
        alloc::vec![first, second, third, ops.max_pool2_backward(&d(), &maps[3])]
    }

    /// [`forward`](Pyramid::forward) that keeps nothing.
    pub(super) fn infer<O: SegmentationOps<Tensor = T>>(
        &self,
        ops: &O,
        maps: &[T],
        running: &PyramidRunning<T>,
    ) -> Vec<T> {
        let mut x = ops.conv_transpose2(&maps[0], &self.first);
        x = ops.batch_norm(&x, &self.norm, &running.norm, BATCH_NORM_EPS);
        x = ops.gelu(&x);
        self.levels(ops, &x, maps)
    }

    fn levels<O: SegmentationOps<Tensor = T>>(&self, ops: &O, activated: &T, maps: &[T]) -> Vec<T> {
        alloc::vec![
            ops.conv_transpose2(activated, &self.second),
            ops.conv_transpose2(&maps[1], &self.fpn2),
            maps[2].clone(),
            ops.max_pool2(&maps[3]),
        ]
    }
}
