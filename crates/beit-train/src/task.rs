//! What is trained, as the trainer sees it.

use crate::error::Result;
use beit_data::{Batch, Sample};
use beit_ops::{Ops, Tree};
use serde::Serialize;

/// What is trained: what a sample is, which parameters there are, and what a micro-batch does.
pub trait Task<O: Ops> {
    /// The parameters, and the gradients.
    type Params: Tree<O::Tensor, Of<O::Tensor> = Self::Params>;
    /// What changes in training without a gradient, as running statistics do; `()` for nothing. It is saved with the state of a
    /// run and has no moments.
    type Buffers: Tree<O::Tensor, Of<O::Tensor> = Self::Buffers>;
    /// What the loader makes of an image.
    type Sample: Sample;
    /// Settings of the task, which must be the same when a run goes on. They are written beside the fields of
    /// [`Recipe`](crate::Recipe), so their names must be others; a struct, or `()` for none.
    type Settings: Serialize;

    /// What reports and errors call it: one word.
    fn phase(&self) -> &'static str;

    /// The settings of this run.
    fn settings(&self) -> Self::Settings;

    /// The number of blocks, for the [layer-wise learning rates](crate::layer_scale).
    fn depth(&self, params: &Self::Params) -> usize;

    /// Forward and backward of one micro-batch: **adds** to the gradients those of the mean loss over the rows of the micro-batch
    /// times [`moment.scale(rows)`](Moment::scale), and returns what was measured. `finished` may be shown gradients to which it adds
    /// nothing more, each once; the others count as finished when it returns.
    ///
    /// # Errors
    ///
    /// Whatever ends the run.
    fn micro_batch(
        &self,
        ops: &O,
        params: &Self::Params,
        batch: &Batch<Self::Sample>,
        moment: &Moment,
        changes: Changes<'_, Self::Params, Self::Buffers>,
        finished: &mut Finished<'_, O::Tensor>,
    ) -> Result<Outcome<O::Tensor>>;
}

/// Sees leaves of the gradients to which a micro-batch adds nothing more.
pub type Finished<'a, T> = dyn FnMut(Vec<&T>) + 'a;

/// Where in a run a micro-batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Optimiser steps taken.
    pub step: u64,
    /// Number of the micro-batch through the whole run and all processes.
    pub number: u64,
    /// Key of everything random.
    pub seed: u64,
    /// Whether the step has no other micro-batch, in this process or another.
    pub alone: bool,
    /// So many of the first blocks, and the embeddings, are [not trained](crate::Hyper::frozen).
    pub frozen: usize,
}

impl Moment {
    /// The factor of the gradients of a mean over `rows` rows.
    ///
    /// It is 1 where the micro-batch is the whole step. Otherwise it makes a sum of the mean: the step divides by the rows of all
    /// its micro-batches, since a mean of means would weigh the rows of small micro-batches more.
    #[must_use]
    pub fn scale(&self, rows: usize) -> f32 {
        if self.alone { 1.0 } else { rows as f32 }
    }
}

/// What a micro-batch may change.
#[derive(Debug)]
pub struct Changes<'a, P, B> {
    /// To be added to.
    pub grads: &'a mut P,
    /// To be updated. They keep what a step wrote even where the step is not finite and is not taken. A step of several micro-batches
    /// takes the mean of what these write, each beginning with what the step before left.
    pub buffers: &'a mut B,
}

/// What a micro-batch measured. Tensors stay on the device until they are reported.
#[derive(Clone, Debug)]
pub struct Outcome<T> {
    /// Images in it.
    pub images: usize,
    /// Rows that the loss is a mean over: images, masked patches, pixels.
    pub rows: usize,
    /// `[mean loss]`, or `[mean loss, rows whose prediction is right]`.
    pub metrics: T,
    /// Further means over the rows: their names, and as many numbers.
    pub terms: Option<(&'static [&'static str], T)>,
    /// Numbers to be reported that are known without the device.
    pub known: Vec<(&'static str, f64)>,
}

impl<T> Outcome<T> {
    /// Without further terms.
    pub const fn new(images: usize, rows: usize, metrics: T) -> Self {
        Self { images, rows, metrics, terms: None, known: Vec::new() }
    }
}
