//! The auxiliary head beside UPerNet: convolutions of one map, and scores (mmsegmentation, `FCNHead`).

use super::conv_norm::{ConvNorm, ConvNormRunning, Out};
use super::scores;
use alloc::vec::Vec;
use beit_ops::{Conv2d, Ops, SegmentationOps, Shape, tree};

tree! {
    /// The head.
    pub struct Fcn {
        /// 3x3
        pub convs: Vec<ConvNorm<T>> = items "convs.",
        /// `[V, channels, 1, 1]`
        pub conv_seg: Conv2d<T> = tree "conv_seg.",
    }
}

tree! {
    /// The running statistics of an [`Fcn`].
    pub struct FcnRunning {
        /// Of the layers.
        pub convs: Vec<ConvNormRunning<T>> = items "convs.",
    }
}

impl Fcn<Shape> {
    /// On a map of width `c`, with so many layers, at least one.
    pub(super) fn shapes(c: usize, channels: usize, layers: usize, classes: usize) -> Self {
        let layer = |i| ConvNorm::shapes(if i == 0 { c } else { channels }, channels, 3);
        Self { convs: (0..layers).map(layer).collect(), conv_seg: scores::shapes(channels, classes) }
    }

    pub(super) fn running(&self) -> FcnRunning<Shape> {
        FcnRunning { convs: self.convs.iter().map(ConvNorm::running).collect() }
    }
}

/// What `forward` keeps for `backward`.
pub(super) struct Saved<O: Ops> {
    convs: Vec<Out<O>>,
    dropped: Option<O::Tensor>,
}

impl<T: Clone> Fcn<T> {
    /// `map [B, h, w, C] -> logits [B, h, w, V]`
    pub(super) fn forward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        map: &T,
        running: &mut FcnRunning<T>,
        keep: Option<&T>,
    ) -> (T, Saved<O>) {
        let mut convs: Vec<Out<O>> = Vec::with_capacity(self.convs.len());
        for (layer, running) in self.convs.iter().zip(&mut running.convs) {
            let out = layer.forward(ops, convs.last().map_or(map, |out| &out.y), running);
            convs.push(out);
        }
        let x = convs.last().map_or(map, |out| &out.y);
        let (logits, dropped) = scores::forward(ops, x, &self.conv_seg, keep);
        (logits, Saved { convs, dropped })
    }

    /// Returns the gradient of the map; adds to `grads`.
    pub(super) fn backward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        map: &T,
        d_logits: &T,
        keep: Option<&T>,
        saved: Saved<O>,
        grads: &mut Self,
    ) -> T {
        let Saved { mut convs, dropped } = saved;
        let read = dropped.as_ref().unwrap_or_else(|| convs.last().map_or(map, |out| &out.y));
        let mut d = scores::backward(ops, d_logits, read, &self.conv_seg, keep, &mut grads.conv_seg);
        while let Some(out) = convs.pop() {
            let (i, x) = (convs.len(), convs.last().map_or(map, |out| &out.y));
            d = self.convs[i].backward(ops, &d, x, &out, &mut grads.convs[i]);
        }
        d
    }

    /// `map [B, h, w, C] -> logits [B, h, w, V]`, keeping nothing.
    pub(super) fn infer<O: SegmentationOps<Tensor = T>>(
        &self,
        ops: &O,
        map: &T,
        running: &FcnRunning<T>,
    ) -> T {
        let mut x: Option<T> = None;
        for (layer, running) in self.convs.iter().zip(&running.convs) {
            x = Some(layer.infer(ops, x.as_ref().unwrap_or(map), running));
        }
        ops.conv2d(x.as_ref().unwrap_or(map), &self.conv_seg)
    }
}
