//! What fine-tuning starts from.

use super::Finetuning;
use super::step::{Shape, new_vit, pooling};
use crate::device::Device;
use crate::error::{Result, unfit};
use crate::load;
use crate::locate::locate;
use crate::progress::Watch;
use crate::run::newest;
use crate::train::FinetuneSettings;
use crate::train::init::{Init, no_transformer, same_patches, seen_by_init, unfit};
use beit_data::Preprocessing;
use beit_heads::{Classifier, ClassifierConfig};
use beit_ops::Ops;
use beit_weights::{Checkpoint, load_classifier};
use std::path::Path;

/// A classifier that is to be trained.
pub(super) struct Start<T> {
    pub(super) params: Classifier<T>,
    pub(super) preprocessing: Preprocessing,
    /// What was dropped, copied or new.
    pub(super) report: String,
}

impl FinetuneSettings {
    /// Images are read as the model sees them that training begins with. A run that goes on has written that down.
    pub(super) fn see_as_init(&mut self, watch: &Watch) -> Result<()> {
        let goes_on = self.run.resumed().and_then(newest).is_some();
        if let Some(init) = self.init.as_ref().filter(|_| !goes_on) {
            // Whoever watches hears of fetching it now, and of what is in it when training begins.
            locate(&init.to_string_lossy(), watch)?;
            self.data = seen_by_init(init, &self.data, (&self.model, &self.loading))?;
        }
        Ok(())
    }
}

impl Finetuning {
    /// Where fine-tuning starts, or goes on.
    pub(super) fn start<O: Ops>(&self, ops: &O, device: &Device) -> Result<Start<O::Tensor>> {
        match (self.newest(), &self.settings.init) {
            (Some(own), _) => self.start_from_own(ops, &own),
            (None, Some(init)) => self.start_from_checkpoint(ops, device, init),
            (None, None) => self.start_from_scratch(ops, device),
        }
    }

    /// Goes on with what this run had learnt: what it began with is not needed any more.
    pub(super) fn start_from_own<O: Ops>(&self, ops: &O, own: &Path) -> Result<Start<O::Tensor>> {
        let loaded = load_classifier(ops, own)?;
        let config = loaded.params.config();
        self.same_number_of_classes(own, config.classes)?;
        let preprocessing = load::preprocessing(&Checkpoint::open(own)?, &config.vit)?;
        let report = format!("{}: all of it", own.display());
        Ok(Start { params: loaded.params, preprocessing, report })
    }

    fn start_from_scratch<O: Ops>(&self, ops: &O, device: &Device) -> Result<Start<O::Tensor>> {
        let FinetuneSettings { model, training, data, .. } = &self.settings;
        let vit = new_vit(model, data)?;
        training.check_frozen(vit.depth, None)?;
        let preprocessing = model.preprocessing(&vit, data.bands());
        let config = ClassifierConfig::on(vit, self.classes(), pooling(&self.settings));
        self.refuse_classifier_beyond(device, &config)?;
        let params = Classifier::init(ops, &config, training.seed);
        Ok(Start { params, preprocessing, report: "from scratch: every parameter is random".to_owned() })
    }

    fn start_from_checkpoint<O: Ops>(
        &self,
        ops: &O,
        device: &Device,
        init: &Path,
    ) -> Result<Start<O::Tensor>> {
        let FinetuneSettings { model, training, loading, .. } = &self.settings;
        let opened = Init::open(init, model, loading, &self.watch)?;
        let Init { path, entry, checkpoint } = &opened;
        let options = loading.options(model.image_size);
        let config = checkpoint.model().finetuned(self.classes(), pooling(&self.settings));
        let mut config = config.ok_or_else(|| no_transformer(path))?;
        config.vit.image = options.image.unwrap_or(config.vit.image);
        config.vit.validate().map_err(unfit(path))?;
        training.check_frozen(config.vit.depth, Some(path))?;
        self.refuse_classifier_beyond(device, &config)?;
        let loaded = checkpoint.finetuned(ops, &config, options, training.seed)?;
        let mut params = loaded.params;
        if let Some(rate) = model.drop_path {
            params.vit.set_drop_path(rate);
        }
        let vit = params.vit.config();
        same_patches(init, model.patch_size, vit.patch)?;
        vit.validate()?;
        // The statistics are the checkpoint's; what is trained here is evaluated in the released code's way.
        let normalise = opened.normalise(vit, model)?;
        let released = Preprocessing { normalise, ..Preprocessing::unilm(vit.image) };
        let authors = entry.and_then(|entry| entry.authors_preprocessing(vit.image));
        let mut preprocessing = authors.unwrap_or(released);
        if model.imagenet_default_mean_and_std || !model.mean.is_empty() {
            preprocessing.normalise = normalise;
        }
        let report = format!("{}: {}", path.display(), loaded.report);
        Ok(Start { params, preprocessing, report })
    }

    fn refuse_classifier_beyond(&self, device: &Device, config: &ClassifierConfig) -> Result<()> {
        self.refuse_beyond(device, &Shape::Classifier(config.clone()))
    }

    /// Refuses to go on with data of other classes.
    pub(super) fn same_number_of_classes(&self, own: &Path, found: usize) -> Result<()> {
        let (path, expected) = (own.display(), self.classes());
        if found != expected {
            unfit!("{path} has {found} classes, the data have {expected}; resume with the data of the run");
        }
        Ok(())
    }
}
