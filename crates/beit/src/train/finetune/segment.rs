//! Fine-tuning for segmentation on a device.

use super::in_run::Seen;
use super::segment_start::Start;
use super::{Finetuned, Finetuning, Judged};
use crate::device::{Device, Work};
use crate::error::Result;
use crate::files;
use crate::load::SegmenterModel;
use crate::loaders::{Loading, decodable};
use crate::picture;
use crate::segmenter::{Segmenter as Door, ViewSettings};
use crate::train::FinetuneSettings;
use crate::train::best::Standing;
use crate::train::replay::{KeptStep, Replay};
use beit_data::{Image, Loader, Preprocessing, SegmentationSample};
use beit_heads::Segmenter;
use beit_heads::segmenter::HeadRunning;
use beit_ops::Ops;
use beit_train::{PixelCounts, Record, Segmentation, Sink, Trainer};
use beit_weights::{save_segmenter, write_preprocessing};
use std::path::Path;
use std::rc::Rc;

/// Images in the picture of a run.
const DRAWN: usize = 8;
/// Pixels of the longer side of each, at most.
const LONGEST: usize = 512;

pub(super) struct Job<'a>(pub(super) &'a Finetuning);

impl Work for Job<'_> {
    type Output = Finetuned;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, device: &Device) -> Result<Finetuned> {
        let Self(job) = self;
        let (settings, watch) = (&job.settings, &job.watch);
        let Start { params, running, preprocessing, report } = job.start_segmenter(&**ops, device)?;
        if !settings.run.resumes() {
            watch.note(&report);
        }
        let loading = job.loading(device);
        let loader = job.with_masks(&loading, preprocessing)?;
        let mut trainer = job.segmenting(&**ops, device, (params, running));
        let names = job.class_names();
        let save = |trainer: &Trainer<'_, O, _>, best: Option<&Standing>, dir: &Path| {
            save(trainer, (&preprocessing, best), names, dir)
        };
        let door = |(params, running)| {
            let model = SegmenterModel { params, running, class_names: names.to_vec(), preprocessing };
            Door::on(ops, model, device).coloured(job.images.source.mask_palette())
        };
        let mut judge = |trainer: &Trainer<'_, O, Segmentation>| {
            let (params, running) = trainer.model();
            let segmenter = door((params.clone(), running.clone()));
            Ok(job.judge(&segmenter, &loading, &mut |_| Ok(()))?.accuracy().miou)
        };
        let mut trained = job.train(device, &mut trainer, &loader, &mut judge, save)?;

        let segmenter = door(trainer.into_model());
        let counts = job.watched(&trained, |seen| job.judge(&segmenter, &loading, seen))?;
        let (split, accuracy) = (job.images.split.to_string(), counts.accuracy());
        trained.metrics.record(&Record::Pixels { split: &split, accuracy: &accuracy })?;
        job.unless_stopped(device, &trained)?;
        let pictures = trained.run.pictures();
        let picture = pictures.join("segmentation.png");
        if !trained.run.follows() {
            files::make_folder(&pictures)?;
            job.draw(&segmenter, &picture)?;
        }
        let judged = Judged::Pixels { accuracy, per_class: counts.per_class(), picture };
        Ok(job.finetuned(trained, split, judged))
    }
}

impl Finetuning {
    /// Augmented images with their masks.
    fn with_masks(
        &self,
        loading: &Loading,
        preprocessing: Preprocessing,
    ) -> Result<Loader<SegmentationSample>> {
        let indices = self.images.indices.clone();
        loading.segmentation(&self.images.source, indices, preprocessing.segment())
    }

    /// The trainer of a run.
    fn segmenting<'a, O: Ops>(
        &self,
        ops: &'a O,
        device: &Device,
        (params, running): (Segmenter<O::Tensor>, HeadRunning<O::Tensor>),
    ) -> Trainer<'a, O, Segmentation> {
        let FinetuneSettings { segmentation, training, .. } = &self.settings;
        let task = Segmentation { mean: segmentation.mean(), recompute: training.recompute };
        let shard = training.moments(device.team().shard());
        Trainer::with_buffers(ops, task, self.recipe(device), params, running).sharded(shard)
    }

    /// What is counted of the images that were held out.
    fn judge(&self, segmenter: &Door, loading: &Loading, seen: &mut Seen<'_>) -> Result<PixelCounts> {
        let loading = Loading { batch_size: 1, ..loading.clone() };
        let (views, none) = (ViewSettings::default(), PixelCounts::new(self.classes()));
        let held_out = &self.images.held_out;
        segmenter.count(held_out, &loading, &views, none, |class| class, &mut |state| seen(state.done))
    }

    /// Images that were held out; their masks; what the model says.
    fn draw(&self, segmenter: &Door, path: &Path) -> Result<()> {
        let source = &self.images.held_out;
        let step = (source.len() / DRAWN).max(1);
        let mut rows: [Vec<Image>; 3] = Default::default();
        let mut size = None;
        for (index, image) in decodable(source, (0..source.len()).step_by(step).take(DRAWN), &self.watch) {
            // The cells of a picture are of one size.
            let size = *size.get_or_insert_with(|| cell([image.height(), image.width()]));
            let Ok(Some(mask)) = source.mask(index) else { continue };
            let found = segmenter.segment(&image)?;
            let fitted = |image: Image| image.resize(size, beit_data::Filter::Bilinear);
            rows[1].push(fitted(segmenter.shown(&image, &mask)));
            rows[2].push(fitted(found.overlay(&image)));
            rows[0].push(fitted(image.shown().into_owned()));
        }
        picture::write_grid(path, &rows)
    }
}

/// Computes a step again that a run has kept.
pub(super) struct ReplayJob<'a>(pub(super) &'a Finetuning, pub(super) &'a KeptStep);

impl Work for ReplayJob<'_> {
    type Output = Replay;

    fn run<O: Ops + 'static>(self, ops: &Rc<O>, device: &Device) -> Result<Replay> {
        let Self(job, kept) = self;
        kept.same_run(&job.recorded(device))?;
        let Start { params, running, preprocessing, .. } = job.segmenter_from_own(&**ops, &kept.folder)?;
        let loader = job.with_masks(&job.loading(device), preprocessing)?;
        let mut trainer = job.segmenting(&**ops, device, (params, running));
        trainer.load_state(&kept.folder)?;
        kept.replayed(&mut trainer, &loader, job.images.source.as_ref())
    }
}

/// The size of a cell of the picture for images of this size: no side is longer than [`LONGEST`].
fn cell(size: [usize; 2]) -> [usize; 2] {
    let longest = size[0].max(size[1]);
    if longest <= LONGEST { size } else { size.map(|side| (side * LONGEST / longest).max(1)) }
}

/// Saves a run so that it can go on.
fn save<O: Ops>(
    trainer: &Trainer<'_, O, Segmentation>,
    (preprocessing, best): (&Preprocessing, Option<&Standing>),
    class_names: &[String],
    dir: &Path,
) -> Result<()> {
    let (params, running) = trainer.model();
    save_segmenter(trainer.ops, dir, params, running, class_names, |dir: &Path| -> Result<()> {
        write_preprocessing(dir, preprocessing)?;
        trainer.save_state(dir)?;
        best.map_or(Ok(()), |best| best.write(dir))
    })
}
