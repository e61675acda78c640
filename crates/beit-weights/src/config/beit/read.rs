//! `config.json` of transformers, whoever wrote it.

use super::Config;
use crate::config::infer::{Guess, Known, infer};
use crate::config::keys::Keys;
use crate::error::Result;
use crate::weights::Weights;
use serde_json::Value;

/// What the shapes of the tensors tell as well. Where the file is silent, they are asked before transformers' defaults are taken.
const BY_TENSORS: [&str; 16] = [
    "image_size",
    "patch_size",
    "num_channels",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "layer_scale_init_value",
    "use_absolute_position_embeddings",
    "use_relative_position_bias",
    "use_shared_relative_position_bias",
    "use_mask_token",
    "use_mean_pooling",
    "use_inner_norms",
    "use_key_bias",
    "vocab_size",
];

/// Those of them that only this project writes, where they are true.
const OURS: [&str; 2] = ["use_inner_norms", "use_key_bias"];

impl Config {
    /// What a file says, and the tensors beside it where those are open.
    pub(in crate::config) fn read(mut keys: Keys, weights: Option<&Weights>) -> Result<Self> {
        fill(&mut keys, weights, &[])?;
        let absent = Self::default();
        Ok(Self {
            image_size: keys.sides("image_size")?.map_or(absent.image_size, Into::into),
            patch_size: keys.sides("patch_size")?.map_or(absent.patch_size, Into::into),
            num_channels: keys.or("num_channels", absent.num_channels)?,
            hidden_size: keys.or("hidden_size", absent.hidden_size)?,
            num_hidden_layers: keys.or("num_hidden_layers", absent.num_hidden_layers)?,
            num_attention_heads: keys.or("num_attention_heads", absent.num_attention_heads)?,
            intermediate_size: keys.or("intermediate_size", absent.intermediate_size)?,
            hidden_act: keys.or("hidden_act", absent.hidden_act)?,
            layer_norm_eps: keys.or("layer_norm_eps", absent.layer_norm_eps)?,
            layer_scale_init_value: keys.get("layer_scale_init_value")?.or(absent.layer_scale_init_value),
            drop_path_rate: keys.or("drop_path_rate", absent.drop_path_rate)?,
            use_absolute_position_embeddings: keys
                .or("use_absolute_position_embeddings", absent.use_absolute_position_embeddings)?,
            use_relative_position_bias: keys
                .or("use_relative_position_bias", absent.use_relative_position_bias)?,
            use_shared_relative_position_bias: keys
                .or("use_shared_relative_position_bias", absent.use_shared_relative_position_bias)?,
            use_mask_token: keys.or("use_mask_token", absent.use_mask_token)?,
            use_mean_pooling: keys.or("use_mean_pooling", absent.use_mean_pooling)?,
            use_inner_norms: keys.or("use_inner_norms", absent.use_inner_norms)?,
            use_key_bias: keys.or("use_key_bias", absent.use_key_bias)?,
            vocab_size: keys.or("vocab_size", absent.vocab_size)?,
            id2label: keys.names("id2label")?.map(|names| names.into_iter().enumerate().collect()),
            num_labels: keys.or("num_labels", absent.num_labels)?,
            ..absent
        })
    }
}

/// Fills the keys that a file lacks, these and those of its head, with what the tensors say.
pub(super) fn fill(keys: &mut Keys, weights: Option<&Weights>, of_head: &[&str]) -> Result<()> {
    let said = |key: &&str| keys.has(key) || OURS.contains(key);
    if BY_TENSORS.iter().chain(of_head).all(said) && keys.has("id2label") {
        return Ok(());
    }
    let known = Known {
        heads: keys.get("num_attention_heads")?,
        image: keys.sides("image_size")?,
        ..Known::default()
    };
    // Tensors that tell no model are refused where they are compared with the one that is described.
    let Some(inferred) = weights.and_then(|weights| infer(weights, &known).ok()) else { return Ok(()) };
    let told = Config::describing_model(&inferred.model).and_then(|config| serde_json::to_value(config).ok());
    let Some(Value::Object(told)) = told else { return Ok(()) };
    let heads_guessed = inferred.guesses.iter().any(|guess| matches!(guess, Guess::Heads { .. }));
    for (key, value) in told {
        // A number of heads that is only guessed says less than transformers' default.
        let guessed = key == "num_attention_heads" && heads_guessed;
        if (BY_TENSORS.contains(&key.as_str()) || of_head.contains(&key.as_str())) && !guessed {
            keys.fill(&key, value);
        }
    }
    if let Some(labels) = inferred.model.labels().filter(|_| !keys.has("id2label")) {
        keys.fill("num_labels", labels.len().into());
    }
    Ok(())
}
