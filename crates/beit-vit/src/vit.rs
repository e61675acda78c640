//! The transformer: forward, and its mirror below.

use crate::Config;
use crate::block::{Block, Context};
use crate::chain::Kept;
use alloc::vec::Vec;
use beit_ops::{AttentionShape, Embeddings, Linear, Norm, Ops, TransformerOps, tree};

tree! {
    /// The parameters of the transformer, by the names of the official checkpoints.
    pub struct Vit {
        /// The sizes that the parameters have.
        pub(crate) config: Config = plain,
        /// \[CLS\], mask token, absolute positions.
        pub embeddings: Embeddings<T> = tree "" in Stem,
        /// `[C, 3, h, w]`
        pub patch_embed: Linear<T> = tree "patch_embed.proj." in Stem,
        /// The relative position table `[R, H]` that all layers share.
        pub rel_pos_bias: Option<T> = maybe_leaf "rel_pos_bias.relative_position_bias_table" as RelativePositions,
        /// The blocks.
        pub blocks: Vec<Block<T>> = list "blocks.",
        /// After the last block.
        pub norm: Option<Norm<T>> = maybe_tree "norm.",
    }
}

/// What the transformer looks at.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a, T> {
    /// `[B, 3, height, width]`, normalised.
    pub images: &'a T,
    /// `[B, N]`, 1 where a patch is masked, else 0.
    pub mask: Option<&'a T>,
    /// Stochastic depth; none at inference.
    pub drop_path: Option<&'a DropPath<T>>,
}

/// The factor of every branch for every image: for each block, attention and MLP, `[B]` of 0 or `1 / (1 - rate)`.
#[derive(Clone, Debug)]
pub struct DropPath<T>(pub Vec<[T; 2]>);

/// How much `forward` keeps for `backward`. The numbers are the same to the last bit, whether the inputs alone are kept or all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// The input of each block only, and not everything that `backward` needs: it computes the rest again, a third more work for a
    /// fraction of the memory.
    pub inputs_only: bool,
    /// So many of the first blocks, the embeddings before them, and a table of relative positions that all blocks share are not trained:
    /// nothing of them is kept or dropped at random, and `backward` ends before them, so that their gradients get nothing. 0 where
    /// everything is trained.
    pub frozen: usize,
}

impl Keep {
    /// Everything.
    pub const ALL: Self = Self { inputs_only: false, frozen: 0 };
    /// The inputs of the blocks.
    pub const INPUTS: Self = Self { inputs_only: true, frozen: 0 };

    /// The same, of which so many blocks are not trained.
    #[must_use]
    pub const fn frozen(self, frozen: usize) -> Self {
        Self { frozen, ..self }
    }
}

/// What `forward` keeps for `backward`.
pub struct Saved<O: Ops> {
    /// None where the embeddings are not trained.
    pub(crate) patches: Option<O::Tensor>,
    pub(crate) blocks: Vec<Kept<O>>,
    pub(crate) rows: Option<O::Ids>,
}

impl<O: Ops> Saved<O> {
    /// The output of block `i`, `[B·T, C]`, where the next one is trained: of the last `forward` returns it.
    pub fn block_output(&self, i: usize) -> Option<&O::Tensor> {
        self.blocks.get(i + 1).and_then(Kept::input)
    }
}

impl<T> Vit<T> {
    /// The configuration that the parameters were made for.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Sets the stochastic depth rate of the last block, which no parameter depends on.
    pub fn set_drop_path(&mut self, rate: f32) {
        self.config.drop_path = rate;
    }

    /// Sets the epsilon of all layer norms, which no parameter depends on.
    pub fn set_layer_norm_eps(&mut self, eps: f64) {
        self.config.layer_norm_eps = eps;
    }
}

impl<T: Clone> Vit<T> {
    /// `images -> tokens [B·T, C]`: the output of the last block, before the final norm.
    pub fn forward<O: Ops<Tensor = T>>(&self, ops: &O, input: &Input<'_, T>, keep: Keep) -> (T, Saved<O>) {
        self.forward_rows(ops, input, keep, None)
    }

    /// [`forward`](Vit::forward) for a reader of some `rows` of the tokens: the last block leaves out of the others what only they
    /// need, and `backward` expects a gradient of zero there.
    pub fn forward_rows<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        input: &Input<'_, T>,
        keep: Keep,
        rows: Option<&O::Ids>,
    ) -> (T, Saved<O>) {
        self.forward_blocks(ops, input, (keep, rows), self.blocks.len(), &mut |_, _| {})
    }

    /// The outputs of the blocks `taps`, from 0 and in ascending order, `[B·T, C]` each. What comes after the last of them is not
    /// computed.
    pub fn forward_taps<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        input: &Input<'_, T>,
        keep: Keep,
        taps: &[usize],
    ) -> (Vec<T>, Saved<O>) {
        let mut tapped = Vec::with_capacity(taps.len());
        let count = taps.last().map_or(0, |last| last + 1);
        let (_, saved) = self.forward_blocks(ops, input, (keep, None), count, &mut |i, x| {
            if taps.contains(&i) {
                tapped.push(x.clone());
            }
        });
        (tapped, saved)
    }

    /// The mirror of [`forward_taps`](Vit::forward_taps): `d_taps` are the gradients of its outputs. Adds to `grads`, of which the
    /// blocks that were not computed get nothing.
    pub fn backward_taps<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        input: &Input<'_, T>,
        taps: &[usize],
        d_taps: Vec<T>,
        saved: Saved<O>,
        grads: &mut Self,
    ) {
        self.backward_taps_watched(ops, input, (taps, d_taps), saved, grads, &mut |_| {});
    }

    /// [`backward_taps`](Vit::backward_taps); `finished` sees the gradients of each block when nothing more is added to them, from the
    /// last block to the first.
    pub fn backward_taps_watched<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        input: &Input<'_, T>,
        (taps, mut d_taps): (&[usize], Vec<T>),
        saved: Saved<O>,
        grads: &mut Self,
        finished: &mut dyn FnMut(&Block<T>),
    ) {
        let Some(d_last) = d_taps.pop() else { return };
        let d_taps = taps.iter().copied().zip(d_taps).collect();
        self.backward_blocks(ops, input, (d_last, d_taps), saved, grads, finished);
    }

    /// `d_tokens [B·T, C]` of the last block's output; adds to `grads`.
    pub fn backward<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        input: &Input<'_, T>,
        d_tokens: T,
        saved: Saved<O>,
        grads: &mut Self,
    ) {
        self.backward_watched(ops, input, d_tokens, saved, grads, &mut |_| {});
    }

    /// [`backward`](Vit::backward); `finished` sees the gradients of each block when nothing more is added to them, from the last block
    /// to the first.
    pub fn backward_watched<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        input: &Input<'_, T>,
        d_tokens: T,
        saved: Saved<O>,
        grads: &mut Self,
        finished: &mut dyn FnMut(&Block<T>),
    ) {
        self.backward_blocks(ops, input, (d_tokens, Vec::new()), saved, grads, finished);
    }

    /// [`forward`](Vit::forward) that keeps nothing. `tap(i, x)` sees the output of every block, `[B·T, C]`.
    pub fn infer<O: TransformerOps<Tensor = T>>(
        &self,
        ops: &O,
        input: &Input<'_, T>,
        tap: &mut dyn FnMut(usize, &T),
    ) -> T {
        self.infer_rows(ops, input, None, tap)
    }

    /// [`forward_taps`](Vit::forward_taps) that keeps nothing.
    pub fn infer_taps<O: TransformerOps<Tensor = T>>(
        &self,
        ops: &O,
        input: &Input<'_, T>,
        taps: &[usize],
    ) -> Vec<T> {
        let mut tapped = Vec::with_capacity(taps.len());
        let count = taps.last().map_or(0, |last| last + 1);
        self.infer_blocks(ops, input, None, count, &mut |i, x| {
            if taps.contains(&i) {
                tapped.push(x.clone());
            }
        });
        tapped
    }

    /// [`infer`](Vit::infer) for a reader of some `rows` of the last block's output, see [`forward_rows`](Vit::forward_rows).
    pub fn infer_rows<O: TransformerOps<Tensor = T>>(
        &self,
        ops: &O,
        input: &Input<'_, T>,
        rows: Option<&O::Ids>,
        tap: &mut dyn FnMut(usize, &T),
    ) -> T {
        self.infer_blocks(ops, input, rows, self.blocks.len(), tap)
    }

    /// Returns the tokens and the patches `[B·N, 3·h·w]`.
    pub(crate) fn embed<O: TransformerOps<Tensor = T>>(&self, ops: &O, input: &Input<'_, T>) -> (T, T) {
        let patches = ops.patchify(input.images, self.config.patch);
        let embedded = ops.linear(&patches, &self.patch_embed);
        let tokens = ops.embed(&embedded, &self.embeddings, input.mask, self.config.tokens());
        (tokens, patches)
    }

    pub(crate) fn context<'a>(&'a self, input: &Input<'a, T>, i: usize) -> Context<'a, T> {
        let config = &self.config;
        let shape = AttentionShape { heads: config.heads, tokens: config.tokens(), window: config.grid() };
        let keep = [0, 1].map(|branch| input.drop_path.map(|DropPath(keep)| &keep[i][branch]));
        Context { shape, eps: config.layer_norm_eps, shared: self.rel_pos_bias.as_ref(), keep }
    }
}
