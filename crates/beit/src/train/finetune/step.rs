//! A step of fine-tuning of whichever kind: planned without numbers, or taken to see how fast a machine is.

use super::{FinetuneSettings, FinetuneTask};
use crate::error::{Error, Result};
use crate::memory::{self, Planned};
use crate::settings::{DataSettings, ModelSettings};
use beit_heads::segmenter::HeadRunning;
use beit_heads::{Classifier, ClassifierConfig, PixelMean, Pooling, Segmenter, SegmenterConfig};
use beit_ops::prelude::*;
use beit_ops::{Footprint, Tree};
use beit_vit::{Config, Input, Keep, RelativePositions};

/// Forward and backward of so many images; `grads` keeps what comes out.
pub(super) fn classifier_step<O: Ops>(
    ops: &O,
    params: &Classifier<O::Tensor>,
    (images, keep): (usize, Keep),
    grads: &mut Classifier<O::Tensor>,
) {
    let images = ops.zeros(params.config().vit.images(images));
    let input = Input { images: &images, mask: None, drop_path: None };
    let (logits, saved) = params.forward(ops, &input, keep);
    params.backward(ops, &input, &logits, saved, grads);
}

/// The same of a segmenter, with its loss, whose maps are large.
pub(super) fn segmenter_step<O: Ops>(
    ops: &O,
    (params, running): (&Segmenter<O::Tensor>, &mut HeadRunning<O::Tensor>),
    (batch, keep, mean): (usize, Keep, PixelMean),
    grads: &mut Segmenter<O::Tensor>,
) {
    let SegmenterConfig { vit, classes, .. } = params.config();
    let (images, classes) = (ops.zeros(vit.images(batch)), *classes);
    let input = Input { images: &images, mask: None, drop_path: None };
    let (logits, saved) = params.forward(ops, &input, running, &[], keep);
    let labels = vec![0; batch * vit.image[0] * vit.image[1]];
    let pixels = beit_heads::Pixels { labels: &labels, size: vit.image, classes };
    let loss = beit_heads::pixel_loss(ops, &logits, &pixels, mean, 1.0);
    params.backward(ops, &input, &loss.d_logits, &[], saved, grads);
}

/// A new model for fine-tuning.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Classifier(ClassifierConfig),
    Segmenter(SegmenterConfig),
}

/// A new transformer for these images, each of whose blocks has relative positions of its own.
pub(super) fn new_vit(model: &ModelSettings, data: &DataSettings) -> Result<Config> {
    Ok(with_own_positions(model.config_for(data)?))
}

/// The same transformer, each of whose blocks has relative positions of its own.
fn with_own_positions(mut vit: Config) -> Config {
    if vit.relative_positions == RelativePositions::Shared {
        vit.relative_positions = RelativePositions::PerLayer;
    }
    vit
}

impl Shape {
    /// What these settings fine-tune where it begins with random values, for so many classes.
    pub(crate) fn of(settings: &FinetuneSettings, classes: usize) -> Result<Self> {
        Self::on(settings, settings.model.config_for(&settings.data)?, classes)
    }

    /// What they fine-tune on a transformer, which was pre-trained or not.
    pub(crate) fn on(settings: &FinetuneSettings, vit: Config, classes: usize) -> Result<Self> {
        let vit = with_own_positions(vit);
        match settings.task {
            FinetuneTask::Classify => {
                Ok(Self::Classifier(ClassifierConfig::on(vit, classes, pooling(settings))))
            }
            FinetuneTask::Segment => segmenter_on(settings, vit, classes).map(Self::Segmenter),
        }
    }

    pub(crate) fn vit(&self) -> &Config {
        match self {
            Self::Classifier(config) => &config.vit,
            Self::Segmenter(config) => &config.vit,
        }
    }

    /// Numbers that are trained.
    pub(crate) fn parameters(&self) -> usize {
        match self {
            Self::Classifier(config) => elements(&Classifier::shapes(config)),
            Self::Segmenter(config) => elements(&Segmenter::shapes(config)),
        }
    }

    /// A micro-batch, without numbers, where so many copies of the parameters are kept besides them.
    pub(crate) fn planned(
        &self,
        settings: &FinetuneSettings,
        footprint: Footprint,
        copies: usize,
    ) -> Planned {
        let training = &settings.training;
        memory::plan(footprint, training.batch_size(), |ops, batch| match self {
            Self::Classifier(config) => {
                let params = Classifier::shapes(config).map(&mut |shape| ops.zeros(*shape));
                let mut kept: Vec<_> = (0..copies).map(|_| params.clone()).collect();
                classifier_step(ops, &params, (batch, training.keep()), &mut kept[0]);
            }
            Self::Segmenter(config) => {
                let params = Segmenter::shapes(config).map(&mut |shape| ops.zeros(*shape));
                let mut running = Segmenter::running(config).map(&mut |shape| ops.zeros(*shape));
                let mut kept: Vec<_> = (0..copies).map(|_| params.clone()).collect();
                let how = (batch, training.keep(), settings.segmentation.mean());
                segmenter_step(ops, (&params, &mut running), how, &mut kept[0]);
            }
        })
    }
}

fn elements(tree: &impl Tree<beit_ops::Shape>) -> usize {
    tree.leaves().iter().map(|shape| shape.elements()).sum()
}

/// What represents an image.
pub(super) fn pooling(settings: &FinetuneSettings) -> Pooling {
    if settings.use_cls { Pooling::Cls } else { Pooling::Mean }
}

pub(super) fn segmenter_on(
    settings: &FinetuneSettings,
    vit: Config,
    classes: usize,
) -> Result<SegmenterConfig> {
    let head = settings.segmentation.config(&vit);
    let taps = SegmenterConfig::usual_taps(vit.depth);
    let config = SegmenterConfig::on(vit, classes, taps, head);
    config.validate().map_err(|error| Error::Unfit(error.to_string()))?;
    Ok(config)
}
