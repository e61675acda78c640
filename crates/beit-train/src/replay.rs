//! A step that is computed again and not taken, to be looked at.

use crate::error::Result;
use crate::guard::Pending;
use crate::halves::Halves;
use crate::hooks::NoHooks;
use crate::meter::Meter;
use crate::run::Feed;
use crate::task::{Changes, Moment, Task};
use crate::trainer::Trainer;
use beit_data::{Batch, Loader, Shard};
use beit_ops::{Ops, Tree};

/// What a step measures. Numbers may be NaN or infinite.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// Mean loss over the rows of the step.
    pub loss: f64,
    /// Norm of the gradients, before clipping.
    pub grad_norm: f64,
    /// The norm of the gradient of each parameter, with its name.
    pub tensors: Vec<(String, f64)>,
}

impl<O: Ops, K: Task<O>> Trainer<'_, O, K> {
    /// Computes the step that comes next, of all processes, and does not take it. On CPUs the numbers are those of the run to the bit.
    ///
    /// # Errors
    ///
    /// The data or the device.
    pub fn replay(&mut self, loader: &Loader<K::Sample>) -> Result<Replayed> {
        let step = self.optimiser.steps();
        let batches = loader.batches_of(step..step + 1, self.recipe.accumulate, Shard::WHOLE)?;
        let mut feed = Feed { loader, batches };
        let mut grads = self.params.map(&mut |p| self.ops.zeros(self.ops.shape(p)));
        let mut halves = Halves::new(self.ops);
        let mut meter = Meter::new(self.task.phase(), step, 1);
        let before = self.buffers.map(&mut O::Tensor::clone);
        let computed = self.gradients(step, &mut feed, &mut meter, &mut NoHooks, (&mut grads, &mut halves));
        self.buffers = before;
        let (sums, epoch) = computed?;
        let scale = self.scale(&sums);
        let clip = self.optimiser.clip_scaled(self.ops, &grads, scale);
        let measured = Pending { step, epoch, lr: self.optimiser.lr(), sums, clip }.read(self.ops)?;
        let mut tensors = Vec::new();
        for (name, grad) in grads.named() {
            tensors.push((name, self.norm(&[grad], scale)?));
        }
        Ok(Replayed { loss: measured.loss, grad_norm: measured.grad_norm, tensors })
    }

    /// Loss and norm of the gradients of one micro-batch by itself, as it stands in the step that comes next. Nothing changes.
    ///
    /// # Errors
    ///
    /// The data or the device.
    pub fn measure(&self, batch: &Batch<K::Sample>, number: u64) -> Result<[f64; 2]> {
        let zeros = |p: &O::Tensor| self.ops.zeros(self.ops.shape(p));
        let (mut grads, mut buffers) =
            (self.params.map(&mut |p| zeros(p)), self.buffers.map(&mut O::Tensor::clone));
        let moment = Moment { number, ..self.moment() };
        let changes = Changes { grads: &mut grads, buffers: &mut buffers };
        let outcome = self.task.micro_batch(self.ops, &self.params, batch, &moment, changes, &mut |_| {})?;
        let loss = self.ops.read(&outcome.metrics)?[0];
        Ok([f64::from(loss), self.norm(&grads.leaves(), 1.0)?])
    }

    fn norm(&self, grads: &[&O::Tensor], scale: f32) -> Result<f64> {
        Ok(f64::from(self.ops.read(&self.ops.clip_factor(grads, None, scale))?[0]))
    }
}
