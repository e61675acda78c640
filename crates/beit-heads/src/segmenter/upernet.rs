//! UPerNet (arXiv 1807.10221, §3.1): maps of four sizes, from the smallest to the largest each added to the next.
//!
//! ```text
//! level 3 ── pyramid pooling ─────────────────────────────┬────── o3 ──┐
//! level 2 ── 1x1 ── + (level above, enlarged) ── l2 ── 3x3 ────── o2 ──┤ enlarged to level 0,
//! level 1 ── 1x1 ── + ────────────────────────── l1 ── 3x3 ────── o1 ──┤ side by side ── 3x3 ── scores [4h, 4w, V]
//! level 0 ── 1x1 ── + ────────────────────────── l0 ── 3x3 ────── o0 ──┘
//! ```

use super::conv_norm::{ConvNorm, ConvNormRunning, Out};
use super::pooling::{self, PyramidPooling, PyramidPoolingRunning, join};
use super::scores;
use super::setr::sides;
use alloc::vec::Vec;
use beit_ops::{Conv2d, Corners, Ops, SegmentationOps, Shape, tree};

/// Levels below the one that is pooled.
const LOWER: usize = 3;

tree! {
    /// The decoder.
    pub struct UperHead {
        /// Of the smallest map.
        pub pooling: PyramidPooling<T> = tree "",
        /// 1x1, of the other maps.
        pub lateral_convs: Vec<ConvNorm<T>> = items "lateral_convs.",
        /// 3x3, of the sums.
        pub fpn_convs: Vec<ConvNorm<T>> = items "fpn_convs.",
        /// 3x3, of all of them.
        pub fpn_bottleneck: ConvNorm<T> = tree "fpn_bottleneck.",
        /// `[V, channels, 1, 1]`
        pub conv_seg: Conv2d<T> = tree "conv_seg.",
    }
}

tree! {
    /// The running statistics of a [`UperHead`].
    pub struct UperHeadRunning {
        /// Of pyramid pooling.
        pub pooling: PyramidPoolingRunning<T> = tree "",
        /// Of the laterals.
        pub lateral_convs: Vec<ConvNormRunning<T>> = items "lateral_convs.",
        /// Of the sums.
        pub fpn_convs: Vec<ConvNormRunning<T>> = items "fpn_convs.",
        /// Of all of them.
        pub fpn_bottleneck: ConvNormRunning<T> = tree "fpn_bottleneck.",
    }
}

impl UperHead<Shape> {
    /// On maps of width `c`.
    pub(super) fn shapes(c: usize, channels: usize, scales: Vec<usize>, classes: usize) -> Self {
        let layers = |i, k| (0..LOWER).map(|_| ConvNorm::shapes(i, channels, k)).collect();
        Self {
            pooling: PyramidPooling::shapes(c, channels, scales),
            lateral_convs: layers(c, 1),
            fpn_convs: layers(channels, 3),
            fpn_bottleneck: ConvNorm::shapes((LOWER + 1) * channels, channels, 3),
            conv_seg: scores::shapes(channels, classes),
        }
    }

    pub(super) fn running(&self) -> UperHeadRunning<Shape> {
        let all = |layers: &[ConvNorm<Shape>]| layers.iter().map(ConvNorm::running).collect();
        UperHeadRunning {
            pooling: self.pooling.running(),
            lateral_convs: all(&self.lateral_convs),
            fpn_convs: all(&self.fpn_convs),
            fpn_bottleneck: self.fpn_bottleneck.running(),
        }
    }
}

/// What `forward` keeps for `backward`.
pub(super) struct Saved<O: Ops> {
    pooling: pooling::Saved<O>,
    laterals: Vec<Out<O>>,
    /// Each lateral and all above it.
    sums: Vec<O::Tensor>,
    outputs: Vec<Out<O>>,
    joined: O::Tensor,
    bottleneck: Out<O>,
    dropped: Option<O::Tensor>,
}

impl<T: Clone> UperHead<T> {
    /// Four levels, the largest first, to `logits [B, 4h, 4w, V]`.
    pub(super) fn forward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        levels: &[T],
        running: &mut UperHeadRunning<T>,
        keep: Option<&T>,
    ) -> (T, Saved<O>) {
        let pooling = self.pooling.forward(ops, &levels[LOWER], &mut running.pooling);
        let laterals = all(ops, &self.lateral_convs, levels, &mut running.lateral_convs);
        let sums = sums(ops, laterals.iter().map(|out| &out.y).collect(), pooling.y());
        let outputs = all(ops, &self.fpn_convs, &sums, &mut running.fpn_convs);
        let upper = outputs[1..].iter().map(|out| &out.y).chain([pooling.y()]);
        let joined = join(ops, &outputs[0].y, upper);
        let bottleneck = self.fpn_bottleneck.forward(ops, &joined, &mut running.fpn_bottleneck);
        let (logits, dropped) = scores::forward(ops, &bottleneck.y, &self.conv_seg, keep);
        (logits, Saved { pooling, laterals, sums, outputs, joined, bottleneck, dropped })
    }

    /// Returns the gradients of the levels; adds to `grads`.
    pub(super) fn backward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        levels: &[T],
        d_logits: &T,
        keep: Option<&T>,
        saved: Saved<O>,
        grads: &mut Self,
    ) -> Vec<T> {
        let Saved { pooling, laterals, sums, outputs, joined, bottleneck, dropped } = saved;
        let read = dropped.as_ref().unwrap_or(&bottleneck.y);
        let d = scores::backward(ops, d_logits, read, &self.conv_seg, keep, &mut grads.conv_seg);
        let d = self.fpn_bottleneck.backward(ops, &d, &joined, &bottleneck, &mut grads.fpn_bottleneck);
        let mut d_outputs = ops.concat_backward(&d, &[ops.shape(&bottleneck.y)[3]; LOWER + 1]);
        let resized = d_outputs.pop().expect("a part for each level");
        let mut d_pooled = ops.resize_backward(&resized, sides(ops, pooling.y(), 1), Corners::Edges);

        // From the largest to the smallest: what reaches a sum reaches all that is above it.
        let mut d_levels: Vec<T> = Vec::with_capacity(LOWER + 1);
        let mut d_below: Option<T> = None;
        for (i, d) in d_outputs.into_iter().enumerate() {
            let d = if i == 0 { d } else { ops.resize_backward(&d, sides(ops, &sums[i], 1), Corners::Edges) };
            let mut d = self.fpn_convs[i].backward(ops, &d, &sums[i], &outputs[i], &mut grads.fpn_convs[i]);
            if let Some(below) = d_below {
                ops.add_assign(&mut d, &below);
            }
            let lateral = &mut grads.lateral_convs[i];
            d_levels.push(self.lateral_convs[i].backward(ops, &d, &levels[i], &laterals[i], lateral));
            let above = if i + 1 < LOWER { &sums[i + 1] } else { pooling.y() };
            d_below = Some(ops.resize_backward(&d, sides(ops, above, 1), Corners::Edges));
        }
        if let Some(below) = d_below {
            ops.add_assign(&mut d_pooled, &below);
        }
        d_levels.push(self.pooling.backward(ops, &d_pooled, &levels[LOWER], pooling, &mut grads.pooling));
        d_levels
    }

    /// [`forward`](UperHead::forward) that keeps nothing. Maps are dropped as soon as nothing reads them: those of the largest level are
    /// most of the memory.
    pub(super) fn infer<O: SegmentationOps<Tensor = T>>(
        &self,
        ops: &O,
        levels: Vec<T>,
        running: &UperHeadRunning<T>,
    ) -> T {
        let pooled = self.pooling.infer(ops, &levels[LOWER], &running.pooling);
        let all = |layers: &[ConvNorm<T>], maps: Vec<T>, running: &[ConvNormRunning<T>]| -> Vec<T> {
            let layers = layers.iter().zip(maps).zip(running);
            layers.map(|((layer, map), running)| layer.infer(ops, &map, running)).collect()
        };
        let laterals = all(&self.lateral_convs, levels, &running.lateral_convs);
        let sums = sums(ops, laterals.iter().collect(), &pooled);
        drop(laterals);
        let outputs = all(&self.fpn_convs, sums, &running.fpn_convs);
        let joined = join(ops, &outputs[0], outputs[1..].iter().chain([&pooled]));
        drop((outputs, pooled));
        let y = self.fpn_bottleneck.infer(ops, &joined, &running.fpn_bottleneck);
        drop(joined);
        ops.conv2d(&y, &self.conv_seg)
    }
}

/// One layer for each map.
fn all<O: Ops>(
    ops: &O,
    layers: &[ConvNorm<O::Tensor>],
    maps: &[O::Tensor],
    running: &mut [ConvNormRunning<O::Tensor>],
) -> Vec<Out<O>> {
    let layers = layers.iter().zip(maps).zip(running);
    layers.map(|((layer, map), running)| layer.forward(ops, map, running)).collect()
}

/// Each lateral, the largest first, with the sum above it, enlarged; above all of them is what was pooled.
fn sums<O: SegmentationOps>(ops: &O, laterals: Vec<&O::Tensor>, pooled: &O::Tensor) -> Vec<O::Tensor> {
    let mut sums: Vec<O::Tensor> = Vec::with_capacity(LOWER);
    for lateral in laterals.into_iter().rev() {
        let above = sums.last().unwrap_or(pooled);
        let enlarged = ops.resize(above, sides(ops, lateral, 1), Corners::Edges);
        sums.push(ops.add_scaled(lateral, &enlarged, 1.0));
    }
    sums.reverse();
    sums
}
