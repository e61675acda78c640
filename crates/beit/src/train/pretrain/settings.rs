use super::start::Start;
use crate::error::{Place, Result, setting};
use crate::load;
use crate::probe::Few;
use crate::progress::Watch;
use crate::settings::number::within;
use crate::settings::{
    AverageSettings, BestMetric, BestSettings, CropSettings, DataSettings, GuardSettings, LoadSettings,
    MaskSettings, MeasureSettings, ModelSettings, ObjectiveSettings, OptimisationSettings, RunSettings,
    TargetKind, TokenizerKind,
};
use beit_data::{Preprocessing, Source};
use beit_mask::Masker;
use beit_train::Recover;
use beit_vit::Config;
use beit_weights::Checkpoint;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;

/// Which model is pre-trained, on what, and how.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default)]
pub struct PretrainSettings {
    /// The images.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub data: DataSettings,
    /// Go on with a model, instead of random values: run, checkpoint folder, file (.safetensors, .pth, .bin), official name or name on the
    /// hub. Of a run the tokenizer is taken too
    #[cfg_attr(feature = "clap", arg(long, value_name = "MODEL", conflicts_with_all = ["preset", "paper", "abs_pos_emb", "no_abs_pos_emb", "no_rel_pos_bias", "layer_scale_init_value"]))]
    pub init: Option<PathBuf>,
    /// How that is loaded.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub loading: LoadSettings,
    /// The model.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub model: ModelSettings,
    /// The masks.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub mask: MaskSettings,
    /// What is predicted.
    #[cfg_attr(feature = "clap", command(flatten))]
    #[serde(flatten)]
    pub objective: ObjectiveSettings,
    /// The optimiser.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub training: OptimisationSettings,
    /// The folder of the run.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub run: RunSettings,
    /// Tokenizer: folder, encoder's file (encoder.pkl, .safetensors), official name (dalle), or name on the hub. Without it, one is trained
    /// on the same images first
    #[cfg_attr(feature = "clap", arg(long, alias = "discrete-vae-weight-path", value_name = "MODEL"))]
    pub tokenizer: Option<PathBuf>,
    /// Train a new tokenizer where that of --init would be taken
    #[cfg_attr(feature = "clap", arg(long, requires = "init", conflicts_with = "tokenizer"))]
    pub new_tokenizer: bool,
    /// Which kind of tokenizer is trained where none is given
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t = Self::default().tokenizer_kind))]
    pub tokenizer_kind: TokenizerKind,
    /// Steps of training the tokenizer where none is given; the recipe's where not given
    #[cfg_attr(feature = "clap", arg(long))]
    pub tokenizer_steps: Option<u64>,
    /// Go on with a tokenizer whose tokens are found to be of no use on these images
    #[cfg_attr(feature = "clap", arg(long))]
    pub accept_tokenizer: bool,
    /// What is measured.
    #[cfg_attr(feature = "clap", command(flatten))]
    #[serde(flatten)]
    pub measure: MeasureSettings,
    /// Which checkpoint is the best.
    #[cfg_attr(feature = "clap", command(flatten))]
    #[serde(flatten)]
    pub best: BestSettings,
    /// Judge the frozen features of every block before the first step, after every so many, and after the last: by the 10 nearest of up
    /// to 1,000 training images with labels, on up to 500 others. Test images are not looked at, and training stays the same to the bit
    #[cfg_attr(feature = "clap", arg(long, value_name = "N"))]
    pub probe_every: Option<u64>,
    /// The views.
    #[cfg_attr(feature = "clap", command(flatten))]
    #[serde(flatten)]
    pub crop: CropSettings,
    /// Colour jitter of the pre-training views; where not given, 0 for the tiny preset and with --channels, 0.4 for others
    #[cfg_attr(feature = "clap", arg(long, alias = "color-jitter"))]
    pub colour_jitter: Option<f64>,
    /// An average of the weights.
    #[cfg_attr(feature = "clap", command(flatten))]
    #[serde(flatten)]
    pub average: AverageSettings,
    /// Steps that are left out.
    #[cfg_attr(feature = "clap", command(flatten))]
    #[serde(flatten)]
    pub guard: GuardSettings,
}

impl Default for PretrainSettings {
    fn default() -> Self {
        Self {
            data: DataSettings::default(),
            init: None,
            loading: LoadSettings::default(),
            model: ModelSettings::default(),
            mask: MaskSettings::default(),
            objective: ObjectiveSettings::default(),
            training: OptimisationSettings::default(),
            run: RunSettings::default(),
            tokenizer: None,
            new_tokenizer: false,
            // Made in seconds, and it cannot fail to learn: the time goes into the transformer (docs/results/recipes.md).
            tokenizer_kind: TokenizerKind::KMeans,
            tokenizer_steps: None,
            accept_tokenizer: false,
            measure: MeasureSettings::default(),
            best: BestSettings::default(),
            probe_every: None,
            crop: CropSettings::default(),
            colour_jitter: None,
            average: AverageSettings::default(),
            guard: GuardSettings::default(),
        }
    }
}

impl PretrainSettings {
    /// Refuses numbers that no run can have.
    pub(super) fn check(&self) -> Result<()> {
        self.training.check()?;
        self.crop.check()?;
        self.average.check()?;
        self.guard.check()?;
        let (of, measured) = match self.objective.predict {
            TargetKind::Tokens => ("pre-training", BestMetric::TokenAccuracy),
            TargetKind::Pixels => ("pre-training towards pixels", BestMetric::PixelError),
        };
        self.best.check(of, &[measured], &self.run)?;
        self.check_tokenizer()?;
        let jitter = self.colour_jitter.unwrap_or(0.0);
        if jitter != 0.0 && self.data.bands().is_some() {
            setting!(
                "--colour-jitter {jitter}: expected pictures in RGB of 8 bits, not --channels; give 0, or leave it out"
            );
        }
        if self.probe_every == Some(0) {
            setting!(
                "--probe-every 0: expected a number of steps, at least 1; leave it out to judge no features"
            );
        }
        within("--colour-jitter", "a jitter", jitter, 0.0..=10.0)
    }

    /// Refuses a tokenizer where none is used.
    fn check_tokenizer(&self) -> Result<()> {
        let Self { tokenizer, new_tokenizer, tokenizer_steps, .. } = self;
        if self.objective.predict == TargetKind::Pixels
            && (tokenizer.is_some() || *new_tokenizer || tokenizer_steps.is_some())
        {
            setting!(
                "--predict pixels uses no tokenizer: leave out --tokenizer, --new-tokenizer and --tokenizer-steps"
            );
        }
        Ok(())
    }

    /// Patches of an image that are predicted, where so many of them are masked.
    pub(crate) fn predicted(&self, vit: &Config, masker: &Masker) -> usize {
        Recover::from(self.objective.recover).predicted(vit.patches(), masker.config().target)
    }

    /// The images by which features are judged, where that is asked for.
    pub(super) fn few(&self, source: &Arc<dyn Source>, watch: &Watch) -> Result<Option<Few>> {
        let Some(every) = self.probe_every else { return Ok(None) };
        let of = || format!("--probe-every {every}, which needs images with classes, of {}", self.data.data);
        let few = Few::of(source, self.training.seed).at(of)?;
        let ([learnt, judging], k) = (few.images(), few.neighbours());
        watch.note(&format!(
            "--probe-every {every}: features are judged by the {k} nearest of {learnt} labelled training images, on {judging} others; the \
             model learns from no label"
        ));
        Ok(Some(few))
    }

    /// How pictures become pixels. A run that goes on has written that down.
    pub(super) fn preprocessing(&self, vit: &Config, start: Option<&Start>) -> Result<Preprocessing> {
        match (start, self.newest()) {
            (Some(start), _) => start.preprocessing(vit, self),
            (None, Some(own)) if self.init.is_some() => load::preprocessing(&Checkpoint::open(own)?, vit),
            _ => Ok(self.model.preprocessing(vit, self.data.bands())),
        }
    }
}
