//! The ablation of visual tokens: the pixels of masked patches (paper §3.3).

use super::{MaskedImagesSettings, keep};
use crate::drop_path::drop_path;
use crate::error::Result;
use crate::masked::{Masked, Recover};
use crate::task::{Changes, Finished, Moment, Outcome, Task};
use beit_data::{Batch, PretrainSample};
use beit_heads::PixelMim;
use beit_ops::{Ops, Tree};

/// Masked image modelling without visual tokens: the squared error of the pixels of masked patches, or of those that [`Recover`] names.
/// The rows are those patches.
#[derive(Clone, Copy, Debug)]
pub struct MaskedPixels {
    /// As for [`MaskedImages`](super::MaskedImages).
    pub recompute: bool,
    /// Which patches are predicted.
    pub recover: Recover,
}

impl<O: Ops> Task<O> for MaskedPixels {
    type Params = PixelMim<O::Tensor>;
    type Buffers = ();
    type Sample = PretrainSample;
    type Settings = MaskedImagesSettings;

    fn phase(&self) -> &'static str {
        "pretrain"
    }

    fn settings(&self) -> MaskedImagesSettings {
        MaskedImagesSettings { recompute: self.recompute, recover: self.recover }
    }

    fn depth(&self, params: &Self::Params) -> usize {
        params.vit.config().depth
    }

    fn micro_batch(
        &self,
        ops: &O,
        params: &Self::Params,
        batch: &Batch<PretrainSample>,
        moment: &Moment,
        changes: Changes<'_, Self::Params, ()>,
        finished: &mut Finished<'_, O::Tensor>,
    ) -> Result<Outcome<O::Tensor>> {
        let (vit, images) = (params.vit.config(), batch.indices.len());
        let masked = Masked::new(ops, vit, &batch.data, images, self.recover);
        let drop_path = drop_path(ops, vit, moment.seed, batch.epoch, &batch.indices);
        let input = masked.input(drop_path.as_ref());
        let (rows, targets) = (masked.positions.len(), masked.patches(ops, vit));

        let (pixels, saved) = params.forward(ops, &input, &masked.rows, keep(self.recompute, moment));
        let loss = ops.squared_error(&pixels, &targets);
        let d_pixels = ops.squared_error_backward(&pixels, &targets, moment.scale(rows));
        params.backward_watched(ops, &input, &d_pixels, saved, changes.grads, &mut |block| {
            finished(block.leaves())
        });
        Ok(Outcome::new(images, rows, loss))
    }
}
