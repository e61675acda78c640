//! Everything but the training: the model is loaded, and a few images show how long the run will take.

use super::step::{Shape, classifier_step, segmenter_step};
use super::{FinetuneTask, Finetuning};
use crate::device::{Device, Work};
use crate::error::Result;
use crate::memory::Planned;
use crate::train::PlannedRun;
use crate::train::rate::{images_to_measure, timed};
use beit_ops::{Ops, Tree};
use std::rc::Rc;

pub(super) struct Check<'a>(pub(super) &'a Finetuning);

impl Work for Check<'_> {
    type Output = PlannedRun;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, device: &Device) -> Result<PlannedRun> {
        let Self(job) = self;
        let (report, shape, rate) = match job.settings.task {
            FinetuneTask::Classify => self.classifier(&**ops, device)?,
            FinetuneTask::Segment => self.segmenter(&**ops, device)?,
        };
        job.watch.note(&report);
        let training = &job.settings.training;
        let Planned { flops, bytes } = shape.planned(&job.settings, device.footprint(), job.copies(device));
        Ok(PlannedRun {
            steps: job.hyper.schedule.total,
            images_per_step: training.step_size(),
            parameters: shape.parameters(),
            flops_per_step: flops.saturating_mul(training.update_freq()),
            peak_bytes: usize::try_from(bytes).unwrap_or(usize::MAX),
            images_per_second: Some(rate),
        })
    }
}

impl Check<'_> {
    fn classifier<O: Ops + 'static>(&self, ops: &O, device: &Device) -> Result<(String, Shape, f64)> {
        let start = self.0.start(ops, device)?;
        let (params, training) = (start.params, &self.0.settings.training);
        let shape = Shape::Classifier(params.config());
        let images = self.measured(&shape, device);
        let mut grads = params.map(&mut |p| ops.zeros(ops.shape(p)));
        let rate = timed(ops, images, &mut grads, |grads| {
            classifier_step(ops, &params, (images, training.keep()), grads);
        })?;
        Ok((start.report, shape, rate))
    }

    fn segmenter<O: Ops + 'static>(&self, ops: &O, device: &Device) -> Result<(String, Shape, f64)> {
        let start = self.0.start_segmenter(ops, device)?;
        let (params, mut running, settings) = (start.params, start.running, &self.0.settings);
        let shape = Shape::Segmenter(params.config().clone());
        // Batch norm of one pooled pixel has no variance.
        let images = self.measured(&shape, device).max(settings.training.batch_size().min(2));
        let mut grads = params.map(&mut |p| ops.zeros(ops.shape(p)));
        let how = (images, settings.training.keep(), settings.segmentation.mean());
        let rate = timed(ops, images, &mut grads, |grads| {
            segmenter_step(ops, (&params, &mut running), how, grads);
        })?;
        Ok((start.report, shape, rate))
    }

    fn measured(&self, shape: &Shape, device: &Device) -> usize {
        let (job, batch) = (self.0, self.0.settings.training.batch_size());
        images_to_measure(shape.planned(&job.settings, device.footprint(), 1), batch)
    }
}
