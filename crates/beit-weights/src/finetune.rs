//! Starting a classifier from what another model has learned.

use crate::checkpoint::MODEL;
use crate::config::{CONFIG, Model};
use crate::error::{Error, Result};
use crate::params::map_params;
use crate::tensors::TensorFile;
use beit_heads::{Classifier, ClassifierConfig, Mim, Pooling};
use beit_ops::{Ops, Shape, Tree};
use beit_vit::{Config, RelativePositions, Vit};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// A classifier to be fine-tuned, and where its parameters come from.
#[derive(Clone, Debug)]
pub struct Start<T> {
    /// The model.
    pub params: Classifier<T>,
    /// What became of the checkpoint's parameters.
    pub report: Report,
}

/// What became of a checkpoint's parameters, by our names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Taken as they are.
    pub taken: Vec<String>,
    /// Filled from the relative position table that all layers shared.
    pub copied: Vec<String>,
    /// In the checkpoint, but not in the classifier.
    pub dropped: Vec<String>,
    /// In the classifier, but not (or of another shape) in the checkpoint: freshly drawn.
    pub new: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tensors taken", self.taken.len())?;
        if !self.copied.is_empty() {
            write!(f, "; the shared relative position table copied to {} layers", self.copied.len())?;
        }
        for (names, what) in [(&self.dropped, "dropped"), (&self.new, "new")] {
            if !names.is_empty() {
                write!(f, "; {what}: {}", names.join(", "))?;
            }
        }
        Ok(())
    }
}

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

    fn vit(&self) -> Option<&Config> {
        match self {
            Self::Mim(config) => Some(&config.vit),
            Self::Classifier(config) => Some(&config.classifier.vit),
            Self::Tokenizer(_) => None,
        }
    }
}

/// Starts a classifier from a checkpoint: of masked image modelling, or of a classifier that is to be trained further.
///
/// The transformer is taken; a shared relative position table is copied into every layer; the mask token, the head of the
/// pre-training and a norm that the pooling does not use are dropped; the norm after pooling and the head are taken where they are
/// there in the same shape, else new, drawn from `seed`.
///
/// # Errors
///
/// When the folder cannot be loaded, or its transformer has other sizes than `config`; all differing fields are named.
pub fn load_for_finetuning<O: Ops>(
    ops: &O,
    folder: impl AsRef<Path>,
    config: &ClassifierConfig,
    seed: u64,
) -> Result<Start<O::Tensor>> {
    let folder = folder.as_ref();
    let model = Model::read(folder)?;
    let vit = model.vit().ok_or_else(|| {
        let problem = format!("this is {}, expected a model to fine-tune", model.name());
        Error::config(&folder.join(CONFIG), problem)
    })?;
    let fields = differences(vit, &config.vit);
    if !fields.is_empty() {
        return Err(Error::Start { path: folder.to_owned(), fields });
    }
    let mut source = Source::open(folder, &model)?;
    let params = source.classifier(ops, config, seed);
    Ok(Start { params, report: source.report() })
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
        field("image size", &found.image, &expected.image),
        field("patch size", &found.patch, &expected.patch),
        field("number of channels", &found.channels, &expected.channels),
        field("width", &found.width, &expected.width),
        field("depth", &found.depth, &expected.depth),
        field("number of heads", &found.heads, &expected.heads),
        field("width of the MLP", &found.hidden, &expected.hidden),
        field("absolute positions", &found.absolute_positions, &expected.absolute_positions),
        field("relative positions", &relative_positions, &expected.relative_positions),
        field("LayerScale", &found.layer_scale.is_some(), &expected.layer_scale.is_some()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

const SHARED_TABLE: &str = "rel_pos_bias.relative_position_bias_table";
const LAYER_TABLE: &str = ".relative_position_bias_table";

/// The tensors of a checkpoint that are not taken yet, by our names.
struct Source {
    tensors: BTreeMap<String, (Shape, Vec<f32>)>,
    report: Report,
}

impl Source {
    fn open(folder: &Path, model: &Model) -> Result<Self> {
        let file = TensorFile::open(folder.join(MODEL))?;
        let mut tensors = BTreeMap::new();
        let mut keep = |name: &str, shape: &Shape, values| {
            tensors.insert(name.to_owned(), (*shape, values));
        };
        match model {
            Model::Mim(config) => drop(map_params(&file, &Mim::<Shape>::of(config), &mut keep)?),
            Model::Classifier(config) => {
                drop(map_params(&file, &Classifier::<Shape>::of(&config.classifier), &mut keep)?);
            }
            Model::Tokenizer(_) => {}
        }
        Ok(Self { tensors, report: Report::default() })
    }

    fn classifier<O: Ops>(&mut self, ops: &O, config: &ClassifierConfig, seed: u64) -> Classifier<O::Tensor> {
        let fresh = |name: &str, shape: &Shape| {
            // Of the transformer only norms can be new: everything else is compared beforehand.
            let value = if name.ends_with("norm.weight") { 1.0 } else { 0.0 };
            ops.upload(*shape, &vec![value; shape.elements()])
        };
        let vit = Vit::<Shape>::of(&config.vit).map_named("", &mut |name, shape| {
            self.take(ops, name, *shape).unwrap_or_else(|| fresh(name, shape))
        });
        let drawn = Classifier::on(ops, config, vit, seed);
        Classifier {
            vit: drawn.vit,
            fc_norm: drawn.fc_norm.map(|norm| self.or_taken(ops, "fc_norm.", norm)),
            head: self.or_taken(ops, "head.", drawn.head),
        }
    }

    /// What the checkpoint has in place of a fresh layer.
    fn or_taken<O: Ops, P>(&mut self, ops: &O, prefix: &str, fresh: P) -> P
    where
        P: Tree<O::Tensor, Of<O::Tensor> = P>,
    {
        fresh.map_named(prefix, &mut |name, leaf| {
            self.take(ops, name, ops.shape(leaf)).unwrap_or_else(|| leaf.clone())
        })
    }

    /// What is left in the checkpoint was dropped, but for the table that was copied.
    fn report(mut self) -> Report {
        let copied = !self.report.copied.is_empty();
        self.report.dropped =
            self.tensors.into_keys().filter(|name| !(copied && name == SHARED_TABLE)).collect();
        self.report
    }

    /// The parameter `name` from the checkpoint, if it is there in this shape. Keeps the report.
    fn take<O: Ops>(&mut self, ops: &O, name: &str, shape: Shape) -> Option<O::Tensor> {
        if self.tensors.get(name).is_some_and(|(found, _)| *found == shape) {
            let (_, values) = self.tensors.remove(name)?;
            self.report.taken.push(name.to_owned());
            return Some(ops.upload(shape, &values));
        }
        let shared = self.tensors.get(SHARED_TABLE).filter(|_| name.ends_with(LAYER_TABLE));
        match shared {
            Some((_, values)) => {
                self.report.copied.push(name.to_owned());
                Some(ops.upload(shape, values))
            }
            None => {
                self.report.new.push(name.to_owned());
                None
            }
        }
    }
}
