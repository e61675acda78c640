//! Groups of residual blocks under the names of the published encoder.

use crate::block::{Block, Saved};
use alloc::format;
use alloc::vec::Vec;
use beit_ops::{At, Leaf, Ops, Shape, TokenizerOps, Tree};

/// The groups of one half of the tokenizer, each a list of residual blocks.
///
/// A name is `group_1.group.block_1.` and what follows inside the block: `transformers`' `FlavaImageCodebook`, which counts
/// from one.
#[derive(Clone, Debug, PartialEq)]
pub struct Groups<T>(pub Vec<Vec<Block<T>>>);

impl Groups<Shape> {
    /// Groups of `count` blocks; the first block of each group changes the width, from `input` on through `widths`.
    pub(crate) fn shapes(
        input: usize,
        widths: impl Iterator<Item = usize>,
        count: usize,
        block: impl Fn(usize, usize) -> Block<Shape>,
    ) -> Self {
        let mut width = input;
        let mut next = |n| block(core::mem::replace(&mut width, n), n);
        Self(widths.map(|n| (0..count).map(|_| next(n)).collect()).collect())
    }
}

impl<T> Groups<T> {
    /// What the residual paths are multiplied by: `1 / (number of blocks)²` (openai/DALL-E `encoder.py`, `post_gain`).
    pub(crate) fn post_gain(&self) -> f64 {
        let blocks: usize = self.0.iter().map(Vec::len).sum();
        1.0 / (blocks * blocks) as f64
    }
}

/// What the groups keep of a forward pass, in order.
#[derive(Debug)]
pub(crate) struct Tape<T> {
    keeps: bool,
    blocks: Vec<Saved<T>>,
    /// Inputs of the pooling between the groups.
    pools: Vec<T>,
}

impl<T: Clone> Tape<T> {
    /// For training: keeps what the backward pass needs.
    pub(crate) fn keeping() -> Self {
        Self { keeps: true, blocks: Vec::new(), pools: Vec::new() }
    }

    /// For inference: keeps nothing.
    pub(crate) fn forgetting() -> Self {
        Self { keeps: false, ..Self::keeping() }
    }

    /// One group forward.
    pub(crate) fn forward<O: TokenizerOps<Tensor = T>>(
        &mut self,
        ops: &O,
        x: T,
        group: &[Block<T>],
        gain: f64,
    ) -> T {
        group.iter().fold(x, |x, block| {
            let (y, saved) = block.forward(ops, x, gain);
            if self.keeps {
                self.blocks.push(saved);
            }
            y
        })
    }

    /// One group backward, the last one kept.
    pub(crate) fn backward<O: Ops<Tensor = T>>(
        &mut self,
        ops: &O,
        dy: T,
        group: &[Block<T>],
        gain: f64,
        grads: &mut [Block<T>],
    ) -> T {
        group.iter().zip(grads).rev().fold(dy, |dy, (block, grads)| {
            let saved = self.blocks.pop().expect("backward follows a forward that kept every block");
            block.backward(ops, dy, saved, gain, grads)
        })
    }

    /// Halves the sides.
    pub(crate) fn pool<O: TokenizerOps<Tensor = T>>(&mut self, ops: &O, x: T) -> T {
        let y = ops.max_pool2(&x);
        if self.keeps {
            self.pools.push(x);
        }
        y
    }

    /// The last pooling kept, backward.
    pub(crate) fn pool_backward<O: Ops<Tensor = T>>(&mut self, ops: &O, dy: &T) -> T {
        let x = self.pools.pop().expect("backward follows a forward that kept every pooling");
        ops.max_pool2_backward(dy, &x)
    }
}

/// Where block `b` of group `g` stands, both counted from zero.
fn place(at: &At, g: usize, b: usize) -> At {
    at.join(&format!("group_{}.group.block_{}.", g + 1, b + 1))
}

impl<T> Tree<T> for Groups<T> {
    type Of<U> = Groups<U>;

    fn map_at<U>(&self, at: &At, f: &mut dyn FnMut(&Leaf, &T) -> U) -> Groups<U> {
        let mut group = |(g, blocks): (usize, &Vec<Block<T>>)| {
            blocks.iter().enumerate().map(|(b, block)| block.map_at(&place(at, g, b), f)).collect()
        };
        Groups(self.0.iter().enumerate().map(&mut group).collect())
    }

    fn walk_at<'a>(&'a self, at: &At, f: &mut dyn FnMut(Leaf, &'a T)) {
        for (g, blocks) in self.0.iter().enumerate() {
            for (b, block) in blocks.iter().enumerate() {
                block.walk_at(&place(at, g, b), f);
            }
        }
    }

    fn walk_mut<'a>(&'a mut self, f: &mut dyn FnMut(&'a mut T)) {
        for block in self.0.iter_mut().flatten() {
            block.walk_mut(f);
        }
    }
}
