//! An exponential moving average (EMA) of what training changes.

use beit_ops::{Ops, Tree};

/// Parameters and buffers, averaged over the steps of a run: `average = decay · average + (1 - decay) · value` after every step,
/// from what the run began with (timm, `ModelEma`, as the released fine-tuning uses it).
pub(crate) struct Average<P, B> {
    decay: f64,
    pub(crate) params: P,
    pub(crate) buffers: B,
}

impl<P, B> Average<P, B> {
    /// Begins with these.
    pub(crate) fn new<T: Clone>(decay: f64, params: &P, buffers: &B) -> Self
    where
        P: Tree<T, Of<T> = P>,
        B: Tree<T, Of<T> = B>,
    {
        Self { decay, params: params.map(&mut T::clone), buffers: buffers.map(&mut T::clone) }
    }

    /// Takes in what a step made.
    pub(crate) fn update<O: Ops>(&mut self, ops: &O, params: &P, buffers: &B)
    where
        P: Tree<O::Tensor>,
        B: Tree<O::Tensor>,
    {
        let averages = self.params.leaves_mut().into_iter().chain(self.buffers.leaves_mut());
        let values = params.leaves().into_iter().chain(buffers.leaves());
        for (average, value) in averages.zip(values) {
            *average = ops.add_scaled(&ops.scaled(average, self.decay), value, 1.0 - self.decay);
        }
    }
}
