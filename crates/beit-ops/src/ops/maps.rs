//! Feature maps of several sizes: what a segmentation head does with them.

use super::Device;
use crate::params::ConvTranspose2;
use crate::plan::{Plan, Planned, is, same};
use alloc::vec::Vec;
use core::ops::Range;

/// What the corners of a map are when it is resized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Corners {
    /// The outer edges of pixels lie on each other: `align_corners=False` of PyTorch, which every released head uses.
    #[default]
    Edges,
    /// The centres of the outermost pixels lie on each other: `align_corners=True`.
    Centres,
}

/// Sizes of feature maps, forward.
pub trait MapOps: Device {
    /// `x [B, h, w, C] -> y [B, height, width, C]`: bilinear, without smoothing where the map shrinks.
    fn resize(&self, x: &Self::Tensor, to: [usize; 2], corners: Corners) -> Self::Tensor {
        self.resize_rows(x, to, 0..to[0], corners)
    }

    /// Some rows of what [`resize`](MapOps::resize) makes, for maps that are too large to be held as a whole:
    /// `x [B, h, w, C] -> y [B, rows, width, C]`.
    fn resize_rows(
        &self,
        x: &Self::Tensor,
        to: [usize; 2],
        rows: Range<usize>,
        corners: Corners,
    ) -> Self::Tensor;

    /// `x [B, h, w, C] -> y [B, height, width, C]`: each element is the mean of its share of the map. Where sides do not divide,
    /// shares overlap: element `i` of `n` covers the pixels from `⌊i h / n⌋` to `⌈(i + 1) h / n⌉` (adaptive average pooling).
    fn pool_to(&self, x: &Self::Tensor, to: [usize; 2]) -> Self::Tensor;

    /// `x [B, h, w, I] -> y [B, 2h, 2w, O]`: every pixel becomes a square of four.
    fn conv_transpose2(&self, x: &Self::Tensor, p: &ConvTranspose2<Self::Tensor>) -> Self::Tensor;

    /// Maps `[B, h, w, C_k]` of one size, their channels one after the other: `[B, h, w, Σ C_k]`.
    fn concat(&self, maps: &[&Self::Tensor]) -> Self::Tensor;

    /// `y[b, i, j, c] = x[b, i, j, c] · factors[b, c]`, with `factors [B, C]`. The factors are random numbers, so it is its own mirror.
    fn scale_channels(&self, x: &Self::Tensor, factors: &Self::Tensor) -> Self::Tensor;
}

/// Their gradients.
pub trait MapTraining: MapOps {
    /// The mirror of [`resize`](MapOps::resize) of a map of the sides `from`; returns `dx`.
    fn resize_backward(&self, dy: &Self::Tensor, from: [usize; 2], corners: Corners) -> Self::Tensor;

    /// The mirror of [`pool_to`](MapOps::pool_to) of a map of the sides `from`; returns `dx`.
    fn pool_to_backward(&self, dy: &Self::Tensor, from: [usize; 2]) -> Self::Tensor;

    /// The mirror of [`conv_transpose2`](MapOps::conv_transpose2): a convolution of 2x2 pixels with stride 2; returns `dx`.
    fn conv_transpose2_backward(
        &self,
        dy: &Self::Tensor,
        x: &Self::Tensor,
        p: &ConvTranspose2<Self::Tensor>,
        dp: &mut ConvTranspose2<Self::Tensor>,
    ) -> Self::Tensor;

    /// The mirror of [`concat`](MapOps::concat): the maps again, which have so many channels.
    fn concat_backward(&self, dy: &Self::Tensor, channels: &[usize]) -> Vec<Self::Tensor>;
}

impl MapOps for Plan {
    fn resize_rows(&self, x: &Planned, [_, width]: [usize; 2], rows: Range<usize>, _: Corners) -> Planned {
        let [b, _, _, c] = x.map();
        self.like(x, [b, rows.len(), width, c])
    }
    fn pool_to(&self, x: &Planned, [height, width]: [usize; 2]) -> Planned {
        let [b, _, _, c] = x.map();
        self.like(x, [b, height, width, c])
    }
    fn conv_transpose2(&self, x: &Planned, p: &ConvTranspose2<Planned>) -> Planned {
        let ([b, h, w, c], [i, o, k, k2]) = (x.map(), p.weight.map());
        assert!(i == c && [k, k2] == [2, 2], "a transposed convolution {} of {}", p.weight.shape, x.shape);
        is(&p.bias, [o]);
        self.products(1, b * h * w, c, 4 * o);
        self.activation([b, 2 * h, 2 * w, o])
    }
    fn concat(&self, maps: &[&Planned]) -> Planned {
        let [b, h, w, _] = maps[0].map();
        let channels = maps.iter().map(|map| {
            is(map, [b, h, w, map.last()]);
            map.last()
        });
        self.like(maps[0], [b, h, w, channels.sum()])
    }
    fn scale_channels(&self, x: &Planned, factors: &Planned) -> Planned {
        let [b, _, _, c] = x.map();
        is(factors, [b, c]);
        self.like(x, x.shape)
    }
}

impl MapTraining for Plan {
    fn resize_backward(&self, dy: &Planned, [h, w]: [usize; 2], _: Corners) -> Planned {
        let [b, _, _, c] = dy.map();
        self.like(dy, [b, h, w, c])
    }
    fn pool_to_backward(&self, dy: &Planned, [h, w]: [usize; 2]) -> Planned {
        let [b, _, _, c] = dy.map();
        self.like(dy, [b, h, w, c])
    }
    fn conv_transpose2_backward(
        &self,
        dy: &Planned,
        x: &Planned,
        p: &ConvTranspose2<Planned>,
        dp: &mut ConvTranspose2<Planned>,
    ) -> Planned {
        let ([b, h, w, i], [_, o, _, _]) = (x.map(), p.weight.map());
        is(dy, [b, 2 * h, 2 * w, o]);
        same(&p.weight, &dp.weight);
        self.products(2, b * h * w, i, 4 * o);
        self.activation(x.shape)
    }
    fn concat_backward(&self, dy: &Planned, channels: &[usize]) -> Vec<Planned> {
        let [b, h, w, c] = dy.map();
        assert_eq!(channels.iter().sum::<usize>(), c, "channels of {}", dy.shape);
        channels.iter().map(|&channels| self.like(dy, [b, h, w, channels])).collect()
    }
}
