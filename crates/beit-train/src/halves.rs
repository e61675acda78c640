//! Sums over micro-batches, by halves.

use crate::error::Result;
use crate::task::{Changes, Task};
use beit_ops::{Ops, Tree};
use std::collections::HashMap;
use std::ops::Range;

/// What one micro-batch does, by its number. It may look at the gradients that its own are added to.
type One<'a, P, B> = dyn FnMut(u64, Changes<'_, P, B>, Option<&Earlier<'_, P>>) -> Result<()> + 'a;

/// The gradients of a first half, while its second half is computed.
pub(crate) struct Earlier<'a, P> {
    sum: &'a P,
    /// Those of the half before, where both are a second half themselves.
    before: Option<&'a Earlier<'a, P>>,
}

impl<P> Earlier<'_, P> {
    /// This one, and those before it.
    pub(crate) fn all(earlier: Option<&Self>) -> impl Iterator<Item = &P> {
        std::iter::successors(earlier, |earlier| earlier.before).map(|earlier| earlier.sum)
    }
}

/// What the gradients of a micro-batch are added to, tensor by tensor.
pub(crate) struct Terms<'a, T> {
    /// The number of each gradient of the micro-batch, by its address.
    numbers: HashMap<usize, usize>,
    /// The gradients of each earlier half.
    earlier: Vec<Vec<&'a T>>,
}

impl<'a, T> Terms<'a, T> {
    pub(crate) fn new<P: Tree<T>>(grads: &P, earlier: Option<&'a Earlier<'a, P>>) -> Self {
        let earlier: Vec<_> = Earlier::all(earlier).map(Tree::leaves).collect();
        let leaves = if earlier.is_empty() { Vec::new() } else { grads.leaves() };
        let number = |(number, leaf): (usize, &T)| (std::ptr::from_ref(leaf).addr(), number);
        Self { numbers: leaves.into_iter().enumerate().map(number).collect(), earlier }
    }

    /// What a gradient becomes the sum of, itself first.
    pub(crate) fn of<'t>(&self, grad: &'t T) -> Vec<&'t T>
    where
        'a: 't,
    {
        let number = self.numbers.get(&std::ptr::from_ref(grad).addr());
        let earlier =
            number.into_iter().flat_map(|&number| self.earlier.iter().map(move |half| half[number]));
        std::iter::once(grad).chain(earlier).collect()
    }
}

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
        self.add_after(None, numbers, sum, one)
    }

    fn add_after(
        &mut self,
        before: Option<&Earlier<'_, K::Params>>,
        numbers: Range<u64>,
        sum: Changes<'_, K::Params, K::Buffers>,
        one: &mut One<'_, K::Params, K::Buffers>,
    ) -> Result<()> {
        let count = numbers.end - numbers.start;
        if count <= 1 {
            return if count == 1 { one(numbers.start, sum, before) } else { Ok(()) };
        }
        let middle = numbers.start + count / 2;
        let Changes { grads, buffers } = sum;
        let first = Changes { grads: &mut *grads, buffers: &mut *buffers };
        self.add_after(before, numbers.start..middle, first, one)?;
        let (mut second, mut written) = self.spare.pop().unwrap_or_else(|| {
            let zeros = |p: &O::Tensor| self.ops.zeros(self.ops.shape(p));
            (grads.map(&mut |p| zeros(p)), buffers.map(&mut |p| zeros(p)))
        });
        let before = Earlier { sum: &*grads, before };
        let changes = Changes { grads: &mut second, buffers: &mut written };
        self.add_after(Some(&before), middle..numbers.end, changes, one)?;
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
