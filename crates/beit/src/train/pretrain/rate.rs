//! How fast this machine is, before a run is begun.

use super::Pretraining;
use crate::device::{Device, Work};
use crate::error::Result;
use beit_heads::Mim;
use beit_ops::Tree;
use beit_ops::prelude::*;
use beit_vit::Input;
use std::rc::Rc;
use std::time::Instant;

/// Images of the step that is measured, at most: enough to be as fast as with more.
const MEASURED: usize = 16;

/// Images a second of a step on one device, forward and backward, without the tokenizer, the optimiser and the data.
pub(super) struct Rate<'a>(pub(super) &'a Pretraining);

impl Work for Rate<'_> {
    type Output = f64;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, _: &Device) -> Result<f64> {
        let Self(Pretraining { settings, config, masker, .. }) = self;
        let (ops, vit, batch) = (&**ops, &config.vit, settings.training.batch_size().min(MEASURED));
        let params = Mim::init(ops, config, 0);
        let mut grads = params.map(&mut |p| ops.zeros(ops.shape(p)));
        let images = ops.zeros(vit.images(batch));
        let mask = ops.zeros([batch, vit.patches()]);
        let masked = masker.config().target;
        let rows: Vec<u32> =
            (0..batch * masked).map(|i| (i / masked * vit.patches() + i % masked) as u32).collect();
        let rows = ops.upload_ids(&rows);
        let input = Input { images: &images, mask: Some(&mask), drop_path: None };
        let mut step = || -> Result<f64> {
            let begun = Instant::now();
            let (logits, saved) = params.forward(ops, &input, &rows, settings.training.keep());
            params.backward(ops, &input, &logits, saved, &mut grads);
            // Reading waits for all that was asked of the device before.
            ops.read(grads.leaves()[0])?;
            Ok(begun.elapsed().as_secs_f64())
        };
        step()?;
        Ok(batch as f64 / step()?)
    }
}
