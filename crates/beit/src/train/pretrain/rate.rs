//! How fast this machine is, before a run is begun.

use super::Pretraining;
use crate::device::{Device, Work};
use crate::error::Result;
use crate::train::rate::timed;
use beit_heads::Mim;
use beit_ops::Tree;
use beit_ops::prelude::*;
use beit_vit::Input;
use std::rc::Rc;

/// Images a second of a step on one device, forward and backward, without the tokenizer, the optimiser and the data.
pub(super) struct Rate<'a> {
    pub(super) job: &'a Pretraining,
    /// Of the step.
    pub(super) images: usize,
}

impl Work for Rate<'_> {
    type Output = f64;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, _: &Device) -> Result<f64> {
        let Self { job, images: batch } = self;
        let Pretraining { settings, config, .. } = job;
        let (ops, vit) = (&**ops, &config.vit);
        let params = Mim::init(ops, config, 0);
        let mut grads = params.map(&mut |p| ops.zeros(ops.shape(p)));
        let images = ops.zeros(vit.images(batch));
        let mask = ops.zeros([batch, vit.patches()]);
        let predicted = job.predicted();
        let rows: Vec<u32> =
            (0..batch * predicted).map(|i| (i / predicted * vit.patches() + i % predicted) as u32).collect();
        let rows = ops.upload_ids(&rows);
        let input = Input { images: &images, mask: Some(&mask), drop_path: None };
        timed(ops, batch, &mut grads, |grads| {
            let (logits, saved) = params.forward(ops, &input, &rows, settings.training.keep());
            params.backward(ops, &input, &logits, saved, grads);
        })
    }
}
