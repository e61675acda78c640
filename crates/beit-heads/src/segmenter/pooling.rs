//! Pyramid pooling (PSPNet, arXiv 1612.01105, §3.2): what is seen in parts of the whole map, beside each of its elements.

use super::conv_norm::{ConvNorm, ConvNormRunning, Out};
use super::setr::sides;
use alloc::vec::Vec;
use beit_ops::{Corners, Device, Ops, SegmentationOps, Shape, tree};

tree! {
    /// The modules and what joins them.
    pub struct PyramidPooling {
        /// The sides that the map is pooled to, one for each module.
        pub(super) scales: Vec<usize> = plain,
        /// The modules.
        pub modules: Vec<Module<T>> = items "psp_modules.",
        /// 3x3
        pub bottleneck: ConvNorm<T> = tree "bottleneck.",
    }
}

tree! {
    /// What is learned of a module.
    pub struct Module {
        /// 1x1
        pub layer: ConvNorm<T> = tree "1.",
    }
}

tree! {
    /// The running statistics of a [`PyramidPooling`].
    pub struct PyramidPoolingRunning {
        /// Of the modules.
        pub modules: Vec<ModuleRunning<T>> = items "psp_modules.",
        /// Of what joins them.
        pub bottleneck: ConvNormRunning<T> = tree "bottleneck.",
    }
}

tree! {
    /// The running statistics of a [`Module`].
    pub struct ModuleRunning {
        /// Of its layer.
        pub layer: ConvNormRunning<T> = tree "1.",
    }
}

impl PyramidPooling<Shape> {
    /// For a map of width `c`.
    pub(super) fn shapes(c: usize, channels: usize, scales: Vec<usize>) -> Self {
        let module = |_: &usize| Module { layer: ConvNorm::shapes(c, channels, 1) };
        Self {
            modules: scales.iter().map(module).collect(),
            bottleneck: ConvNorm::shapes(c + scales.len() * channels, channels, 3),
            scales,
        }
    }

    pub(super) fn running(&self) -> PyramidPoolingRunning<Shape> {
        let running = |module: &Module<Shape>| ModuleRunning { layer: module.layer.running() };
        PyramidPoolingRunning {
            modules: self.modules.iter().map(running).collect(),
            bottleneck: self.bottleneck.running(),
        }
    }
}

/// What `forward` keeps for `backward`.
pub(super) struct Saved<O: Ops> {
    /// What each module pooled, and its layer.
    modules: Vec<(O::Tensor, Out<O>)>,
    joined: O::Tensor,
    bottleneck: Out<O>,
}

impl<O: Ops> Saved<O> {
    /// `[B, h, w, channels]`
    pub(super) fn y(&self) -> &O::Tensor {
        &self.bottleneck.y
    }
}

impl<T: Clone> PyramidPooling<T> {
    /// `x [B, h, w, C] -> [B, h, w, channels]`, which is in what is saved.
    pub(super) fn forward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        x: &T,
        running: &mut PyramidPoolingRunning<T>,
    ) -> Saved<O> {
        let mut modules: Vec<(T, Out<O>)> = Vec::with_capacity(self.modules.len());
        for ((module, running), &scale) in self.modules.iter().zip(&mut running.modules).zip(&self.scales) {
            let pooled = ops.pool_to(x, [scale; 2]);
            let out = module.layer.forward(ops, &pooled, &mut running.layer);
            modules.push((pooled, out));
        }
        let joined = join(ops, x, modules.iter().map(|(_, out)| &out.y));
        let bottleneck = self.bottleneck.forward(ops, &joined, &mut running.bottleneck);
        Saved { modules, joined, bottleneck }
    }

    /// Returns `dx`; adds to `grads`.
    pub(super) fn backward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        dy: &T,
        x: &T,
        saved: Saved<O>,
        grads: &mut Self,
    ) -> T {
        let Saved { modules, joined, bottleneck } = saved;
        let d_joined = self.bottleneck.backward(ops, dy, &joined, &bottleneck, &mut grads.bottleneck);
        let width = |map: &T| ops.shape(map)[3];
        let widths: Vec<usize> =
            core::iter::once(width(x)).chain(modules.iter().map(|(_, out)| width(&out.y))).collect();
        let mut parts = ops.concat_backward(&d_joined, &widths).into_iter();
        let mut dx = parts.next().expect("the first part is the map itself");
        for (i, ((pooled, out), d)) in modules.into_iter().zip(parts).enumerate() {
            let d = ops.resize_backward(&d, [self.scales[i]; 2], Corners::Edges);
            let layer = &mut grads.modules[i].layer;
            let d = self.modules[i].layer.backward(ops, &d, &pooled, &out, layer);
            ops.add_assign(&mut dx, &ops.pool_to_backward(&d, sides(ops, x, 1)));
        }
        dx
    }

    /// `x [B, h, w, C] -> [B, h, w, channels]`, keeping nothing.
    pub(super) fn infer<O: SegmentationOps<Tensor = T>>(
        &self,
        ops: &O,
        x: &T,
        running: &PyramidPoolingRunning<T>,
    ) -> T {
        let modules = self.modules.iter().zip(&running.modules).zip(&self.scales);
        let modules: Vec<T> = modules
            .map(|((module, running), &scale)| {
                module.layer.infer(ops, &ops.pool_to(x, [scale; 2]), &running.layer)
            })
            .collect();
        self.bottleneck.infer(ops, &join(ops, x, modules.iter()), &running.bottleneck)
    }
}

/// A map and maps of other sizes, brought to its size, side by side.
pub(super) fn join<'a, O>(ops: &O, x: &'a O::Tensor, others: impl Iterator<Item = &'a O::Tensor>) -> O::Tensor
where
    O: SegmentationOps<Tensor: 'a> + Device,
{
    let to = sides(ops, x, 1);
    let others: Vec<O::Tensor> = others.map(|map| ops.resize(map, to, Corners::Edges)).collect();
    let all: Vec<&O::Tensor> = core::iter::once(x).chain(&others).collect();
    ops.concat(&all)
}
