use super::Sides;
use beit_weights::{Entry, LoadOptions, Model, OpenOptions, Parameters, Resizing, Taps};
use serde::{Deserialize, Serialize};

/// How a model is opened that is used as it is.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default)]
pub struct OpenSettings {
    /// How pictures become the model's pixels: as the checkpoint says, or a family's way. What the published number of an official
    /// checkpoint was measured with, where nothing is given
    #[cfg_attr(feature = "clap", arg(long, value_enum))]
    pub preprocess: Option<PreprocessingRule>,
    /// Image side in pixels, or HEIGHTxWIDTH, where it is not the checkpoint's: positions are then resized
    #[cfg_attr(feature = "clap", arg(long, alias = "input-size"))]
    pub image_size: Option<Sides>,
    /// How the checkpoint is loaded.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub loading: LoadSettings,
}

/// What is said of a file that it does not say of itself.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default)]
pub struct ReadSettings {
    /// Number of heads of a model in a bare file without relative positions, which does not show it; else 64 of the width are a head
    #[cfg_attr(feature = "clap", arg(long))]
    pub heads: Option<usize>,
    /// Which parameters of a file that has an average (EMA) beside those of the last step; the average where nothing is said
    #[cfg_attr(feature = "clap", arg(long, value_enum, value_name = "WHICH"))]
    pub weights: Option<ParametersRule>,
    /// Which blocks the head of a segmenter reads, where its file leaves that open
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t))]
    pub taps: TapsRule,
}

/// Which blocks `out_indices` of a segmenter's configuration mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum TapsRule {
    /// Those with these numbers from 0, as the released code, whose weights the published ones are
    #[default]
    Official,
    /// Those two before them, as transformers: for what transformers trained
    Transformers,
}

/// Which parameters of a file with several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum ParametersRule {
    /// Those of the last step
    Raw,
    /// The average
    Ema,
}

impl ReadSettings {
    /// How a file is opened whose pictures may be of these sides. What the catalogue knows of an official file fills what is not said.
    #[must_use]
    pub fn options(&self, image: Option<Sides>, entry: Option<&Entry>) -> OpenOptions {
        let known = entry.and_then(Entry::model);
        let known = known.as_ref().and_then(Model::vit);
        OpenOptions {
            heads: self.heads,
            likely: known.map(|vit| [vit.width, vit.heads]),
            image: image.map(|Sides(image)| image).or(known.map(|vit| vit.image)),
            parameters: self.weights.map(|rule| match rule {
                ParametersRule::Raw => Parameters::Raw,
                ParametersRule::Ema => Parameters::Average,
            }),
            taps: match self.taps {
                TapsRule::Official => Taps::Official,
                TapsRule::Transformers => Taps::Transformers,
            },
        }
    }
}

/// How a checkpoint is loaded.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
#[serde(default)]
pub struct LoadSettings {
    /// Whose way of bringing positions to another image size
    #[cfg_attr(feature = "clap", arg(long, value_enum, default_value_t))]
    pub resizing: ResizingRule,
    /// Take what fits of a checkpoint and report what does not, instead of failing
    #[cfg_attr(feature = "clap", arg(long))]
    pub lenient: bool,
    /// What the file does not say of itself.
    #[cfg_attr(feature = "clap", command(flatten))]
    pub reading: ReadSettings,
}

/// Whose way of making pixels of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum PreprocessingRule {
    /// preprocessor_config.json of the checkpoint, or timm's configuration in it
    Checkpoint,
    /// The released code: shorter side to size / 0.875 below 384, else to the size; bicubic, centre, 0.5
    Unilm,
    /// timm's beit_*: as unilm with 0.9
    Timm,
    /// transformers' microsoft/beit-*: squashed, bilinear, 0.5
    Hf,
}

/// Whose way of resizing positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
#[serde(rename_all = "lowercase")]
pub enum ResizingRule {
    /// The released code: relative tables by a spline on a geometric sequence
    #[default]
    Unilm,
    /// The same sequence, bilinear
    Timm,
    /// Tables as if they were pictures, bilinear
    Hf,
}

impl LoadSettings {
    pub(crate) fn options(&self, image: Option<Sides>) -> LoadOptions {
        let resizing = match self.resizing {
            ResizingRule::Unilm => Resizing::Unilm,
            ResizingRule::Timm => Resizing::Timm,
            ResizingRule::Hf => Resizing::Transformers,
        };
        LoadOptions { image: image.map(|Sides(image)| image), resizing, lenient: self.lenient }
    }
}
