//! Starting a classifier from what another model has learned.

use crate::checkpoint::{Checkpoint, Loaded};
use crate::config::Model;
use crate::error::{Error, Result};
use crate::load::{Allowance, LoadOptions, Source, initial};
use beit_heads::{Classifier, ClassifierConfig, Pooling, initial_head};
use beit_ops::{Device, Layer, Leaf, Role, Shape, Start};
use beit_vit::{Config, RelativePositions};
use std::fmt;
use std::path::Path;

impl Model {
    /// The classifier that fine-tuning makes of this checkpoint: the same transformer, a relative position table in each layer
    /// where all layers shared one (`beit/run_class_finetuning.py`). None for a tokenizer.
    #[must_use]
    pub fn finetuned(&self, classes: usize, pooling: Pooling) -> Option<ClassifierConfig> {
        let mut vit = self.vit()?.clone();
        if vit.relative_positions == RelativePositions::Shared {
            vit.relative_positions = RelativePositions::PerLayer;
        }
        Some(ClassifierConfig::on(vit, classes, pooling))
    }
}

/// Starts a classifier from a checkpoint: of masked image modelling, or of a classifier that is to be trained further.
///
/// The transformer is taken; a shared relative position table is copied into every layer; positions are brought to the size of
/// `config`'s images; the mask token, the heads of other tasks and a norm that the pooling does not use are dropped; the norm after
/// pooling and the head are taken where they are there in the same shape, else new, drawn from `seed`
/// (`beit/run_class_finetuning.py`).
///
/// # Errors
///
/// When the checkpoint cannot be loaded, or its transformer has other sizes than `config`; all differing fields are named.
pub fn load_for_finetuning<O: Device>(
    ops: &O,
    path: impl AsRef<Path>,
    config: &ClassifierConfig,
    options: LoadOptions,
    seed: u64,
) -> Result<Loaded<Classifier<O::Tensor>>> {
    Checkpoint::open(path)?.finetuned(ops, config, options, seed)
}

impl Checkpoint {
    /// See [`load_for_finetuning`], whose errors it has.
    ///
    /// # Errors
    ///
    /// See there.
    pub fn finetuned<O: Device>(
        &self,
        ops: &O,
        config: &ClassifierConfig,
        options: LoadOptions,
        seed: u64,
    ) -> Result<Loaded<Classifier<O::Tensor>>> {
        let vit = self.model().vit().ok_or_else(|| self.wrong_kind("a model to fine-tune"))?;
        let fields = differences(vit, &config.vit);
        if !fields.is_empty() {
            return Err(Error::Start { path: self.path().to_owned(), fields });
        }
        let mut fresh = |leaf: &Leaf, shape: &Shape| match leaf.role.start() {
            // Everything else that is drawn is taken from the checkpoint.
            Start::Drawn if leaf.layer == Layer::Top => initial_head(config, seed),
            _ => initial(leaf, shape),
        };
        let mut source = Source::new(self.weights(), options, [vit.grid(), config.vit.grid()]);
        let shapes = Classifier::<Shape>::shapes(config);
        let params = source.params(ops, &shapes, &ALLOWANCE, &mut fresh)?;
        Ok(Loaded { params, report: source.report() })
    }
}

/// What fine-tuning draws anew, and what it leaves behind.
const ALLOWANCE: Allowance = Allowance {
    new: |leaf| leaf.layer == Layer::Top && leaf.role != Role::RelativePositions,
    dropped: |name| {
        let heads =
            ["head.", "fc_norm.", "norm.", "lm_head.", "fpn1.", "fpn2.", "decode_head.", "auxiliary_head."];
        name == "mask_token" || heads.iter().any(|head| name.starts_with(head))
    },
};

/// The fields in which the transformers of checkpoint and model differ so that parameters cannot be taken.
fn differences(found: &Config, expected: &Config) -> Vec<String> {
    let field = |name: &str, found: &dyn fmt::Debug, expected: &dyn fmt::Debug| {
        let (found, expected) = (format!("{found:?}"), format!("{expected:?}"));
        (found != expected).then(|| format!("{name} is {found}, expected {expected}"))
    };
    let spread = (found.relative_positions, expected.relative_positions)
        == (RelativePositions::Shared, RelativePositions::PerLayer);
    let relative_positions = if spread { expected.relative_positions } else { found.relative_positions };
    [
        field("patch size", &found.patch, &expected.patch),
        field("number of channels", &found.channels, &expected.channels),
        field("width", &found.width, &expected.width),
        field("depth", &found.depth, &expected.depth),
        field("number of heads", &found.heads, &expected.heads),
        field("width of the MLP", &found.hidden, &expected.hidden),
        field("absolute positions", &found.absolute_positions, &expected.absolute_positions),
        field("relative positions", &relative_positions, &expected.relative_positions),
        field("norms inside the blocks", &found.inner_norms, &expected.inner_norms),
        field("a bias of the keys", &found.key_bias, &expected.key_bias),
        field("LayerScale", &found.layer_scale.is_some(), &expected.layer_scale.is_some()),
    ]
    .into_iter()
    .flatten()
    .collect()
}
