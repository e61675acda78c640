//! The run that is meant: which settings, and how large it is.

use super::DoctorSettings;
use crate::device::Device;
use crate::error::Result;
use crate::locate::known;
use crate::progress::Watch;
use crate::recipe::{Asked, Change, Layered, Recipe, merge};
use crate::settings::{DataSettings, DeviceSettings, ModelSettings, OptimisationSettings, RunSettings, Size};
use crate::train::{
    FinetuneSettings, FinetunedShape, PretrainSettings, planned_pretraining, pretrained_parameters,
    pretraining_outputs, seen_by_init, transformer_of_init,
};
use beit_heads::MimConfig;
use std::path::PathBuf;

/// Settings of one of the verbs that train.
pub(super) enum Verb {
    Pretrain(PretrainSettings),
    Finetune(FinetuneSettings),
}

/// The run that is meant.
pub(super) struct Intended {
    pub(super) verb: Verb,
    /// Images of a step for which the learning rate was published, and that rate.
    pub(super) published: Option<(u64, f64)>,
    /// The transformer that it begins with; none where that is a new one, or not here.
    init: Option<beit_vit::Config>,
}

/// How large a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Images that a device sees at once.
    pub(super) batch: usize,
    /// Bytes of a step of as many.
    pub(super) step: u128,
    /// As many, halved until a step fits into the memory that there is; none where not even one image does.
    pub(super) fitting: Option<usize>,
    /// Bytes of a checkpoint with what training needs to go on.
    pub(super) checkpoint: u128,
    /// Checkpoints that are kept.
    pub(super) keep: usize,
}

impl Intended {
    pub(super) fn of(settings: &DoctorSettings, device: &DeviceSettings) -> Result<(Self, DeviceSettings)> {
        let recipe = settings.recipe.as_deref().map(Recipe::find).transpose()?;
        let about = recipe.as_ref().and_then(|recipe| recipe.about.as_ref());
        let finetunes = match (about, &recipe) {
            (Some(about), _) => about.verb == FinetuneSettings::VERB,
            // Of a run: only pre-training masks.
            (None, Some(recipe)) => !recipe.settings.contains_key("mask"),
            (None, None) => false,
        };
        let (verb, device) = match finetunes {
            true => {
                let (settings, device) = merged(settings, recipe.as_ref(), device)?;
                (Verb::Finetune(settings), device)
            }
            false => {
                let (settings, device) = merged::<PretrainSettings>(settings, recipe.as_ref(), device)?;
                (Verb::Pretrain(settings), device)
            }
        };
        let rate = recipe.as_ref().and_then(|recipe| recipe.settings.get("training")?.get("lr")?.as_float());
        let published = match (about, &verb) {
            (Some(about), _) => rate.map(|rate| (about.batch.global() as u64, rate)),
            (None, Verb::Pretrain(settings)) => released(settings.model.preset),
            (None, Verb::Finetune(_)) => None,
        };
        Ok((Self { verb, published, init: None }, device))
    }

    /// The model that the run begins with, where it is here, says how large it is, and how images are looked at.
    pub(super) fn see_as_init(&mut self) -> Result<()> {
        let (init, how, data) = match &mut self.verb {
            Verb::Pretrain(settings) => {
                (&settings.init, (&settings.model, &settings.loading), &mut settings.data)
            }
            Verb::Finetune(settings) => {
                (&settings.init, (&settings.model, &settings.loading), &mut settings.data)
            }
        };
        if let Some(init) = init.as_deref().filter(|init| init.exists()) {
            self.init = Some(transformer_of_init(init, how)?);
            *data = seen_by_init(init, data, how)?;
        }
        Ok(())
    }

    pub(super) fn data(&self) -> &DataSettings {
        match &self.verb {
            Verb::Pretrain(settings) => &settings.data,
            Verb::Finetune(settings) => &settings.data,
        }
    }

    /// Whether images need classes.
    pub(super) fn is_labelled(&self) -> bool {
        matches!(self.verb, Verb::Finetune(_))
    }

    pub(super) fn training(&self) -> &OptimisationSettings {
        match &self.verb {
            Verb::Pretrain(settings) => &settings.training,
            Verb::Finetune(settings) => &settings.training,
        }
    }

    fn run(&self) -> &RunSettings {
        match &self.verb {
            Verb::Pretrain(settings) => &settings.run,
            Verb::Finetune(settings) => &settings.run,
        }
    }

    /// Where the run would be written.
    pub(super) fn out(&self) -> PathBuf {
        self.run().folder.out.clone().unwrap_or_else(|| "runs".into())
    }

    /// The models that it reads.
    #[cfg(feature = "hub")]
    pub(super) fn models(&self) -> Vec<PathBuf> {
        match &self.verb {
            Verb::Pretrain(settings) => settings.tokenizer.iter().chain(&settings.init).cloned().collect(),
            Verb::Finetune(settings) => settings.init.iter().cloned().collect(),
        }
    }

    /// Micro-batches as one process makes them.
    pub(super) fn divided(&self) -> Result<OptimisationSettings> {
        let mut training = self.training().clone();
        training.divide(1)?;
        if let Verb::Pretrain(settings) = &self.verb {
            let usual = settings.model.preset.usual_pretraining();
            training.settle(usual.batch_size, usual.epochs);
        }
        training.check()?;
        Ok(training)
    }

    /// How large the run is, with so many classes, where so many bytes are free.
    pub(super) fn sizes(&self, device: &Device, classes: usize, free: Option<u64>) -> Result<Sizes> {
        let training = self.divided()?;
        let step = |batch: usize| {
            self.step(device, classes, &OptimisationSettings { batches: batch.into(), ..training.clone() })
        };
        let batch = training.batch_size();
        let (bytes, parameters) = step(batch)?;
        let mut fitting = Some(batch);
        while let (Some(images), Some(free)) = (fitting, free) {
            if step(images)?.0 <= u128::from(free) {
                break;
            }
            fitting = Some(images / 2).filter(|&images| images > 0);
        }
        // The model, two moments, and of a run that averages the weights of the last step.
        let averages = match &self.verb {
            Verb::Pretrain(settings) => settings.average.model_ema,
            Verb::Finetune(settings) => settings.average.model_ema,
        };
        let checkpoint = 4 * parameters as u128 * (3 + u128::from(averages));
        Ok(Sizes { batch, step: bytes, fitting, checkpoint, keep: self.run().keep })
    }

    fn vit(&self, model: &ModelSettings, data: &DataSettings) -> Result<beit_vit::Config> {
        self.init.clone().map_or_else(|| model.config_for(data), Ok)
    }

    /// Bytes of a step, and numbers that are trained.
    fn step(
        &self,
        device: &Device,
        classes: usize,
        training: &OptimisationSettings,
    ) -> Result<(u128, usize)> {
        match &self.verb {
            Verb::Pretrain(settings) => {
                let vit = self.vit(&settings.model, &settings.data)?;
                let masker = settings.mask.masker(vit.grid())?;
                let predicted = settings.predicted(&vit, &masker);
                let config = MimConfig { vocab: head_width(settings, &vit)?, vit };
                let copies = training.kept(settings.average.decay(), 1);
                let planned = planned_pretraining(&config, predicted, training, device.footprint(), copies);
                Ok((planned.bytes, pretrained_parameters(&config)))
            }
            Verb::Finetune(settings) => {
                let settings = FinetuneSettings { training: training.clone(), ..settings.clone() };
                settings.check()?;
                let vit = self.vit(&settings.model, &settings.data)?;
                let shape = FinetunedShape::on(&settings, vit, classes)?;
                let copies = training.kept(settings.average.decay(), 1);
                Ok((shape.planned(&settings, device.footprint(), copies).bytes, shape.parameters()))
            }
        }
    }
}

/// Numbers that are predicted of a patch; of a tokenizer that would have to be fetched to be asked, DALL-E's number of tokens.
fn head_width(settings: &PretrainSettings, vit: &beit_vit::Config) -> Result<usize> {
    const DALLE: usize = beit_tokenizer::Config::dalle().vocab;
    match &settings.tokenizer {
        Some(name) if !name.exists() && known(name).is_none() => Ok(DALLE),
        _ => pretraining_outputs(settings, vit, &Watch::silent()),
    }
}

/// Images of a step and rate of the released pre-training, of the sizes that it is for.
fn released(preset: Size) -> Option<(u64, f64)> {
    (!preset.has_absolute_positions()).then(|| (2048, preset.usual_pretraining().lr))
}

/// The settings that a verb would have with the same flags.
fn merged<S: Layered>(
    asked: &DoctorSettings,
    recipe: Option<&Recipe>,
    device: &DeviceSettings,
) -> Result<(S, DeviceSettings)> {
    let mut changes = asked.changes.clone();
    let mut flag = |path: &str, value: Option<toml::Value>| {
        changes.extend(value.map(|value| Change { path: path.to_owned(), value }));
    };
    flag("data.data", asked.data.clone().map(Into::into));
    flag("data.channels", asked.channels.and_then(|count| i64::try_from(count).ok()).map(Into::into));
    flag("model.preset", asked.preset.and_then(|preset| toml::Value::try_from(preset).ok()));
    flag("training.batch_size", asked.batch_size.and_then(|size| i64::try_from(size).ok()).map(Into::into));
    flag("run.out", asked.out.as_ref().map(|out| out.to_string_lossy().into_owned().into()));
    flag("run.keep", asked.keep.and_then(|keep| i64::try_from(keep).ok()).map(Into::into));
    let asked = Asked { recipe, changes: &changes, is_flag: &|_| false };
    let merged = merge(S::default(), device, asked)?;
    Ok((merged.settings, merged.device))
}
