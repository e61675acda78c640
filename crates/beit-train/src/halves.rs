//! Sums over micro-batches, by halves.

use crate::error::Result;
use crate::task::{Changes, Task};
use beit_ops::{Ops, Tree};
use std::ops::Range;

/// What one micro-batch does, by its number.
type One<'a, P, B> = dyn FnMut(u64, Changes<'_, P, B>) -> Result<()> + 'a;

/// Adds up what micro-batches change: the sum of the first half of them, plus that of the second. How the sums are cut depends on
/// the number of micro-batches only, and a half can be computed by another process.
pub(crate) struct Halves<'a, O: Ops, K: Task<O>> {
    ops: &'a O,
    /// Gradients of zero and buffers for the sum of a second half, while nobody needs them.
    spare: Vec<(K::Params, K::Buffers)>,
}

impl<'a, O: Ops, K: Task<O>> Halves<'a, O, K> {
    pub(crate) const fn new(ops: &'a O) -> Self {
        Self { ops, spare: Vec::new() }
    }

    /// Adds what `one` does for each of these numbers. The gradients are zeros before; the buffers may be anything, since `one` writes
    /// them.
    pub(crate) fn add(
        &mut self,
        numbers: Range<u64>,
        sum: Changes<'_, K::Params, K::Buffers>,
        one: &mut One<'_, K::Params, K::Buffers>,
    ) -> Result<()> {
        let count = numbers.end - numbers.start;
        if count <= 1 {
            return if count == 1 { one(numbers.start, sum) } else { Ok(()) };
        }
        let middle = numbers.start + count / 2;
        let Changes { grads, buffers } = sum;
        self.add(numbers.start..middle, Changes { grads: &mut *grads, buffers: &mut *buffers }, one)?;
        let (mut second, mut written) = self.spare.pop().unwrap_or_else(|| {
            let zeros = |p: &O::Tensor| self.ops.zeros(self.ops.shape(p));
            (grads.map(&mut |p| zeros(p)), buffers.map(&mut |p| zeros(p)))
        });
        self.add(middle..numbers.end, Changes { grads: &mut second, buffers: &mut written }, one)?;
        self.add_tree(grads, &second);
        self.add_tree(buffers, &written);
        second.leaves_mut().into_iter().for_each(|grad| self.ops.clear(grad));
        self.spare.push((second, written));
        Ok(())
    }

    fn add_tree<P: Tree<O::Tensor>>(&self, sum: &mut P, other: &P) {
        for (sum, other) in sum.leaves_mut().into_iter().zip(other.leaves()) {
            self.ops.add_assign(sum, other);
        }
    }
}
