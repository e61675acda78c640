use super::DataSettings;
use super::Sides;
use super::number::within;
use crate::error::{Place, Result, setting};
use beit_data::{Bands, Channels, Normalise, PerChannel, Preprocessing};
use beit_vit::{Config, Preset, RelativePositions};
use serde::{Deserialize, Serialize};

/// Published models begin with 0.1 and less; branches that are scaled up drown what they are added to.
const MOST_SCALE: f64 = 10.0;

/// What a new model looks like.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default)]
pub struct ModelSettings {
    /// Size of the model
    #[cfg_attr(feature = "clap", arg(long, alias = "model", value_enum, default_value_t))]
    pub preset: Size,
    /// Image side in pixels, or HEIGHTxWIDTH; the preset's where not given
    #[cfg_attr(feature = "clap", arg(long, alias = "input-size"))]
    pub image_size: Option<Sides>,
    /// Patch side in pixels, or HEIGHTxWIDTH; the preset's where not given
    #[cfg_attr(feature = "clap", arg(long))]
    pub patch_size: Option<Sides>,
    /// The paper's model: absolute positions, no relative bias, no LayerScale
    #[cfg_attr(feature = "clap", arg(long, conflicts_with_all = ["layer_scale_init_value", "abs_pos_emb", "no_rel_pos_bias"]))]
    pub paper: bool,
    /// Learned absolute positions, which tiny, mini and midi models have anyway
    #[cfg_attr(feature = "clap", arg(long))]
    pub abs_pos_emb: bool,
    /// No absolute positions
    #[cfg_attr(feature = "clap", arg(long, conflicts_with_all = ["abs_pos_emb", "paper"]))]
    pub no_abs_pos_emb: bool,
    /// No shared relative position bias
    #[cfg_attr(feature = "clap", arg(long, alias = "disable-rel-pos-bias"))]
    pub no_rel_pos_bias: bool,
    /// Initial value of LayerScale; 0 for none. The preset's where not given
    #[cfg_attr(feature = "clap", arg(long))]
    pub layer_scale_init_value: Option<f32>,
    /// Stochastic depth rate of the last block; where not given, the checkpoint's, 0 for a new tiny or mini model, 0.1 for others
    #[cfg_attr(feature = "clap", arg(long))]
    pub drop_path: Option<f32>,
    /// Normalise with the statistics of ImageNet instead of mean and deviation 0.5
    #[cfg_attr(feature = "clap", arg(long))]
    pub imagenet_default_mean_and_std: bool,
    /// Mean of each channel, of values in 0 to 1; measured on training images where pictures are read as they are (--channels) and it is not
    /// given
    #[cfg_attr(
        feature = "clap",
        arg(
            long,
            value_delimiter = ',',
            value_name = "A,B,…",
            requires = "std",
            conflicts_with = "imagenet_default_mean_and_std"
        )
    )]
    pub mean: Vec<f32>,
    /// Standard deviation of each channel, as --mean
    #[cfg_attr(feature = "clap", arg(long, value_delimiter = ',', value_name = "A,B,…", requires = "mean"))]
    pub std: Vec<f32>,
}

/// The sizes of models.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum Size {
    /// 28x28 images in patches of 4x4, width 96, 4 blocks
    #[default]
    Tiny,
    /// 64x64 images in patches of 8x8, width 192, 6 blocks: for a few thousand photographs
    Mini,
    /// 112x112 images in patches of 8x8, width 256, 8 blocks: for some ten thousand photographs
    Midi,
    /// ViT-S: 224x224 in patches of 16x16, width 384, 12 blocks
    Small,
    /// BEiT-B: width 768, 12 blocks
    Base,
    /// BEiT-L: width 1024, 24 blocks
    Large,
}

impl From<Size> for Preset {
    fn from(size: Size) -> Self {
        match size {
            Size::Tiny => Self::Tiny,
            Size::Mini => Self::Mini,
            Size::Midi => Self::Midi,
            Size::Small => Self::Small,
            Size::Base => Self::Base,
            Size::Large => Self::Large,
        }
    }
}

impl Size {
    /// The size of a transformer, if it has one of these.
    #[must_use]
    pub fn of(vit: &Config) -> Option<Self> {
        let same = |size: &Self| {
            let of_size = Config::new((*size).into());
            (of_size.width, of_size.depth) == (vit.width, vit.depth)
        };
        [Self::Tiny, Self::Mini, Self::Midi, Self::Small, Self::Base, Self::Large].into_iter().find(same)
    }

    /// Whether models have absolute positions beside the relative bias of the released ones. The bias begins at zero and takes
    /// thousands of steps to tell places apart; models of these sizes are trained in fewer.
    #[must_use]
    pub const fn has_absolute_positions(self) -> bool {
        matches!(self, Self::Tiny | Self::Mini | Self::Midi)
    }
}

impl ModelSettings {
    /// The transformer that pre-training begins with.
    ///
    /// # Errors
    ///
    /// Settings that describe no model.
    pub fn config(&self) -> Result<Config> {
        self.check()?;
        let preset = self.preset.into();
        let mut config = if self.paper { Config::paper(preset) } else { Config::new(preset) };
        if let Some(Sides(image)) = self.image_size {
            config.image = image;
        }
        if let Some(Sides(patch)) = self.patch_size {
            config.patch = patch;
        }
        if !self.paper {
            config.absolute_positions =
                (self.abs_pos_emb || self.preset.has_absolute_positions()) && !self.no_abs_pos_emb;
            if self.no_rel_pos_bias {
                config.relative_positions = RelativePositions::None;
            }
            if let Some(value) = self.layer_scale_init_value {
                config.layer_scale = (value != 0.0).then_some(value);
            }
        }
        config.drop_path = self.drop_path.unwrap_or(self.preset.usual_drop_path());
        config.validate()?;
        Ok(config)
    }

    /// The same of a transformer that sees these images.
    pub(crate) fn config_for(&self, data: &DataSettings) -> Result<Config> {
        Ok(Config { channels: Channels::of_pictures(data.bands()).count(), ..self.config()? })
    }

    /// Takes back what describes a new model, where one goes on that has sizes of its own; returns the names of what had been asked for.
    pub(crate) fn settle_to(&mut self, vit: &Config) -> Vec<&'static str> {
        let preset = Size::of(vit).unwrap_or_default();
        let asked = [
            ("model.preset", self.preset != preset && self.preset != Size::default()),
            ("model.paper", self.paper),
            ("model.abs_pos_emb", self.abs_pos_emb),
            ("model.no_abs_pos_emb", self.no_abs_pos_emb),
            ("model.no_rel_pos_bias", self.no_rel_pos_bias),
            ("model.layer_scale_init_value", self.layer_scale_init_value.is_some()),
        ];
        let Self { image_size, patch_size, drop_path, imagenet_default_mean_and_std, mean, std, .. } =
            std::mem::take(self);
        *self = Self {
            preset,
            image_size,
            patch_size,
            drop_path,
            imagenet_default_mean_and_std,
            mean,
            std,
            ..Self::default()
        };
        asked.into_iter().filter_map(|(name, asked)| asked.then_some(name)).collect()
    }

    /// Height and width of a patch.
    pub(crate) fn patch(&self) -> [usize; 2] {
        self.patch_size.map_or_else(|| Config::new(self.preset.into()).patch, |Sides(patch)| patch)
    }

    /// Refuses numbers that no model can have.
    pub(crate) fn check(&self) -> Result<()> {
        self.check_together()?;
        if let Some(rate) = self.drop_path.filter(|rate| !(0.0..1.0).contains(rate)) {
            return Err(beit_vit::Error::DropPath(rate)).at(|| format!("--drop-path {rate}"));
        }
        let scale = self.layer_scale_init_value;
        scale.map_or(Ok(()), |scale| within("--layer-scale-init-value", "a scale", scale, 0.0..=MOST_SCALE))
    }

    /// Refuses settings of which one would have no effect. As flags they do not even parse.
    fn check_together(&self) -> Result<()> {
        let others = [
            ("abs_pos_emb", self.abs_pos_emb),
            ("no_abs_pos_emb", self.no_abs_pos_emb),
            ("no_rel_pos_bias", self.no_rel_pos_bias),
            ("layer_scale_init_value", self.layer_scale_init_value.is_some()),
        ];
        match others.iter().find(|(_, given)| self.paper && *given) {
            Some((name, _)) => {
                setting!("paper and {name}: the model of the paper leaves no choice; leave one of them out")
            }
            None if self.abs_pos_emb && self.no_abs_pos_emb => {
                setting!("abs_pos_emb and no_abs_pos_emb: expected one of them at most")
            }
            None => Ok(()),
        }
    }

    /// How pictures become the pixels of a new model: the released code's way, of channels as they are where `bands` says so.
    #[must_use]
    pub fn preprocessing(&self, config: &Config, bands: Option<Bands>) -> Preprocessing {
        let normalise = self.normalise(Channels::of_pictures(bands));
        Preprocessing { normalise, ..Preprocessing::unilm(config.image) }
    }

    /// The statistics of so many channels: those that are given; else ImageNet's where they are asked for, or mean and deviation 0.5.
    fn normalise(&self, channels: Channels) -> Normalise {
        match (self.given_statistics(channels), channels) {
            (Some(given), _) => given,
            (None, Channels::Own(bands)) => {
                let half = PerChannel::repeated(0.5, bands.count());
                Normalise { channels, mean: half, std: half }
            }
            (None, _) if self.imagenet_default_mean_and_std => Normalise::IMAGENET.seeing(channels),
            (None, _) => Normalise::HALF.seeing(channels),
        }
    }

    /// The statistics of `--mean` and `--std`; `None` where they are not given.
    pub(crate) fn given_statistics(&self, channels: Channels) -> Option<Normalise> {
        let (mean, std) = (PerChannel::new(&self.mean)?, PerChannel::new(&self.std)?);
        Some(Normalise { channels, mean, std })
    }

    /// Refuses statistics that so many channels cannot have.
    pub(crate) fn check_statistics(&self, channels: Channels) -> Result<()> {
        for (flag, numbers, least) in [("--mean", &self.mean, 0.0), ("--std", &self.std, 1e-6)] {
            if !numbers.is_empty() && numbers.len() != channels.count() {
                setting!(
                    "{flag}: expected {} numbers, one for each channel, found {}",
                    channels.count(),
                    numbers.len()
                );
            }
            numbers.iter().try_for_each(|&number| within(flag, "a number", number, least..=255.0))?;
        }
        if self.mean.len() != self.std.len() {
            setting!("--mean and --std: expected both or neither");
        }
        if self.imagenet_default_mean_and_std && !self.mean.is_empty() {
            setting!("mean and imagenet_default_mean_and_std: expected one of them at most");
        }
        if self.imagenet_default_mean_and_std && channels.bands().is_some() {
            setting!(
                "--imagenet-default-mean-and-std: expected pictures in RGB, not --channels; give --mean and --std"
            );
        }
        Ok(())
    }
}
