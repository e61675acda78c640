//! What a model learns in pre-training, as a run sees it.

use super::{Pretraining, Recovered};
use crate::device::Device;
use crate::error::Result;
use beit_data::{Image, PretrainSample, Source};
use beit_ops::{Ops, Tree};
use beit_train::{Communicator, Task};
use beit_vit::Vit;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// An image under a mask, as it is shown.
pub(super) struct Seen {
    /// Without the mask.
    pub(super) original: Image,
    /// With its masked patches grey.
    pub(super) masked: Image,
    /// With them as predicted, where that can be drawn.
    pub(super) predicted: Option<Image>,
}

/// Makes [`Seen`] of an image and a mask.
pub(super) type Artist = dyn Fn(&Image, &[bool]) -> Result<Seen>;

/// What masked patches are recovered as: how it is trained, measured, saved, read and drawn.
pub(super) trait Goal<O: Ops + 'static> {
    /// The parameters.
    type Params: Tree<O::Tensor, Of<O::Tensor> = Self::Params> + Clone;
    /// How they are trained.
    type Task<'t>: Task<O, Params = Self::Params, Buffers = (), Sample = PretrainSample>
    where
        Self: 't;

    /// The transformer of a model.
    fn vit(params: &Self::Params) -> &Vit<O::Tensor>;

    /// How they are trained in this run.
    fn task(&self, job: &Pretraining) -> Self::Task<'_>;

    /// How a model does on the images of a loader.
    fn measure(
        &self,
        ranks: &mut dyn Communicator,
        ops: &O,
        params: &Self::Params,
        loader: &super::Samples,
    ) -> Result<Recovered>;

    /// Writes a model into a folder, with what `more` adds.
    fn save(
        &self,
        ops: &O,
        dir: &Path,
        params: &Self::Params,
        more: &dyn Fn(&Path) -> Result<()>,
    ) -> Result<()>;

    /// The model of a folder; refuses one that is not like `params`.
    fn load(&self, ops: &O, dir: &Path, params: &Self::Params) -> Result<Self::Params>;

    /// What a model makes of an image under a mask.
    fn artist(&self, job: &Pretraining, on: (&Rc<O>, &Device), params: Self::Params) -> Box<Artist>;

    /// Writes a picture of what a model makes of masked images.
    fn draw(
        &self,
        job: &Pretraining,
        on: (&Rc<O>, &Device),
        params: Self::Params,
        images_and_file: (&Arc<dyn Source>, &Path),
    ) -> Result<()>;
}
