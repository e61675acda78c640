//! SETR-PUP: progressive upsampling (paper §2.6; SETR, arXiv 2012.15840, §3.2). From the map of the last block to pixels in stages, each
//! a convolution and a bilinear enlargement.
//!
//! ```text
//! map [h, w, C] ── norm ── conv 3x3, batch norm, ReLU ── x2 ──┐
//!                     ┌───────────────────────────────────────┘
//!                     └── … until a patch is as many pixels ── scores [height, width, V]
//! ```

use super::conv_norm::{ConvNorm, ConvNormRunning, Out};
use super::scores;
use alloc::vec::Vec;
use beit_ops::{Conv2d, Corners, Norm, Ops, SegmentationOps, Shape, tree};

/// Of the norm before the first stage (mmsegmentation, `SETRUPHead`).
const LAYER_NORM_EPS: f64 = 1e-6;

tree! {
    /// One head: of the last block, or an auxiliary one.
    pub struct Pup {
        /// By how much each stage enlarges.
        factors: Vec<usize> = plain,
        /// Of the channels of the map, `[C]`.
        pub norm: Norm<T> = tree "norm.",
        /// The stages.
        pub up_convs: Vec<Stage<T>> = items "up_convs.",
        /// `[V, channels, 1, 1]`
        pub conv_seg: Conv2d<T> = tree "conv_seg.",
    }
}

tree! {
    /// What is learned of a stage.
    pub struct Stage {
        /// 3x3
        pub layer: ConvNorm<T> = tree "0.",
    }
}

tree! {
    /// The running statistics of a [`Pup`].
    pub struct PupRunning {
        /// Of the stages.
        pub up_convs: Vec<StageRunning<T>> = items "up_convs.",
    }
}

tree! {
    /// The running statistics of a [`Stage`].
    pub struct StageRunning {
        /// Of its layer.
        pub layer: ConvNormRunning<T> = tree "0.",
    }
}

/// The factors of doubling until a patch of so many pixels is reached, one stage at least.
pub(super) fn doublings(patch: usize) -> Vec<usize> {
    alloc::vec![2; patch.next_power_of_two().trailing_zeros().max(1) as usize]
}

/// The same enlargement in two stages, as of the auxiliary heads.
pub(super) fn two_stages(patch: usize) -> Vec<usize> {
    let doublings = doublings(patch).len();
    alloc::vec![1 << doublings.div_ceil(2), 1 << (doublings / 2)]
}

impl Pup<Shape> {
    /// On a map of width `c`.
    pub(super) fn shapes(c: usize, channels: usize, classes: usize, factors: Vec<usize>) -> Self {
        let stage = |i| Stage { layer: ConvNorm::shapes(if i == 0 { c } else { channels }, channels, 3) };
        Self {
            up_convs: (0..factors.len()).map(stage).collect(),
            factors,
            norm: Norm { weight: [c].into(), bias: [c].into() },
            conv_seg: scores::shapes(channels, classes),
        }
    }

    pub(super) fn running(&self) -> PupRunning<Shape> {
        let running = |stage: &Stage<Shape>| StageRunning { layer: stage.layer.running() };
        PupRunning { up_convs: self.up_convs.iter().map(running).collect() }
    }
}

/// What `forward` keeps for `backward`.
pub(super) struct Saved<O: Ops> {
    stats: O::Stats,
    normed: O::Tensor,
    /// The layers of the stages.
    layers: Vec<Out<O>>,
    /// What the stages but the last made of them.
    enlarged: Vec<O::Tensor>,
    dropped: Option<O::Tensor>,
}

/// The last enlargement comes after the scores and not before them. Scores are a linear map of each pixel's channels, and the weights
/// of an enlargement add up to one, so the order changes rounding only; but V channels are enlarged instead of the many.
impl<T: Clone> Pup<T> {
    /// `map [B, h, w, C] -> logits [B, height, width, V]`
    pub(super) fn forward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        map: &T,
        running: &mut PupRunning<T>,
        keep: Option<&T>,
    ) -> (T, Saved<O>) {
        let (normed, stats) = ops.layer_norm_forward(map, &self.norm, LAYER_NORM_EPS);
        let mut layers: Vec<Out<O>> = Vec::with_capacity(self.up_convs.len());
        let mut enlarged = Vec::with_capacity(self.up_convs.len());
        for (stage, running) in self.up_convs.iter().zip(&mut running.up_convs) {
            if let Some(Out { y, .. }) = layers.last() {
                enlarged.push(enlarge(ops, y, self.factors[layers.len() - 1]));
            }
            layers.push(stage.layer.forward(ops, enlarged.last().unwrap_or(&normed), &mut running.layer));
        }
        let last = layers.last().map_or(&normed, |Out { y, .. }| y);
        let (scores, dropped) = scores::forward(ops, last, &self.conv_seg, keep);
        let logits = enlarge(ops, &scores, self.last_factor());
        (logits, Saved { stats, normed, layers, enlarged, dropped })
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
        let Saved { stats, normed, mut layers, mut enlarged, dropped } = saved;
        let last = layers.last().map_or(&normed, |Out { y, .. }| y);
        let d_scores = ops.resize_backward(d_logits, sides(ops, last, 1), Corners::Edges);
        let read = dropped.as_ref().unwrap_or(last);
        let mut d = scores::backward(ops, &d_scores, read, &self.conv_seg, keep, &mut grads.conv_seg);
        drop((d_scores, dropped));
        while let Some(layer) = layers.pop() {
            let (i, x) = (layers.len(), enlarged.pop());
            let x = x.as_ref().unwrap_or(&normed);
            d = self.up_convs[i].layer.backward(ops, &d, x, &layer, &mut grads.up_convs[i].layer);
            if let Some(Out { y, .. }) = layers.last() {
                d = ops.resize_backward(&d, sides(ops, y, 1), Corners::Edges);
            }
        }
        ops.layer_norm_backward(&d, map, &self.norm, &stats, &mut grads.norm)
    }

    /// `map [B, h, w, C] -> logits [B, height, width, V]`, keeping nothing.
    pub(super) fn infer<O: SegmentationOps<Tensor = T>>(
        &self,
        ops: &O,
        map: &T,
        running: &PupRunning<T>,
    ) -> T {
        let mut x = ops.layer_norm(map, &self.norm, LAYER_NORM_EPS);
        for (i, (stage, running)) in self.up_convs.iter().zip(&running.up_convs).enumerate() {
            if i > 0 {
                x = enlarge(ops, &x, self.factors[i - 1]);
            }
            x = stage.layer.infer(ops, &x, &running.layer);
        }
        enlarge(ops, &ops.conv2d(&x, &self.conv_seg), self.last_factor())
    }

    /// By how much the last stage enlarges.
    fn last_factor(&self) -> usize {
        self.factors.last().copied().unwrap_or(1)
    }
}

fn enlarge<O: SegmentationOps>(ops: &O, map: &O::Tensor, factor: usize) -> O::Tensor {
    ops.resize(map, sides(ops, map, factor), Corners::Edges)
}

/// Height and width of a map, times a factor.
pub(super) fn sides<O: beit_ops::Device>(ops: &O, map: &O::Tensor, factor: usize) -> [usize; 2] {
    let shape = ops.shape(map);
    [factor * shape[1], factor * shape[2]]
}
