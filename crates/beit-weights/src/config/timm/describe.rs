//! Models in timm's words.

use crate::config::Model;
use beit_data::{Fit, Normalise, Preprocessing};
use beit_heads::{ClassifierConfig, Pooling};
use beit_vit::{Config, Preset, RelativePositions};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The description of a transformer: timm's architecture of its size, and what differs from that. None of a tokenizer.
pub(crate) fn describing(model: &Model, preprocessing: &Preprocessing) -> Option<Value> {
    let vit = model.vit()?;
    let classes = model.labels().map_or(0, <[String]>::len);
    let pooling = if vit.final_norm { Pooling::Cls } else { Pooling::Mean };
    let config = ClassifierConfig { vit: vit.clone(), classes, pooling };
    let large = vit.width >= Config::new(Preset::Large).width;
    let size = if large { "large" } else { "base" };
    let within = vit.inner_norms || vit.key_bias;
    let family = if within { "beit3" } else { "beit" };
    let args = if within { plain_args(&config) } else { args(&config, large) };
    let mut description = json!({
        "architecture": format!("{family}_{size}_patch16_224"),
        "num_classes": classes,
        "num_features": vit.width,
        "global_pool": pool(pooling),
        "model_args": args,
        "pretrained_cfg": prepared(vit, classes, preprocessing),
        // Ours: timm has no argument for it, and reads no such key.
        "layer_norm_eps": vit.layer_norm_eps,
    });
    if let Some(labels) = model.labels() {
        description["label_names"] = json!(labels);
    }
    Some(description)
}

/// `pretrained_cfg`
fn prepared(vit: &Config, classes: usize, preprocessing: &Preprocessing) -> Value {
    let Preprocessing { size: [height, width], fit, filter, normalise: Normalise { mean, std, .. } } =
        *preprocessing;
    let (crop_pct, crop_mode) = match fit {
        Fit::Squash => (1.0, "squash"),
        Fit::CentreCrop { least } => (share(preprocessing.size, least), "center"),
        Fit::SquashAndCrop { to } => (share(preprocessing.size, to), "squash"),
        Fit::Border { within } => (share(preprocessing.size, within), "border"),
    };
    json!({
        "input_size": [vit.channels, height, width],
        "interpolation": filter.name(),
        "crop_pct": crop_pct,
        "crop_mode": crop_mode,
        "mean": mean[..vit.channels.clamp(1, mean.len())],
        "std": std[..vit.channels.clamp(1, std.len())],
        "num_classes": classes,
        "first_conv": "patch_embed.proj",
        "classifier": "head",
        "fixed_input_size": true,
    })
}

/// The share of a scaled picture that timm keeps: int(size / share) is `scaled`, where one number says it for both sides.
fn share(size: [usize; 2], scaled: [usize; 2]) -> f64 {
    let exact = size[0] as f64 / scaled[0] as f64;
    let gives = |share: &f64| size.map(|side| (side as f64 / share) as usize) == scaled;
    [exact, exact.next_down()].into_iter().find(gives).unwrap_or(exact)
}

/// What timm multiplies the width by: int(width · ratio) is the hidden width.
fn mlp_ratio(vit: &Config) -> f64 {
    let exact = vit.hidden as f64 / vit.width as f64;
    let gives = |ratio: &f64| (vit.width as f64 * ratio) as usize == vit.hidden;
    [exact, exact.next_up()].into_iter().find(gives).unwrap_or(exact)
}

fn pool(pooling: Pooling) -> &'static str {
    if pooling == Pooling::Mean { "avg" } else { "token" }
}

/// The arguments of `Beit` that differ from those of the architecture.
fn args(config: &ClassifierConfig, large: bool) -> Map<String, Value> {
    let own = Args::building(config);
    let mut usual = Args::building(&usual(if large { Preset::Large } else { Preset::Base }));
    if config.vit.layer_scale.is_some() {
        usual.init_values = own.init_values;
    }
    own.differences(&usual)
}

/// The arguments of `VisionTransformer`, which BEiT-3 is in timm: those that differ from `beit3_base_patch16_224` for a small model.
fn plain_args(config: &ClassifierConfig) -> Map<String, Value> {
    let ClassifierConfig { vit, pooling, .. } = config;
    let args = json!({
        "img_size": vit.image,
        "patch_size": vit.patch,
        "in_chans": vit.channels,
        "embed_dim": vit.width,
        "depth": vit.depth,
        "num_heads": vit.heads,
        "mlp_ratio": mlp_ratio(vit),
        "scale_attn_norm": vit.inner_norms,
        "scale_mlp_norm": vit.inner_norms,
        "global_pool": pool(*pooling),
    });
    args.as_object().cloned().unwrap_or_default()
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
            mlp_ratio: mlp_ratio(vit),
            use_abs_pos_emb: vit.absolute_positions,
            use_rel_pos_bias: vit.relative_positions == RelativePositions::PerLayer,
            use_shared_rel_pos_bias: vit.relative_positions == RelativePositions::Shared,
            init_values: vit.layer_scale.unwrap_or(0.0),
            global_pool: pool(config.pooling),
        }
    }

    fn differences(&self, usual: &Self) -> Map<String, Value> {
        let usual = json!(usual);
        let Value::Object(mut own) = json!(self) else { return Map::new() };
        own.retain(|key, value| usual[key] != *value);
        own
    }
}
