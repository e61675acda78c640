//! Feature maps of other sizes.

use super::case::{Backward, Case, Forward, Input, activation, constant, param};
use super::check::Check;
use crate::{ConvTranspose2, Corners, Device, MapOps, MapTraining};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

pub(super) fn infer<O: MapOps>(check: &mut Check<'_, O>) {
    resizes().for_each(|case| check.half(&case));
    parts().for_each(|case| check.half(&case));
    POOLS.iter().for_each(|case| check.half(case));
    TRANSPOSED.iter().for_each(|case| check.half(case));
    JOINED.iter().for_each(|case| check.half(case));
    SCALED.iter().for_each(|case| check.half(case));
}

pub(super) fn train<O: MapTraining>(check: &mut Check<'_, O>) {
    resizes().for_each(|case| check.pair(&case));
    POOLS.iter().for_each(|case| check.pair(case));
    TRANSPOSED.iter().for_each(|case| check.pair(case));
    JOINED.iter().for_each(|case| check.pair(case));
    SCALED.iter().for_each(|case| check.pair(case));
}

/// Growing, shrinking, one pixel, and both at once; channels that are read as vectors and one at a time; pixels that are in hundreds
/// of others.
fn resizes() -> impl Iterator<Item = Resize> {
    let shapes = [
        ([1, 1, 1, 1], [1, 1]),
        ([2, 1, 1, 5], [3, 4]),
        ([2, 3, 5, 4], [6, 10]),
        ([1, 4, 3, 7], [13, 5]),
        ([2, 7, 6, 8], [3, 2]),
        ([1, 5, 4, 3], [1, 9]),
        ([1, 2, 2, 4], [20, 21]),
    ];
    shapes
        .into_iter()
        .flat_map(|(x, to)| [Corners::Edges, Corners::Centres].map(|corners| Resize { x, to, corners }))
}

/// The first rows, the last, and some between.
fn parts() -> impl Iterator<Item = ResizeRows> {
    let whole = || Resize { x: [2, 3, 5, 4], to: [7, 10], corners: Corners::Edges };
    [0..2, 2..6, 6..7].map(|rows| ResizeRows { whole: whole(), rows }).into_iter()
}

const POOLS: [Pool; 5] = [
    Pool { x: [2, 4, 6, 5], to: [1, 1] },
    Pool { x: [1, 5, 7, 4], to: [2, 3] },
    Pool { x: [2, 7, 5, 8], to: [3, 2] },
    Pool { x: [1, 4, 4, 3], to: [6, 6] },
    Pool { x: [2, 13, 11, 4], to: [1, 2] },
];

const TRANSPOSED: [Transposed; 3] = [
    Transposed { x: [1, 1, 1, 1], o: 1 },
    Transposed { x: [2, 3, 4, 5], o: 3 },
    Transposed { x: [2, 5, 3, 12], o: 17 },
];

const JOINED: [Joined; 3] = [
    Joined { map: [2, 3, 4], channels: &[5] },
    Joined { map: [2, 3, 5], channels: &[4, 8] },
    Joined { map: [1, 2, 3], channels: &[3, 1, 7] },
];

const SCALED: [Scaled; 2] = [Scaled { x: [2, 3, 4, 5] }, Scaled { x: [3, 1, 2, 8] }];

struct Resize {
    x: [usize; 4],
    to: [usize; 2],
    corners: Corners,
}

impl Case for Resize {
    fn name(&self) -> String {
        format!("resize {:?} to {:?} by {:?}", self.x, self.to, self.corners)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![activation("x", self.x, 65)]
    }
}

impl<O: MapOps> Forward<O> for Resize {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.resize(&x[0], self.to, self.corners)]
    }
}

impl<O: MapTraining> Backward<O> for Resize {
    fn backward(
        &self,
        ops: &O,
        _: &[O::Tensor],
        dy: &O::Tensor,
        _: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        vec![Some(ops.resize_backward(dy, [self.x[1], self.x[2]], self.corners))]
    }
}

/// Some rows of [`Resize`].
struct ResizeRows {
    whole: Resize,
    rows: Range<usize>,
}

impl Case for ResizeRows {
    fn name(&self) -> String {
        format!("rows {:?} of {}", self.rows, self.whole.name())
    }
    fn inputs(&self) -> Vec<Input> {
        self.whole.inputs()
    }
}

impl<O: MapOps> Forward<O> for ResizeRows {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.resize_rows(&x[0], self.whole.to, self.rows.clone(), self.whole.corners)]
    }
}

struct Pool {
    x: [usize; 4],
    to: [usize; 2],
}

impl Case for Pool {
    fn name(&self) -> String {
        format!("pool_to {:?} to {:?}", self.x, self.to)
    }
    fn inputs(&self) -> Vec<Input> {
        vec![activation("x", self.x, 66)]
    }
}

impl<O: MapOps> Forward<O> for Pool {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.pool_to(&x[0], self.to)]
    }
}

impl<O: MapTraining> Backward<O> for Pool {
    fn backward(
        &self,
        ops: &O,
        _: &[O::Tensor],
        dy: &O::Tensor,
        _: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        vec![Some(ops.pool_to_backward(dy, [self.x[1], self.x[2]]))]
    }
}

struct Transposed {
    /// B, h, w, I
    x: [usize; 4],
    o: usize,
}

impl Transposed {
    fn params<O: Device>(x: &[O::Tensor]) -> ConvTranspose2<O::Tensor> {
        ConvTranspose2 { weight: x[1].clone(), bias: x[2].clone() }
    }
}

impl Case for Transposed {
    fn name(&self) -> String {
        format!("conv_transpose2 {:?} -> {}", self.x, self.o)
    }
    fn inputs(&self) -> Vec<Input> {
        let weight = [self.x[3], self.o, 2, 2];
        vec![activation("x", self.x, 67), param("weight", weight, 68), param("bias", [self.o], 69)]
    }
}

impl<O: MapOps> Forward<O> for Transposed {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.conv_transpose2(&x[0], &Self::params::<O>(x))]
    }
}

impl<O: MapTraining> Backward<O> for Transposed {
    fn backward(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &O::Tensor,
        mut grads: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        let mut dp = ConvTranspose2 { weight: grads.remove(1), bias: grads.remove(1) };
        let dx = ops.conv_transpose2_backward(dy, &x[0], &Self::params::<O>(x), &mut dp);
        vec![Some(dx), Some(dp.weight), Some(dp.bias)]
    }
}

struct Joined {
    /// B, h, w
    map: [usize; 3],
    channels: &'static [usize],
}

impl Case for Joined {
    fn name(&self) -> String {
        format!("concat {:?} of {:?}", self.map, self.channels)
    }
    fn inputs(&self) -> Vec<Input> {
        let [b, h, w] = self.map;
        let map = |(i, &c): (usize, &usize)| activation("a map", [b, h, w, c], 70 + i as u64);
        self.channels.iter().enumerate().map(map).collect()
    }
}

impl<O: MapOps> Forward<O> for Joined {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.concat(&x.iter().collect::<Vec<_>>())]
    }
}

impl<O: MapTraining> Backward<O> for Joined {
    fn backward(
        &self,
        ops: &O,
        _: &[O::Tensor],
        dy: &O::Tensor,
        _: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        ops.concat_backward(dy, self.channels).into_iter().map(Some).collect()
    }
}

struct Scaled {
    x: [usize; 4],
}

impl Case for Scaled {
    fn name(&self) -> String {
        format!("scale_channels {:?}", self.x)
    }
    fn inputs(&self) -> Vec<Input> {
        let [b, _, _, c] = self.x;
        vec![activation("x", self.x, 74), constant("factors", [b, c], 75)]
    }
}

impl<O: MapOps> Forward<O> for Scaled {
    fn forward(&self, ops: &O, x: &[O::Tensor]) -> Vec<O::Tensor> {
        vec![ops.scale_channels(&x[0], &x[1])]
    }
}

impl<O: MapTraining> Backward<O> for Scaled {
    fn backward(
        &self,
        ops: &O,
        x: &[O::Tensor],
        dy: &O::Tensor,
        _: Vec<O::Tensor>,
    ) -> Vec<Option<O::Tensor>> {
        vec![Some(ops.scale_channels(dy, &x[1])), None]
    }
}
