//! What fine-tuning for segmentation starts from.

use super::Finetuning;
use super::step::{Shape, new_vit, segmenter_on};
use crate::device::Device;
use crate::error::{Result, unfit};
use crate::load;
use crate::settings::{ModelSettings, Sides};
use crate::train::FinetuneSettings;
use crate::train::init::{Init, no_transformer, same_patches, unfit};
use beit_data::{Fit, Preprocessing};
use beit_heads::segmenter::HeadRunning;
use beit_heads::{HeadConfig, Segmenter, SegmenterConfig};
use beit_ops::Ops;
use beit_vit::Config;
use beit_weights::catalogue::Task;
use beit_weights::{Checkpoint, Loaded, Model, WholeSegmenter, load_segmenter};
use std::path::Path;

/// Crops are no larger where nothing is said: the released size.
const LARGEST_CROP: usize = 512;

/// A segmenter that is to be trained.
pub(super) struct Start<T> {
    pub(super) params: Segmenter<T>,
    pub(super) running: HeadRunning<T>,
    pub(super) preprocessing: Preprocessing,
    /// What was dropped, copied or new.
    pub(super) report: String,
}

impl Finetuning {
    /// Where fine-tuning starts, or goes on.
    pub(super) fn start_segmenter<O: Ops>(&self, ops: &O, device: &Device) -> Result<Start<O::Tensor>> {
        match (self.newest(), &self.settings.init) {
            (Some(own), _) => self.segmenter_from_own(ops, &own),
            (None, Some(init)) => self.segmenter_from_checkpoint(ops, device, init),
            (None, None) => self.segmenter_from_scratch(ops, device),
        }
    }

    /// Goes on with what this run had learnt: what it began with is not needed any more.
    pub(super) fn segmenter_from_own<O: Ops>(&self, ops: &O, own: &Path) -> Result<Start<O::Tensor>> {
        let Loaded { params: WholeSegmenter { model, running }, .. } = load_segmenter(ops, own)?;
        self.same_number_of_classes(own, model.config().classes)?;
        let preprocessing = load::preprocessing(&Checkpoint::open(own)?, model.vit.config())?;
        let report = format!("{}: all of it", own.display());
        Ok(Start { params: model, running, preprocessing, report })
    }

    fn segmenter_from_scratch<O: Ops>(&self, ops: &O, device: &Device) -> Result<Start<O::Tensor>> {
        let FinetuneSettings { model, training, data, .. } = &self.settings;
        let image_size = Some(Sides(self.crop(model.patch())?));
        let vit = new_vit(&ModelSettings { image_size, ..model.clone() }, data)?;
        training.check_frozen(vit.depth, None)?;
        let preprocessing = model.preprocessing(&vit, data.bands());
        let config = segmenter_on(&self.settings, vit, self.classes())?;
        self.refuse_segmenter_beyond(device, &config)?;
        let params = Segmenter::init(ops, &config, training.seed);
        let running = Segmenter::init_running(ops, &config);
        let report = "from scratch: every parameter is random".to_owned();
        Ok(Start { params, running, preprocessing, report })
    }

    fn segmenter_from_checkpoint<O: Ops>(
        &self,
        ops: &O,
        device: &Device,
        init: &Path,
    ) -> Result<Start<O::Tensor>> {
        let FinetuneSettings { model, training, loading, .. } = &self.settings;
        let opened = Init::open(init, model, loading, &self.watch)?;
        let Init { path, checkpoint, .. } = &opened;
        let mut vit = checkpoint.model().vit().cloned().ok_or_else(|| no_transformer(path))?;
        same_patches(init, model.patch_size, vit.patch)?;
        vit.image = self.crop(vit.patch)?;
        let image = vit.image;
        vit.validate().map_err(unfit(path))?;
        training.check_frozen(vit.depth, Some(path))?;
        let head = self.settings.segmentation.config(&vit);
        let taps = match checkpoint.model() {
            // A head that is trained further reads what it was trained on.
            Model::Segmenter(trained) if trained.segmenter.head == head => trained.segmenter.taps,
            _ => SegmenterConfig::usual_taps(vit.depth),
        };
        let config = checkpoint.model().segmented(self.classes(), head, taps);
        let mut config = config.ok_or_else(|| no_transformer(path))?;
        config.vit.image = image;
        config.validate().map_err(unfit(path))?;
        self.refuse_segmenter_beyond(device, &config)?;
        let options = loading.options(Some(Sides(image)));
        let Loaded { params: WholeSegmenter { model: mut params, running }, report } =
            checkpoint.segmented(ops, &config, options, training.seed)?;
        if let Some(rate) = model.drop_path {
            params.vit.set_drop_path(rate);
        }
        let preprocessing = self.segmenter_preprocessing(&opened, params.vit.config())?;
        Ok(Start { params, running, preprocessing, report: format!("{}: {report}", path.display()) })
    }

    /// The statistics are the checkpoint's, or of an official segmenter the authors'; crops are cut from pictures of kept aspect, as in
    /// the released code.
    fn segmenter_preprocessing(&self, opened: &Init, vit: &Config) -> Result<Preprocessing> {
        let model = &self.settings.model;
        let mut normalise = opened.normalise(vit, model)?;
        if let Some(segmenter) = opened.entry.filter(|entry| entry.task == Task::Segment)
            && let Some(authors) = segmenter.authors_preprocessing(vit.image)
            && !model.imagenet_default_mean_and_std
            && model.mean.is_empty()
        {
            normalise = authors.normalise.seeing(normalise.channels);
        }
        let released = Preprocessing::unilm(vit.image);
        debug_assert!(!matches!(released.fit, Fit::Squash), "a squashed picture is segmented squashed");
        Ok(Preprocessing { normalise, ..released })
    }

    /// Height and width of crops: what was asked for; else squares as large as the shorter side of the first picture, in whole patches.
    fn crop(&self, patch: [usize; 2]) -> Result<[usize; 2]> {
        let patch = patch[0].max(patch[1]).max(1);
        let usual = || -> Result<[usize; 2]> {
            let [height, width] = self.images.first_size()?;
            let side = height.min(width).min(LARGEST_CROP) / patch * patch;
            Ok([side.max(2 * patch); 2])
        };
        let [height, width] = match self.settings.model.image_size {
            Some(Sides(image)) => image,
            None => usual()?,
        };
        self.watch.note(&format!("crops of {height}x{width} pixels"));
        Ok([height, width])
    }

    /// Refuses what the machine has no memory for, and batches that have no variance.
    fn refuse_segmenter_beyond(&self, device: &Device, config: &SegmenterConfig) -> Result<()> {
        let (vit, batch) = (&config.vit, self.settings.training.batch_size());
        if batch * vit.grid().iter().product::<usize>() < 2 {
            unfit!(
                "--batch-size {batch} of images of one patch: expected two patches in a step at least, since batch norm of one has no variance; take a larger --image-size"
            );
        }
        if batch < 2 && matches!(config.head, HeadConfig::Upernet { .. }) {
            unfit!(
                "--batch-size {batch}: expected at least 2 for --head upernet, whose batch norm of one pooled pixel an image has no variance otherwise"
            );
        }
        self.refuse_beyond(device, &Shape::Segmenter(config.clone()))
    }
}
