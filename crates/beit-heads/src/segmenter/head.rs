//! Which head: one type for both, whose parameters are those of the one it is.

use super::config::{HeadConfig, SegmenterConfig};
use super::fcn::{self, Fcn, FcnRunning};
use super::pyramid::{self, Pyramid, PyramidRunning};
use super::setr::{self, Pup, PupRunning, doublings, two_stages};
use super::upernet::{self, UperHead, UperHeadRunning};
use alloc::vec;
use alloc::vec::Vec;
use beit_ops::{At, Leaf, Ops, SegmentationOps, Shape, Tree, tree};

tree! {
    /// SETR-PUP and its auxiliary heads.
    pub struct SetrPup {
        /// Of the last map.
        pub main: Pup<T> = tree "decode_head.",
        /// Of the maps before it.
        pub auxiliary: Vec<Pup<T>> = items "auxiliary_head.",
    }
}

tree! {
    /// The running statistics of a [`SetrPup`].
    pub struct SetrPupRunning {
        /// Of the last map.
        pub main: PupRunning<T> = tree "decode_head.",
        /// Of the maps before it.
        pub auxiliary: Vec<PupRunning<T>> = items "auxiliary_head.",
    }
}

tree! {
    /// UPerNet and its auxiliary head.
    pub struct Upernet {
        /// Four sizes of maps.
        pub pyramid: Pyramid<T> = tree "",
        /// What joins them.
        pub main: UperHead<T> = tree "decode_head.",
        /// Of the third map.
        pub auxiliary: Option<Fcn<T>> = maybe_tree "auxiliary_head.",
    }
}

tree! {
    /// The running statistics of an [`Upernet`].
    pub struct UpernetRunning {
        /// Of the four sizes of maps.
        pub pyramid: PyramidRunning<T> = tree "",
        /// Of what joins them.
        pub main: UperHeadRunning<T> = tree "decode_head.",
        /// Of the third map.
        pub auxiliary: Option<FcnRunning<T>> = maybe_tree "auxiliary_head.",
    }
}

/// A choice between two trees: the tree of the one it is.
macro_rules! either {
    ($(#[$meta:meta])* $name:ident, $first:ident, $second:ident) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $name<T> {
            /// Progressive upsampling.
            SetrPup($first<T>),
            /// Maps of four sizes.
            Upernet($second<T>),
        }

        impl<T> Tree<T> for $name<T> {
            type Of<U> = $name<U>;

            fn map_at<U>(&self, at: &At, f: &mut dyn FnMut(&Leaf, &T) -> U) -> $name<U> {
                match self {
                    Self::SetrPup(tree) => $name::SetrPup(tree.map_at(at, f)),
                    Self::Upernet(tree) => $name::Upernet(tree.map_at(at, f)),
                }
            }

            fn walk_at<'a>(&'a self, at: &At, f: &mut dyn FnMut(Leaf, &'a T)) {
                match self {
                    Self::SetrPup(tree) => tree.walk_at(at, f),
                    Self::Upernet(tree) => tree.walk_at(at, f),
                }
            }

            fn walk_mut<'a>(&'a mut self, f: &mut dyn FnMut(&'a mut T)) {
                match self {
                    Self::SetrPup(tree) => tree.walk_mut(f),
                    Self::Upernet(tree) => tree.walk_mut(f),
                }
            }
        }
    };
}

either! {
    /// A segmentation head.
    Head, SetrPup, Upernet
}

either! {
    /// The running statistics of a [`Head`].
    HeadRunning, SetrPupRunning, UpernetRunning
}

impl Head<Shape> {
    pub(super) fn shapes(config: &SegmenterConfig) -> Self {
        let (c, classes) = (config.vit.width, config.classes);
        match &config.head {
            &HeadConfig::SetrPup { channels, auxiliary } => {
                let pup = |factors| Pup::shapes(c, channels, classes, factors);
                let others = if auxiliary { 3 } else { 0 };
                Self::SetrPup(SetrPup {
                    main: pup(doublings(config.patch())),
                    auxiliary: (0..others).map(|_| pup(two_stages(config.patch()))).collect(),
                })
            }
            HeadConfig::Upernet { channels, scales, auxiliary } => Self::Upernet(Upernet {
                pyramid: Pyramid::shapes(c),
                main: UperHead::shapes(c, *channels, scales.clone(), classes),
                auxiliary: auxiliary.map(|own| Fcn::shapes(c, own.channels, own.layers, classes)),
            }),
        }
    }

    pub(super) fn running(&self) -> HeadRunning<Shape> {
        match self {
            Self::SetrPup(SetrPup { main, auxiliary }) => HeadRunning::SetrPup(SetrPupRunning {
                main: main.running(),
                auxiliary: auxiliary.iter().map(Pup::running).collect(),
            }),
            Self::Upernet(Upernet { pyramid, main, auxiliary }) => HeadRunning::Upernet(UpernetRunning {
                pyramid: pyramid.running(),
                main: main.running(),
                auxiliary: auxiliary.as_ref().map(Fcn::running),
            }),
        }
    }
}

/// What `forward` keeps for `backward`.
pub(super) enum Saved<O: Ops> {
    SetrPup(Vec<setr::Saved<O>>),
    Upernet {
        levels: Vec<O::Tensor>,
        pyramid: pyramid::Saved<O>,
        main: upernet::Saved<O>,
        auxiliary: Option<fcn::Saved<O>>,
    },
}

/// The level of UPerNet that its auxiliary head reads.
const AUXILIARY_LEVEL: usize = 2;

impl<T: Clone> SetrPup<T> {
    /// The last map first, then the others.
    fn forward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        maps: &[T],
        running: &mut SetrPupRunning<T>,
        keep: &[T],
    ) -> (Vec<T>, Vec<setr::Saved<O>>) {
        let heads = core::iter::once(&self.main).chain(&self.auxiliary);
        let running = core::iter::once(&mut running.main).chain(&mut running.auxiliary);
        let each = heads.zip(running).zip(last_first(maps)).enumerate();
        each.map(|(i, ((head, running), map))| head.forward(ops, map, running, keep.get(i))).unzip()
    }

    fn backward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        maps: &[T],
        d_logits: &[T],
        keep: &[T],
        saved: Vec<setr::Saved<O>>,
        grads: &mut Self,
    ) -> Vec<T> {
        let heads = core::iter::once(&self.main).chain(&self.auxiliary);
        let grads = core::iter::once(&mut grads.main).chain(&mut grads.auxiliary);
        let each = heads.zip(grads).zip(last_first(maps)).zip(saved).zip(d_logits).enumerate();
        let mut d_maps: Vec<T> = each
            .map(|(i, ((((head, grads), map), saved), d))| {
                head.backward(ops, map, d, keep.get(i), saved, grads)
            })
            .collect();
        d_maps.rotate_left(1);
        d_maps
    }
}

/// The last map, then the others.
fn last_first<T>(maps: &[T]) -> impl Iterator<Item = &T> {
    maps.last().into_iter().chain(&maps[..maps.len().saturating_sub(1)])
}

impl<T: Clone> Upernet<T> {
    fn forward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        maps: &[T],
        running: &mut UpernetRunning<T>,
        keep: &[T],
    ) -> (Vec<T>, Saved<O>) {
        let (levels, pyramid) = self.pyramid.forward(ops, maps, &mut running.pyramid);
        let (logits, main) = self.main.forward(ops, &levels, &mut running.main, keep.first());
        let mut all = vec![logits];
        let auxiliary = self.auxiliary.as_ref().zip(running.auxiliary.as_mut()).map(|(head, running)| {
            let (logits, saved) = head.forward(ops, &levels[AUXILIARY_LEVEL], running, keep.get(1));
            all.push(logits);
            saved
        });
        (all, Saved::Upernet { levels, pyramid, main, auxiliary })
    }
}

impl<T: Clone> Head<T> {
    /// Maps `[B, h, w, C]` to logits `[B, ., ., V]`: those of the head, then those of each auxiliary head.
    pub(super) fn forward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        maps: &[T],
        running: &mut HeadRunning<T>,
        keep: &[T],
    ) -> (Vec<T>, Saved<O>) {
        match (self, running) {
            (Self::SetrPup(head), HeadRunning::SetrPup(running)) => {
                let (logits, saved) = head.forward(ops, maps, running, keep);
                (logits, Saved::SetrPup(saved))
            }
            (Self::Upernet(head), HeadRunning::Upernet(running)) => head.forward(ops, maps, running, keep),
            _ => unreachable!("running statistics are those of their head"),
        }
    }

    /// Returns the gradients of the maps; adds to `grads`.
    pub(super) fn backward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        maps: &[T],
        d_logits: &[T],
        keep: &[T],
        saved: Saved<O>,
        grads: &mut Self,
    ) -> Vec<T> {
        match (self, grads, saved) {
            (Self::SetrPup(head), Self::SetrPup(grads), Saved::SetrPup(saved)) => {
                head.backward(ops, maps, d_logits, keep, saved, grads)
            }
            (
                Self::Upernet(head),
                Self::Upernet(grads),
                Saved::Upernet { levels, pyramid, main, auxiliary },
            ) => {
                let (d, out) = (&d_logits[0], &mut grads.main);
                let mut d_levels = head.main.backward(ops, &levels, d, keep.first(), main, out);
                let own = head.auxiliary.as_ref().zip(grads.auxiliary.as_mut()).zip(auxiliary);
                if let Some(((head, grads), saved)) = own {
                    let map = &levels[AUXILIARY_LEVEL];
                    let d = head.backward(ops, map, &d_logits[1], keep.get(1), saved, grads);
                    ops.add_assign(&mut d_levels[AUXILIARY_LEVEL], &d);
                }
                head.pyramid.backward(ops, maps, d_levels, pyramid, &mut grads.pyramid)
            }
            _ => unreachable!("gradients and what is kept are those of their head"),
        }
    }

    /// Maps `[B, h, w, C]` to logits `[B, height, width, V]`, keeping nothing. Auxiliary heads are for training alone.
    pub(super) fn infer<O: SegmentationOps<Tensor = T>>(
        &self,
        ops: &O,
        maps: Vec<T>,
        running: &HeadRunning<T>,
    ) -> T {
        match (self, running) {
            (Self::SetrPup(head), HeadRunning::SetrPup(running)) => {
                head.main.infer(ops, maps.last().expect("a map is read"), &running.main)
            }
            (Self::Upernet(head), HeadRunning::Upernet(running)) => {
                let levels = head.pyramid.infer(ops, &maps, &running.pyramid);
                drop(maps);
                head.main.infer(ops, levels, &running.main)
            }
            _ => unreachable!("running statistics are those of their head"),
        }
    }

    /// The auxiliary head's own logits in inference, of UPerNet. For comparisons with other code: nothing else reads them.
    pub(super) fn infer_auxiliary<O: SegmentationOps<Tensor = T>>(
        &self,
        ops: &O,
        maps: &[T],
        running: &HeadRunning<T>,
    ) -> Option<T> {
        let (Self::Upernet(head), HeadRunning::Upernet(running)) = (self, running) else { return None };
        let (auxiliary, running) = head.auxiliary.as_ref().zip(running.auxiliary.as_ref())?;
        Some(auxiliary.infer(ops, &maps[AUXILIARY_LEVEL], running))
    }
}
