//! Starting a model from what another has learned: a classifier, a segmenter, or masked image modelling that goes on.

use crate::checkpoint::{Checkpoint, Loaded};
use crate::config::Model;
use crate::error::{Error, Result};
use crate::load::{Allowance, LoadOptions, Source, initial};
use crate::names::is_of_segmentation;
use crate::segmenter::WholeSegmenter;
use beit_heads::segmenter::initial_segmentation_head;
use beit_heads::{
    Classifier, ClassifierConfig, HeadConfig, Mim, MimConfig, PixelMim, Pooling, SegmenterConfig,
    initial_head,
};
use beit_ops::init::Stream;
use beit_ops::{Device, Layer, Leaf, Role, Shape, Start, Tree};
use beit_vit::{Config, Init, RelativePositions};
use std::fmt;
use std::path::Path;

impl Model {
    /// The classifier that fine-tuning makes of this checkpoint: the same transformer, a relative position table in each layer
    /// where all layers shared one (`beit/run_class_finetuning.py`). None for a tokenizer.
    #[must_use]
    pub fn finetuned(&self, classes: usize, pooling: Pooling) -> Option<ClassifierConfig> {
        Some(ClassifierConfig::on(self.taken()?, classes, pooling))
    }

    /// The segmenter that fine-tuning makes of this checkpoint, with a head that reads these blocks: the transformer as for
    /// [`finetuned`](Self::finetuned). None for a tokenizer.
    #[must_use]
    pub fn segmented(&self, classes: usize, head: HeadConfig, taps: [usize; 4]) -> Option<SegmenterConfig> {
        Some(SegmenterConfig::on(self.taken()?, classes, taps, head))
    }

    /// The model of masked image modelling that goes on from this checkpoint, for so many visual tokens: the same transformer, relative
    /// positions as they are, with the mask token and the final norm that the task needs. None for a tokenizer.
    #[must_use]
    pub fn pretrained(&self, vocab: usize) -> Option<MimConfig> {
        let vit = Config { mask_token: true, final_norm: true, ..self.vit()?.clone() };
        Some(MimConfig { vit, vocab })
    }

    /// The transformer that fine-tuning takes.
    fn taken(&self) -> Option<Config> {
        let mut vit = self.vit()?.clone();
        if vit.relative_positions == RelativePositions::Shared {
            vit.relative_positions = RelativePositions::PerLayer;
        }
        Some(vit)
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
        let mut source = self.starting(&config.vit, options)?;
        let mut fresh = |leaf: &Leaf, shape: &Shape| match leaf.role.start() {
            // Everything else that is drawn is taken from the checkpoint.
            Start::Drawn if leaf.layer == Layer::Top => initial_head(config, seed),
            _ => initial(leaf, shape),
        };
        let shapes = Classifier::<Shape>::shapes(config);
        let params = source.params(ops, &shapes, &ALLOWANCE, &mut fresh)?;
        Ok(Loaded { params, report: source.report() })
    }

    /// Starts a segmenter from a checkpoint: of another task, or of a segmenter that is to be trained further.
    ///
    /// The transformer is taken as by [`finetuned`](Self::finetuned). The head and its running statistics are taken where the checkpoint
    /// has a head of the same kind and sizes, with new scores where the number of classes differs; else they are new, drawn from `seed`,
    /// and the checkpoint's are dropped.
    ///
    /// # Errors
    ///
    /// As those of [`load_for_finetuning`], and when the segmenter cannot be.
    pub fn segmented<O: Device>(
        &self,
        ops: &O,
        config: &SegmenterConfig,
        options: LoadOptions,
        seed: u64,
    ) -> Result<Loaded<WholeSegmenter<O::Tensor>>> {
        config.validate().map_err(|error| Error::config(self.path(), error))?;
        let mut source = self.starting(&config.vit, options)?;
        if !matches!(self.model(), Model::Segmenter(found) if is_same(&found.segmenter.head, &config.head)) {
            source = source.passing_over(is_of_segmentation);
        }
        let shapes = WholeSegmenter::<Shape>::shapes(config);
        let of_head = shapes.model.head.named().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        let mut fresh = |leaf: &Leaf, shape: &Shape| match of_head.iter().position(|name| *name == leaf.name)
        {
            Some(number) => initial_segmentation_head(leaf, shape, Stream::new(seed, number as u64 + 1)),
            None => initial(leaf, shape),
        };
        let params = source.params(ops, &shapes, &HEAD, &mut fresh)?;
        Ok(Loaded { params, report: source.report() })
    }

    /// Starts masked image modelling from a checkpoint of any task.
    ///
    /// The transformer is taken, with relative positions as they are, and positions are brought to the size of `config`'s images. Mask
    /// token and final norm are taken where the checkpoint has them, else new. So is the head that names visual tokens where `same_tokens`
    /// says that it was trained for the tokens that are now to be named; other tokens have other numbers, and need a new one. What is new
    /// is drawn from `seed`; the heads of other tasks are dropped.
    ///
    /// # Errors
    ///
    /// As those of [`load_for_finetuning`].
    pub fn pretrained<O: Device>(
        &self,
        ops: &O,
        config: &MimConfig,
        options: LoadOptions,
        same_tokens: bool,
        seed: u64,
    ) -> Result<Loaded<Mim<O::Tensor>>> {
        let mut source = self.starting(&config.vit, options)?;
        if !same_tokens {
            source = source.passing_over(is_token_head);
        }
        let mut fresh =
            |leaf: &Leaf, shape: &Shape| fresh_for_pretraining(config.vit.width, seed, leaf, shape);
        let params = source.params(ops, &Mim::<Shape>::shapes(config), &PRETRAINING, &mut fresh)?;
        Ok(Loaded { params, report: source.report() })
    }

    /// The same for a model that draws the pixels of patches, whose head is taken where the checkpoint has one.
    ///
    /// # Errors
    ///
    /// As those of [`load_for_finetuning`].
    pub fn pretrained_pixels<O: Device>(
        &self,
        ops: &O,
        vit: &Config,
        options: LoadOptions,
        seed: u64,
    ) -> Result<Loaded<PixelMim<O::Tensor>>> {
        let mut source = self.starting(vit, options)?;
        let mut fresh = |leaf: &Leaf, shape: &Shape| fresh_for_pretraining(vit.width, seed, leaf, shape);
        let params = source.params(ops, &PixelMim::<Shape>::shapes(vit), &PRETRAINING, &mut fresh)?;
        Ok(Loaded { params, report: source.report() })
    }

    /// The checkpoint's tensors on their way to a model with this transformer.
    fn starting(&self, vit: &Config, options: LoadOptions) -> Result<Source<'_>> {
        let found = self.model().vit().ok_or_else(|| self.wrong_kind("a model to fine-tune"))?;
        let fields = differences(found, vit);
        if !fields.is_empty() {
            return Err(Error::Start { path: self.path().to_owned(), fields });
        }
        Ok(Source::new(self.weights(), options, [found.grid(), vit.grid()]))
    }
}

/// What masked image modelling begins with where a checkpoint has nothing of it.
fn fresh_for_pretraining(width: usize, seed: u64, leaf: &Leaf, shape: &Shape) -> Vec<f32> {
    let drawn = |stream| Init::Pretraining.weights(width, shape.elements(), &mut Stream::new(seed, stream));
    match leaf.role.start() {
        Start::Drawn if leaf.layer == Layer::Top => drawn(0),
        // The mask token.
        Start::Drawn => drawn(1),
        _ => initial(leaf, shape),
    }
}

/// Whether one head may go on where the other was. Auxiliary heads are compared by their parameters.
fn is_same(found: &HeadConfig, wanted: &HeadConfig) -> bool {
    match (found, wanted) {
        (HeadConfig::SetrPup { channels: found, .. }, HeadConfig::SetrPup { channels, .. }) => {
            found == channels
        }
        (
            HeadConfig::Upernet { channels: found, scales: of, .. },
            HeadConfig::Upernet { channels, scales, .. },
        ) => found == channels && of == scales,
        _ => false,
    }
}

/// What fine-tuning draws anew for a classifier, and what it leaves behind.
const ALLOWANCE: Allowance = Allowance {
    new: |leaf| leaf.layer == Layer::Top && leaf.role != Role::RelativePositions,
    dropped: is_left_behind,
};

/// The same for a segmenter.
const HEAD: Allowance = Allowance { new: |leaf| is_of_segmentation(&leaf.name), dropped: is_left_behind };

/// What masked image modelling draws anew: what a checkpoint of another task lacks.
const PRETRAINING: Allowance = Allowance {
    new: |leaf| {
        leaf.name == "mask_token" || leaf.name.starts_with("norm.") || is_pretraining_head(&leaf.name)
    },
    dropped: is_left_behind,
};

/// The layer that draws the pixels of a patch.
pub(crate) const PIXEL_HEAD: &str = "pixel_head.";

/// Whether a parameter is of the layer that names visual tokens.
fn is_token_head(name: &str) -> bool {
    name.starts_with("lm_head.")
}

/// Whether a parameter is of a layer that masked image modelling trains beside the transformer.
fn is_pretraining_head(name: &str) -> bool {
    is_token_head(name) || is_pixel_head(name)
}

/// Whether a parameter is of the layer that draws the pixels of a patch.
pub(crate) fn is_pixel_head(name: &str) -> bool {
    name.starts_with(PIXEL_HEAD)
}

/// What may stay in the file: heads, and the norms and the mask token that belong to their tasks.
fn is_left_behind(name: &str) -> bool {
    let heads = ["head.", "fc_norm.", "norm.", "lm_head.", PIXEL_HEAD];
    name == "mask_token" || is_of_segmentation(name) || heads.iter().any(|head| name.starts_with(head))
}

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
