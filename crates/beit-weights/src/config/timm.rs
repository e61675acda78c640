//! `config.json` of timm's models: the name of an architecture, and how pictures are prepared.

use super::limit::limit_statistics;
use crate::error::{Error, Result};
use beit_data::{Filter, Fit, Normalise, Preprocessing};
use beit_heads::{ClassifierConfig, Pooling};
use beit_vit::{Config, Preset, RelativePositions};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::path::Path;

/// The keys that matter here. Sizes are not among them: they follow from the tensors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Timm {
    architecture: String,
    num_classes: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    num_features: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    global_pool: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) label_names: Option<Labels>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    model_args: Map<String, Value>,
    pretrained_cfg: Pretrained,
}

/// Names of the classes in their order, or by their numbers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Labels {
    Ordered(Vec<String>),
    Numbered(std::collections::BTreeMap<usize, String>),
}

impl Labels {
    pub(crate) fn into_names(self) -> Vec<String> {
        match self {
            Self::Ordered(names) => names,
            Self::Numbered(names) => names.into_values().collect(),
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Pretrained {
    /// Channels, height, width.
    #[serde(default = "standard_size")]
    input_size: [usize; 3],
    #[serde(default = "bicubic")]
    interpolation: String,
    #[serde(default = "standard_crop")]
    crop_pct: f64,
    #[serde(default = "centre")]
    crop_mode: String,
    #[serde(default = "half")]
    mean: [f32; 3],
    #[serde(default = "half")]
    std: [f32; 3],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    num_classes: Option<usize>,
    #[serde(default = "first_conv")]
    first_conv: String,
    #[serde(default = "classifier")]
    classifier: String,
    #[serde(default)]
    fixed_input_size: bool,
}

fn standard_size() -> [usize; 3] {
    [3, 224, 224]
}
fn bicubic() -> String {
    "bicubic".into()
}
fn standard_crop() -> f64 {
    0.9
}
fn centre() -> String {
    "center".into()
}
fn half() -> [f32; 3] {
    [0.5; 3]
}
fn first_conv() -> String {
    "patch_embed.proj".into()
}
fn classifier() -> String {
    "head".into()
}

impl Timm {
    /// The architecture's name, for a message.
    pub(crate) fn architecture(&self) -> &str {
        &self.architecture
    }

    /// How pictures become the model's pixels.
    pub(crate) fn preprocessing(&self, path: &Path) -> Result<Preprocessing> {
        let Pretrained { input_size: [_, height, width], ref interpolation, crop_pct, mean, std, .. } =
            self.pretrained_cfg;
        let Some(filter) = Filter::ALL.into_iter().find(|filter| filter.name() == interpolation) else {
            let problem =
                format!("`interpolation` is {interpolation}, expected bilinear, bicubic or lanczos");
            return Err(Error::config(path, problem));
        };
        let normalise = Normalise { mean, std };
        limit_statistics(["mean", "std"], &normalise).map_err(|problem| Error::config(path, problem))?;
        let squashed = Preprocessing { size: [height, width], fit: Fit::Squash, filter, normalise };
        match self.pretrained_cfg.crop_mode.as_str() {
            "center" if crop_pct > 0.0 && crop_pct <= 1.0 => Ok(squashed.keeping(crop_pct)),
            "squash" if crop_pct == 1.0 => Ok(squashed),
            other => {
                let problem = format!("`crop_mode` {other} with `crop_pct` {crop_pct} is not supported");
                Err(Error::config(path, problem))
            }
        }
    }

    /// The description of a classifier: timm's architecture of its size, and what differs from that.
    pub(crate) fn describing(
        config: &ClassifierConfig,
        labels: &[String],
        preprocessing: &Preprocessing,
    ) -> Self {
        let vit = &config.vit;
        let large = vit.width >= Config::new(Preset::Large).width;
        let (size, preset) = if large { ("large", Preset::Large) } else { ("base", Preset::Base) };
        let args = Args::building(config);
        let mut usual = Args::building(&usual(preset));
        if vit.layer_scale.is_some() {
            usual.init_values = args.init_values;
        }
        let [height, width] = vit.image;
        let Normalise { mean, std } = preprocessing.normalise;
        let (crop_pct, crop_mode) = match preprocessing.shortest_edge() {
            None => (1.0, "squash"),
            Some(side) => (height.min(width) as f64 / side as f64, "center"),
        };
        Self {
            architecture: format!("beit_{size}_patch16_224"),
            num_classes: config.classes,
            num_features: Some(vit.width),
            global_pool: Some(args.global_pool.into()),
            label_names: Some(Labels::Ordered(labels.to_vec())),
            model_args: args.differences(&usual),
            pretrained_cfg: Pretrained {
                input_size: [vit.channels, height, width],
                interpolation: preprocessing.filter.name().into(),
                crop_pct,
                crop_mode: crop_mode.into(),
                mean,
                std,
                num_classes: Some(config.classes),
                first_conv: first_conv(),
                classifier: classifier(),
                fixed_input_size: true,
            },
        }
    }
}

/// What `beit_base_patch16_224` and `beit_large_patch16_224` are (timm/models/beit.py).
fn usual(preset: Preset) -> ClassifierConfig {
    let vit = Config { relative_positions: RelativePositions::PerLayer, ..Config::new(preset) };
    ClassifierConfig::on(vit, 0, Pooling::Mean)
}

/// The arguments of timm's `Beit`.
#[derive(PartialEq, Serialize)]
struct Args {
    img_size: [usize; 2],
    patch_size: [usize; 2],
    in_chans: usize,
    embed_dim: usize,
    depth: usize,
    num_heads: usize,
    mlp_ratio: f64,
    use_abs_pos_emb: bool,
    use_rel_pos_bias: bool,
    use_shared_rel_pos_bias: bool,
    /// Whether there is LayerScale: the value is in the weights, 0 leaves it out (`null` is taken for the architecture's).
    init_values: f32,
    global_pool: &'static str,
}

impl Args {
    fn building(config: &ClassifierConfig) -> Self {
        let vit = &config.vit;
        Self {
            img_size: vit.image,
            patch_size: vit.patch,
            in_chans: vit.channels,
            embed_dim: vit.width,
            depth: vit.depth,
            num_heads: vit.heads,
            mlp_ratio: vit.hidden as f64 / vit.width as f64,
            use_abs_pos_emb: vit.absolute_positions,
            use_rel_pos_bias: vit.relative_positions == RelativePositions::PerLayer,
            use_shared_rel_pos_bias: vit.relative_positions == RelativePositions::Shared,
            init_values: vit.layer_scale.unwrap_or(0.0),
            global_pool: if config.pooling == Pooling::Mean { "avg" } else { "token" },
        }
    }

    fn differences(&self, usual: &Self) -> Map<String, Value> {
        let usual = json!(usual);
        let Value::Object(mut own) = json!(self) else { return Map::new() };
        own.retain(|key, value| usual[key] != *value);
        own
    }
}
