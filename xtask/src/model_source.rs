//! Which model a user means: a run, a checkpoint folder, a file, an official name, or a name on the hub.

use crate::flags::{Sides, sides};
use crate::hub;
use crate::model::{self, ClassifierModel, MimModel};
use crate::output::note;
use crate::run::checkpoint_of;
use anyhow::{Context, bail};
use beit_data::Preprocessing;
use beit_ops::Ops;
use beit_weights::Entry;
use beit_weights::{Checkpoint, LoadOptions, Resizing};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

/// Flags about the model that a verb uses as it is.
#[derive(Args, Clone, Debug)]
pub(crate) struct ModelSource {
    /// Run, checkpoint folder, file (.safetensors, .pth, .bin, .pkl), official name or name on the hub (org/name, org/name@revision)
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: String,
    /// How pictures become the model's pixels: as the checkpoint says, or a family's way. What the published number of an official
    /// checkpoint was measured with, where nothing is given
    #[arg(long, value_enum)]
    pub(crate) preprocess: Option<Family>,
    /// Image side in pixels, or HEIGHTxWIDTH, where it is not the checkpoint's: positions are then resized
    #[arg(long, alias = "input-size", value_parser = sides)]
    pub(crate) image_size: Option<Sides>,
    #[command(flatten)]
    pub(crate) loading: LoadArgs,
}

/// Flags about how a checkpoint is loaded.
#[derive(Args, Clone, Debug, Default, serde::Serialize)]
pub(crate) struct LoadArgs {
    /// Whose way of bringing positions to another image size
    #[arg(long, value_enum, default_value_t)]
    pub(crate) resizing: ResizingArg,
    /// Take what fits of a checkpoint and report what does not, instead of failing
    #[arg(long)]
    pub(crate) lenient: bool,
}

/// `--preprocess`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Family {
    /// preprocessor_config.json of the checkpoint, or timm's configuration in it
    Checkpoint,
    /// The released code: shorter side to size / 0.875 below 384, else to the size; bicubic, centre, 0.5
    Unilm,
    /// timm's beit_*: as unilm with 0.9
    Timm,
    /// transformers' microsoft/beit-*: squashed, bilinear, 0.5
    Hf,
}

/// `--resizing`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ResizingArg {
    /// The released code: relative tables by a spline on a geometric sequence
    #[default]
    Unilm,
    /// The same sequence, bilinear
    Timm,
    /// Tables as if they were pictures, bilinear
    Hf,
}

impl LoadArgs {
    pub(crate) fn options(&self, image: Option<Sides>) -> LoadOptions {
        let resizing = match self.resizing {
            ResizingArg::Unilm => Resizing::Unilm,
            ResizingArg::Timm => Resizing::Timm,
            ResizingArg::Hf => Resizing::Transformers,
        };
        LoadOptions { image: image.map(|Sides(image)| image), resizing, lenient: self.lenient }
    }
}

/// A checkpoint on this machine, and the official one that it is by its name.
pub(crate) struct Located {
    pub(crate) path: PathBuf,
    pub(crate) entry: Option<&'static Entry>,
}

/// Finds what `name` means: what is there on this machine wins, then the catalogue, then the hub.
pub(crate) fn locate(name: &str) -> anyhow::Result<Located> {
    let path = Path::new(name);
    if path.exists() {
        // A run that trained a tokenizer and nothing else is meant as that.
        let tokenizer = path.join("tokenizer");
        let found = checkpoint_of(path).or_else(|error| {
            if tokenizer.join("config.json").is_file() { Ok(tokenizer) } else { Err(error) }
        });
        // A file under the name of the authors' is taken for theirs; a folder tells its own preprocessing.
        let name = path.file_name().and_then(|name| name.to_str()).filter(|_| path.is_file());
        return Ok(Located { path: found?, entry: name.and_then(Entry::find) });
    }
    if let Some(entry) = Entry::find(name) {
        return Ok(Located { path: hub::fetch_entry(entry, name)?, entry: Some(entry) });
    }
    if !name.contains('/') {
        bail!(
            "{name}: no such file or folder, no official checkpoint (`cargo xtask weights list` names them) and no name \
             on the hub (org/name)"
        );
    }
    let id = name.parse().with_context(|| format!("{name}: no such file or folder"))?;
    Ok(Located { path: hub::fetch(&id)?, entry: None })
}

/// Finds a tokenizer: a folder, the folder `tokenizer` of a run, an encoder's file, an official name or a name on the hub.
pub(crate) fn locate_tokenizer(name: &Path) -> anyhow::Result<PathBuf> {
    let nested = name.join("tokenizer");
    if nested.join("config.json").is_file() {
        return Ok(nested);
    }
    match name.to_str() {
        Some(text) if !name.exists() => Ok(locate(text)?.path),
        _ => Ok(name.to_owned()),
    }
}

impl ModelSource {
    /// The classifier, and how pictures become its pixels.
    pub(crate) fn classifier<O: Ops>(&self, ops: &O) -> anyhow::Result<ClassifierModel<O::Tensor>> {
        let (checkpoint, entry) = self.open()?;
        let mut model = model::classifier(ops, &checkpoint, self.options())?;
        model.views = self.views(model.views, entry)?;
        Ok(model)
    }

    /// The model for masked image modelling, and how pictures become its pixels.
    pub(crate) fn mim<O: Ops>(&self, ops: &O) -> anyhow::Result<MimModel<O::Tensor>> {
        let (checkpoint, entry) = self.open()?;
        let mut model = model::mim(ops, &checkpoint, self.options())?;
        model.views = self.views(model.views, entry)?;
        Ok(model)
    }

    /// Whatever it is.
    pub(crate) fn any<O: Ops>(&self, ops: &O) -> anyhow::Result<model::Any<O::Tensor>> {
        let (checkpoint, entry) = self.open()?;
        let mut any = model::any(ops, &checkpoint, self.options())?;
        match &mut any {
            model::Any::Mim(model) => model.views = self.views(model.views, entry)?,
            model::Any::Classifier(model) => model.views = self.views(model.views, entry)?,
            model::Any::Tokenizer(_) => {}
        }
        Ok(any)
    }

    /// Whatever it is, for pixels that are made already.
    pub(crate) fn raw<O: Ops>(&self, ops: &O) -> anyhow::Result<model::Any<O::Tensor>> {
        model::any(ops, &self.open()?.0, self.options())
    }

    fn open(&self) -> anyhow::Result<(Checkpoint, Option<&'static Entry>)> {
        let Located { path, entry } = locate(&self.model)?;
        Ok((Checkpoint::open(path)?, entry))
    }

    fn options(&self) -> LoadOptions {
        self.loading.options(self.image_size)
    }

    /// How pictures become pixels: as asked for; else what the catalogue has for an official checkpoint; else as the checkpoint says.
    fn views(&self, of_checkpoint: Preprocessing, entry: Option<&Entry>) -> anyhow::Result<Preprocessing> {
        let size = of_checkpoint.size;
        let views = match (self.preprocess, entry) {
            (Some(Family::Checkpoint), _) | (None, None) => of_checkpoint,
            (Some(Family::Unilm), _) => Preprocessing::unilm(size),
            (Some(Family::Timm), _) => Preprocessing::timm(size),
            (Some(Family::Hf), _) => Preprocessing::hugging_face(size),
            (None, Some(entry)) => entry.authors_preprocessing(size).unwrap_or(of_checkpoint),
        };
        note(&format!("preprocessing: {views}"));
        Ok(views)
    }
}
