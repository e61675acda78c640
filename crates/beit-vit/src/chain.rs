//! One block after another: forward, and its mirror below.
//!
//! ```text
//! block i       ... branch --+-- sum_i                     the last residual sum of a block and the first norm of the next are one pass over
//!                            |                             memory, forward and backward. A tap sees sum_i
//! block i + 1                +-- norm -- attention ...
//! ```

use crate::block::{self, Block, Context, Entry, EntryGrads};
use crate::vit::{Input, Keep, Saved, Vit};
use alloc::vec::Vec;
use beit_ops::{Ops, TransformerOps};

/// What is kept of one block.
pub(crate) enum Kept<O: Ops> {
    All(block::Saved<O>),
    Input(O::Tensor),
    /// It is not trained.
    Nothing,
}

impl<O: Ops> Kept<O> {
    /// What is not kept of `saved` is freed here.
    fn choose(saved: block::Saved<O>, keep: Keep) -> Self {
        if keep.inputs_only { Self::Input(saved.x) } else { Self::All(saved) }
    }

    pub(crate) fn input(&self) -> Option<&O::Tensor> {
        match self {
            Self::All(saved) => Some(&saved.x),
            Self::Input(x) => Some(x),
            Self::Nothing => None,
        }
    }
}

/// How far a forward has come.
enum Reached<O: Ops> {
    /// The input of a block, or the output of the last.
    Tokens(O::Tensor),
    /// The input of a block with its norm, which were made in one pass.
    Normed(Entry<O>),
}

impl<O: Ops> Reached<O> {
    fn tokens(&self) -> &O::Tensor {
        match self {
            Self::Tokens(x) => x,
            Self::Normed(entry) => &entry.x,
        }
    }

    fn into_tokens(self) -> O::Tensor {
        match self {
            Self::Tokens(x) => x,
            Self::Normed(entry) => entry.x,
        }
    }
}

/// How far a backward has come: the gradients of the output of a block.
enum ReachedGrads<O: Ops> {
    /// Of the last.
    Tokens(O::Tensor),
    /// Of another, of which those of the norm after it are still to be made, in one pass with those of the sum before it.
    Normed(EntryGrads<O>),
}

impl<O: Ops> ReachedGrads<O> {
    /// What more is added to the gradient of the output.
    fn output(&mut self) -> &mut O::Tensor {
        match self {
            Self::Tokens(d_tokens) => d_tokens,
            Self::Normed(entry) => &mut entry.d_x,
        }
    }
}

impl<T: Clone> Vit<T> {
    /// The first `count` blocks; `tap(i, x)` sees the output of each.
    pub(crate) fn forward_blocks<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        input: &Input<'_, T>,
        (keep, rows): (Keep, Option<&O::Ids>),
        count: usize,
        tap: &mut dyn FnMut(usize, &T),
    ) -> (T, Saved<O>) {
        let (x, patches) = self.embed(ops, input);
        let mut blocks = Vec::with_capacity(count);
        let mut reached = Reached::Tokens(x);
        for i in 0..count {
            let next = self.blocks[..count].get(i + 1);
            let (y, kept) = self.forward_block(ops, reached, (input, i), (keep, self.rows_of(i, rows)), next);
            tap(i, y.tokens());
            blocks.push(kept);
            reached = y;
        }
        let patches = (keep.frozen == 0).then_some(patches);
        (reached.into_tokens(), Saved { patches, blocks, rows: rows.cloned() })
    }

    /// Block `i`, and what is kept of it.
    fn forward_block<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        reached: Reached<O>,
        (input, i): (&Input<'_, T>, usize),
        (keep, rows): (Keep, Option<&O::Ids>),
        next: Option<&Block<T>>,
    ) -> (Reached<O>, Kept<O>) {
        let block = &self.blocks[i];
        if i < keep.frozen {
            let steady = Input { drop_path: None, ..*input };
            let y = block.infer(ops, reached.into_tokens(), &self.context(&steady, i), rows);
            return (Reached::Tokens(y), Kept::Nothing);
        }
        let cx = self.context(input, i);
        let entry = match reached {
            Reached::Tokens(x) => block.enter(ops, x, &cx),
            Reached::Normed(entry) => entry,
        };
        let saved = block.branches(ops, entry, &cx, rows);
        let y = match next {
            Some(next) => Reached::Normed(block.hand_over(ops, &saved, &cx, next)),
            None => Reached::Tokens(block.leave(ops, &saved, &cx)),
        };
        (y, Kept::choose(saved, keep))
    }

    /// The rows that are read of the output of block `i`: all but of the last.
    fn rows_of<'a, I>(&self, i: usize, rows: Option<&'a I>) -> Option<&'a I> {
        rows.filter(|_| i + 1 == self.blocks.len())
    }

    /// `d_taps` are further gradients, each of the output of a block before the last.
    pub(crate) fn backward_blocks<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        input: &Input<'_, T>,
        (d_tokens, mut d_taps): (T, Vec<(usize, T)>),
        saved: Saved<O>,
        grads: &mut Self,
        finished: &mut dyn FnMut(&Block<T>),
    ) {
        let Saved { patches, blocks, rows } = saved;
        let mut reached = ReachedGrads::Tokens(d_tokens);
        let mut first = blocks.len();
        for (i, saved) in blocks.into_iter().enumerate().rev() {
            if let Some((_, d_tap)) = d_taps.pop_if(|(tap, _)| *tap == i) {
                ops.add_assign(reached.output(), &d_tap);
            }
            let (block, cx) = (&self.blocks[i], self.context(input, i));
            let saved = match saved {
                Kept::All(saved) => saved,
                Kept::Input(x) => {
                    let rows = self.rows_of(i, rows.as_ref());
                    block.branches(ops, block.enter(ops, x, &cx), &cx, rows)
                }
                // Nor are those before it.
                Kept::Nothing => break,
            };
            let (grads, d_shared) = (&mut grads.blocks[i..], grads.rel_pos_bias.as_mut());
            let d_sum = self.backward_to_sum(ops, reached, (&saved, &cx, i), grads, finished);
            reached = ReachedGrads::Normed(block.branches_backward(
                ops,
                d_sum,
                saved,
                &cx,
                &mut grads[0],
                d_shared,
            ));
            first = i;
        }
        let d_tokens = match reached {
            ReachedGrads::Tokens(d_tokens) => d_tokens,
            ReachedGrads::Normed(entry) => {
                let d_block = &mut grads.blocks[first];
                let d_tokens = self.blocks[first].enter_backward(ops, entry, d_block);
                finished(d_block);
                d_tokens
            }
        };
        let Some(patches) = patches else {
            // Nor is a table that they share with those above them, whatever these added to it.
            grads.rel_pos_bias.iter_mut().for_each(|table| ops.clear(table));
            return;
        };
        let d_embedded =
            ops.embed_backward(&d_tokens, input.mask, self.config.tokens(), &mut grads.embeddings);
        ops.linear_backward_params(&d_embedded, &patches, &mut grads.patch_embed);
    }

    /// The gradients of block `i`'s last sum and of the branch in it. `grads` begin with those of the block; those of the next one are
    /// finished by it.
    fn backward_to_sum<O: Ops<Tensor = T>>(
        &self,
        ops: &O,
        reached: ReachedGrads<O>,
        (saved, cx, i): (&block::Saved<O>, &Context<'_, T>, usize),
        grads: &mut [Block<T>],
        finished: &mut dyn FnMut(&Block<T>),
    ) -> [T; 2] {
        match (reached, grads) {
            (ReachedGrads::Normed(entry), [d_block, d_next, ..]) => {
                let next = (&self.blocks[i + 1], &mut *d_next);
                let d_sum = self.blocks[i].hand_over_backward(ops, &entry, saved, cx, d_block, next);
                finished(d_next);
                d_sum
            }
            (ReachedGrads::Tokens(dy), [d_block, ..]) => {
                let d_branch = self.blocks[i].leave_backward(ops, &dy, saved, cx, d_block);
                [dy, d_branch]
            }
            _ => unreachable!("a norm after the last block"),
        }
    }

    /// The first `count` blocks; `tap(i, x)` sees the output of each.
    pub(crate) fn infer_blocks<O: TransformerOps<Tensor = T>>(
        &self,
        ops: &O,
        input: &Input<'_, T>,
        rows: Option<&O::Ids>,
        count: usize,
        tap: &mut dyn FnMut(usize, &T),
    ) -> T {
        let (x, _) = self.embed(ops, input);
        let [Some(first), Some(last)] = [self.blocks[..count].first(), self.blocks[..count].last()] else {
            return x;
        };
        let normed = ops.layer_norm(&x, &first.norm1, self.config.layer_norm_eps);
        let mut entry = [x, normed];
        for (i, pair) in self.blocks[..count].windows(2).enumerate() {
            entry = pair[0].infer_to_next(ops, entry, &self.context(input, i), &pair[1]);
            tap(i, &entry[0]);
        }
        let y = last.infer_to_end(ops, entry, &self.context(input, count - 1), self.rows_of(count - 1, rows));
        tap(count - 1, &y);
        y
    }
}
