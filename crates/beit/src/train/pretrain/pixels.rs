//! Towards pixels: the paper's ablation of visual tokens (§3.3).

use super::goal::{Artist, Goal, Seen};
use super::{Pretraining, Recovered, Samples};
use crate::device::Device;
use crate::error::Result;
use crate::load::PixelModel;
use crate::masked_pixels::DrawingModel;
use crate::train::same_model;
use beit_data::Source;
use beit_heads::PixelMim;
use beit_ops::prelude::*;
use beit_train::{Communicator, MaskedPixels, evaluate_pixel_errors};
use beit_vit::Vit;
use beit_weights::save_pixel_mim;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// The pixels that the transformer would see.
pub(super) struct Pixels;

impl<O: Ops + 'static> Goal<O> for Pixels {
    type Params = PixelMim<O::Tensor>;
    type Task<'t> = MaskedPixels;

    fn vit(params: &PixelMim<O::Tensor>) -> &Vit<O::Tensor> {
        &params.vit
    }

    fn task(&self, job: &Pretraining) -> MaskedPixels {
        let (recompute, recover) = (job.settings.training.recompute, job.settings.objective.recover.into());
        MaskedPixels { recompute, recover }
    }

    fn measure(
        &self,
        ranks: &mut dyn Communicator,
        ops: &O,
        params: &PixelMim<O::Tensor>,
        loader: &Samples,
    ) -> Result<Recovered> {
        Ok(Recovered::Pixels(evaluate_pixel_errors(ranks, ops, params, loader)?))
    }

    fn save(
        &self,
        ops: &O,
        dir: &Path,
        params: &PixelMim<O::Tensor>,
        more: &dyn Fn(&Path) -> Result<()>,
    ) -> Result<()> {
        save_pixel_mim(ops, dir, params, more)
    }

    fn load(&self, ops: &O, dir: &Path, params: &PixelMim<O::Tensor>) -> Result<PixelMim<O::Tensor>> {
        let loaded = beit_weights::load_pixel_mim(ops, dir)?;
        same_model(dir, loaded.params.vit.config(), params.vit.config())?;
        Ok(loaded.params)
    }

    fn artist(
        &self,
        job: &Pretraining,
        (ops, _): (&Rc<O>, &Device),
        params: PixelMim<O::Tensor>,
    ) -> Box<Artist> {
        let model = DrawingModel::on(ops, PixelModel { params, preprocessing: job.preprocessing });
        Box::new(move |image, mask| {
            let [original, masked, _, predicted] = model.reconstruct(image, mask)?;
            Ok(Seen { original, masked, predicted: Some(predicted) })
        })
    }

    fn draw(
        &self,
        job: &Pretraining,
        (ops, _): (&Rc<O>, &Device),
        params: PixelMim<O::Tensor>,
        (held_out, path): (&Arc<dyn Source>, &Path),
    ) -> Result<()> {
        let (settings, preprocessing) = (&job.settings, job.preprocessing);
        let model = DrawingModel::on(ops, PixelModel { params, preprocessing });
        model.write_reconstructions(path, held_out, &settings.mask, 8, settings.training.seed, &job.watch)
    }
}
