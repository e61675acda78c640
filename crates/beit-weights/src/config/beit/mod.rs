//! `BeitConfig` of transformers.

mod describe;
mod read;
mod segmentation;

use super::labelled::{Labelled, unnamed};
use super::limit::{limit, limit_eps};
use crate::error::{Error, Result};
use beit_heads::{ClassifierConfig, MimConfig, Pooling};
use beit_vit::RelativePositions;
use segmentation::Segmentation;
pub(in crate::config) use segmentation::{OURS as OUR_SEGMENTER, released_scales};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// The keys that matter here, with the values that transformers takes for absent ones. Other keys are ignored.
#[derive(Clone, Debug, Serialize)]
pub(in crate::config) struct Config {
    architectures: Vec<String>,
    model_type: String,
    dtype: String,
    torch_dtype: String,
    image_size: Side,
    patch_size: Side,
    num_channels: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: String,
    layer_norm_eps: f64,
    layer_scale_init_value: Option<f32>,
    drop_path_rate: f32,
    use_absolute_position_embeddings: bool,
    use_relative_position_bias: bool,
    use_shared_relative_position_bias: bool,
    use_mask_token: bool,
    use_mean_pooling: bool,
    /// Ours: transformers has no such model.
    #[serde(skip_serializing_if = "is_false")]
    use_inner_norms: bool,
    /// Ours.
    #[serde(skip_serializing_if = "is_false")]
    use_key_bias: bool,
    vocab_size: usize,
    /// Of a segmenter.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    segmentation: Option<Segmentation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id2label: Option<BTreeMap<usize, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label2id: Option<BTreeMap<String, usize>>,
    #[serde(skip_serializing)]
    num_labels: usize,
}

impl Default for Config {
    /// `BeitConfig()` of transformers 5.23.
    fn default() -> Self {
        Self {
            architectures: Vec::new(),
            model_type: "beit".into(),
            dtype: "float32".into(),
            torch_dtype: "float32".into(),
            image_size: Side::Square(224),
            patch_size: Side::Square(16),
            num_channels: 3,
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: GELU[0].into(),
            layer_norm_eps: 1e-12,
            layer_scale_init_value: Some(0.1),
            drop_path_rate: 0.1,
            use_absolute_position_embeddings: false,
            use_relative_position_bias: false,
            use_shared_relative_position_bias: false,
            use_mask_token: false,
            use_mean_pooling: true,
            use_inner_norms: false,
            use_key_bias: false,
            vocab_size: 8192,
            segmentation: None,
            id2label: None,
            label2id: None,
            num_labels: 2,
        }
    }
}

/// The only activation that BEiT has, the exact GELU, by the names that transformers has for it.
const GELU: [&str; 2] = ["gelu", "gelu_python"];

/// One number, or height and width.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
enum Side {
    Square(usize),
    Rectangle([usize; 2]),
}

impl From<Side> for [usize; 2] {
    fn from(side: Side) -> Self {
        match side {
            Side::Square(side) => [side; 2],
            Side::Rectangle(sides) => sides,
        }
    }
}

impl From<[usize; 2]> for Side {
    fn from([height, width]: [usize; 2]) -> Self {
        if height == width { Self::Square(height) } else { Self::Rectangle([height, width]) }
    }
}

impl Config {
    /// The model for masked image modelling that is described.
    pub(in crate::config) fn mim(self, path: &Path) -> Result<MimConfig> {
        expect(path, "use_mean_pooling", self.use_mean_pooling, true)?;
        expect(path, "use_mask_token", self.use_mask_token, true)?;
        limit(path, &[("vocab_size", self.vocab_size)])?;
        let vit = self.vit(path, true)?;
        match self.vocab_size {
            0 => Err(Error::config(path, "`vocab_size` is 0, expected at least 1")),
            vocab => Ok(MimConfig { vit, vocab }),
        }
    }

    /// The classifier that is described.
    pub(in crate::config) fn classifier(mut self, path: &Path) -> Result<Labelled> {
        let pooling = if self.use_mean_pooling { Pooling::Mean } else { Pooling::Cls };
        let vit = self.vit(path, pooling == Pooling::Cls)?;
        let labels = self.labels(path)?;
        Ok(Labelled { classifier: ClassifierConfig { vit, classes: labels.len(), pooling }, labels })
    }

    /// The transformer that is described.
    pub(in crate::config) fn encoder(self, path: &Path) -> Result<beit_vit::Config> {
        self.vit(path, !self.use_mean_pooling)
    }

    /// A name for each class.
    fn labels(&mut self, path: &Path) -> Result<Vec<String>> {
        limit(path, &[("num_labels", self.num_labels)])?;
        // Some published files leave numbers out; the classes are numbered in the order of those that are there.
        let labels = match self.id2label.take() {
            Some(labels) => labels.into_values().collect(),
            None => unnamed(self.num_labels),
        };
        if labels.is_empty() {
            return Err(Error::config(path, "`id2label` is empty, expected a name for every class"));
        }
        Ok(labels)
    }

    fn vit(&self, path: &Path, final_norm: bool) -> Result<beit_vit::Config> {
        if !GELU.contains(&self.hidden_act.as_str()) {
            expect(path, "hidden_act", self.hidden_act.as_str(), GELU[0])?;
        }
        self.check_extents(path)?;
        let vit = beit_vit::Config {
            image: self.image_size.into(),
            patch: self.patch_size.into(),
            channels: self.num_channels,
            width: self.hidden_size,
            depth: self.num_hidden_layers,
            heads: self.num_attention_heads,
            hidden: self.intermediate_size,
            absolute_positions: self.use_absolute_position_embeddings,
            relative_positions: self.relative_positions(path)?,
            layer_scale: self.layer_scale_init_value.filter(|&value| value > 0.0),
            mask_token: self.use_mask_token,
            final_norm,
            inner_norms: self.use_inner_norms,
            key_bias: self.use_key_bias,
            layer_norm_eps: self.layer_norm_eps,
            drop_path: self.drop_path_rate,
        };
        vit.validate().map_err(|error| Error::config(path, error))?;
        Ok(vit)
    }

    fn check_extents(&self, path: &Path) -> Result<()> {
        let [image, patch] = [self.image_size, self.patch_size].map(<[usize; 2]>::from);
        let extents = [
            ("image_size", image[0].max(image[1])),
            ("patch_size", patch[0].max(patch[1])),
            ("num_channels", self.num_channels),
            ("hidden_size", self.hidden_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
        ];
        limit(path, &extents)?;
        limit_eps(path, self.layer_norm_eps)
    }

    fn relative_positions(&self, path: &Path) -> Result<RelativePositions> {
        match (self.use_shared_relative_position_bias, self.use_relative_position_bias) {
            (false, false) => Ok(RelativePositions::None),
            (true, false) => Ok(RelativePositions::Shared),
            (false, true) => Ok(RelativePositions::PerLayer),
            (true, true) => Err(Error::config(
                path,
                "`use_shared_relative_position_bias` and `use_relative_position_bias` are both true, expected one of them",
            )),
        }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

fn expect<T: PartialEq + fmt::Debug>(path: &Path, key: &str, found: T, expected: T) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::config(path, format_args!("`{key}` is {found:?}, but only {expected:?} is supported")))
}
